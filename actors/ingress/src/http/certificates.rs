//! Certificates by name, changed while connections run.

use super::tickets::Tickets;
use arc_swap::ArcSwap;
use jaco_ingress_core::{Named, Names, ServedCertificate, Site, Table};
use rustls::crypto::ring::kx_group;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::sync::Arc;

/// The certificate of a site, parsed.
#[derive(Clone, Debug)]
struct Loaded {
    site: Arc<Site>,
    /// May be of before: better that one than none.
    served: Arc<ServedCertificate>,
    key: Arc<CertifiedKey>,
}

impl Named for Loaded {
    fn name(&self) -> &str {
        &self.site.domain
    }
}

/// What is served now.
#[derive(Debug, Default)]
pub(super) struct Certificates(ArcSwap<Names<Loaded>>);

impl Certificates {
    /// Takes those of a table. What was parsed before is not parsed again.
    pub(super) fn load(&self, table: &Table) {
        let before = self.0.load();
        let mut now: Vec<Loaded> = Vec::new();
        for site in &table.sites {
            let Some(served) = &site.certificate else { continue };
            let (site, served, old) = (site.clone(), served.clone(), before.get(&site.domain));
            let same = old.or(now.last()).filter(|old| old.served == served);
            let key = match same {
                Some(same) => same.key.clone(),
                None => match parse(&served) {
                    Ok(key) => Arc::new(key),
                    Err(error) => {
                        tracing::error!(domain = site.domain, %error, "cannot load a certificate");
                        now.extend(old.map(|old| Loaded { site, ..old.clone() }));
                        continue;
                    }
                },
            };
            now.push(Loaded { site, served, key });
        }
        self.0.store(Arc::new(now.into_iter().collect()));
    }

    /// The one for a name of a handshake.
    pub(super) fn find(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        self.0.load().host(&name.to_ascii_lowercase()).map(|loaded| loaded.key.clone())
    }

    /// Whether there is one for this site.
    pub(super) fn has(&self, domain: &str) -> bool {
        self.0.load().get(domain).is_some()
    }

    /// The settings of TLS with this as their resolver.
    pub(super) fn server(
        self: &Arc<Self>,
        tickets: &Arc<Tickets>,
    ) -> Result<Arc<rustls::ServerConfig>, rustls::Error> {
        let mut provider = rustls::crypto::ring::default_provider();
        provider.kx_groups = vec![kx_group::X25519, kx_group::SECP256R1];
        let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(self.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.ticketer = tickets.clone();
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
