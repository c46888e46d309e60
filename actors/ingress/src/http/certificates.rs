//! Certificates by name, changed while connections run.

use arc_swap::ArcSwap;
use jaco_ingress_core::request::wildcard_of;
use jaco_ingress_core::{ServedCertificate, Table};
use rustls::crypto::ring::kx_group;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::collections::BTreeMap;
use std::sync::Arc;

type Loaded = (Arc<ServedCertificate>, Arc<CertifiedKey>);

/// What is served now.
#[derive(Debug, Default)]
pub(super) struct Certificates(ArcSwap<BTreeMap<String, Loaded>>);

impl Certificates {
    /// Takes those of a table. What was parsed before is not parsed again.
    pub(super) fn load(&self, table: &Table) {
        let before = self.0.load();
        let mut now: BTreeMap<String, Loaded> = BTreeMap::new();
        for (domain, site) in &table.sites {
            let Some(served) = &site.certificate else { continue };
            let same = before.get(domain).or_else(|| now.values().next_back());
            let key = match same.filter(|(old, _)| old == served) {
                Some((_, key)) => key.clone(),
                None => match parse(served) {
                    Ok(key) => Arc::new(key),
                    Err(error) => {
                        tracing::error!(domain, %error, "cannot load a certificate");
                        // Better the one before than none.
                        if let Some(old) = before.get(domain) {
                            now.insert(domain.clone(), old.clone());
                        }
                        continue;
                    }
                },
            };
            now.insert(domain.clone(), (served.clone(), key));
        }
        self.0.store(Arc::new(now));
    }

    /// The one for a name of a handshake.
    pub(super) fn find(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        let name = name.to_ascii_lowercase();
        let loaded = self.0.load();
        let found = loaded.get(&name).or_else(|| loaded.get(&wildcard_of(&name)?));
        found.map(|(_, key)| key.clone())
    }

    /// Whether there is one for this site.
    pub(super) fn has(&self, domain: &str) -> bool {
        self.0.load().contains_key(domain)
    }

    /// The settings of TLS with this as their resolver.
    pub(super) fn server(self: &Arc<Self>) -> Result<Arc<rustls::ServerConfig>, rustls::Error> {
        let mut provider = rustls::crypto::ring::default_provider();
        provider.kx_groups = vec![kx_group::X25519, kx_group::SECP256R1];
        let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(self.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.find(hello.server_name()?)
    }
}

fn parse(served: &ServedCertificate) -> Result<CertifiedKey, String> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(served.chain_pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| format!("chain: {error}"))?;
    if chain.is_empty() {
        return Err("chain: holds no certificate".to_owned());
    }
    let key = PrivateKeyDer::from_pem_slice(served.key_pem.as_bytes())
        .map_err(|error| format!("key: {error}"))?;
    let key = rustls::crypto::ring::sign::any_supported_type(&key)
        .map_err(|error| format!("key: {error}"))?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {
            Ok(certified)
        }
        Err(error) => Err(error.to_string()),
    }
}
