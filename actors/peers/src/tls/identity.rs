//! The certificate and key of this node, replaceable while connections are open.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::client::{ResolvesClientCert, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::CertificateDer;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, RootCertStore, SignatureScheme};

use crate::error::Error;
use crate::pki::{PeerId, Validity, certificates_from_pem, key_from_pem, validity};

/// Who this node is towards others. Copies share one value; new connections use the newest.
#[derive(Clone)]
pub struct Identity(Arc<RwLock<Arc<Loaded>>>);

/// One certificate with all that follows from it.
pub(super) struct Loaded {
    id: PeerId,
    validity: Validity,
    /// The certificate alone, for those who have the root.
    leaf: Arc<CertifiedKey>,
    /// The certificate and the root, for those who know only the root's digest.
    chain: Arc<CertifiedKey>,
    pub(super) servers: Arc<WebPkiServerVerifier>,
    pub(super) clients: Arc<dyn ClientCertVerifier>,
}

impl Identity {
    /// Loads roots, certificate and private key, all in PEM.
    ///
    /// # Errors
    /// If one is unreadable, the key is not the certificate's, or the certificate not a node's.
    pub fn from_pem(roots: &str, certificate: &str, key: &str) -> Result<Identity, Error> {
        Ok(Identity(Arc::new(RwLock::new(Arc::new(Loaded::new(roots, certificate, key)?)))))
    }

    /// Uses another certificate of the same node from now on; open connections stay.
    ///
    /// # Errors
    /// As [`Identity::from_pem`], or if it is a certificate of another node.
    pub fn replace(&self, roots: &str, certificate: &str, key: &str) -> Result<(), Error> {
        let new = Loaded::new(roots, certificate, key)?;
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let same =
            (&new.id.cluster_id, &new.id.node_id) == (&current.id.cluster_id, &current.id.node_id);
        if !same {
            return Err(Error::Certificate { reason: "it is one of another node" });
        }
        *current = Arc::new(new);
        Ok(())
    }

    /// The names in the certificate.
    pub fn id(&self) -> PeerId {
        self.loaded().id.clone()
    }

    /// How long the certificate holds.
    pub fn validity(&self) -> Validity {
        self.loaded().validity
    }

    pub(super) fn loaded(&self) -> Arc<Loaded> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Presents the certificate alone.
    pub(super) fn alone(&self) -> Arc<Present> {
        Arc::new(Present { identity: self.clone(), with_root: false })
    }

    /// Presents the certificate and the root.
    pub(super) fn with_root(&self) -> Arc<Present> {
        Arc::new(Present { identity: self.clone(), with_root: true })
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Identity").field(&self.loaded().id).finish()
    }
}

/// Hands the newest certificate to each new connection.
#[derive(Debug)]
pub(super) struct Present {
    identity: Identity,
    with_root: bool,
}

impl Present {
    fn current(&self) -> Arc<CertifiedKey> {
        let loaded = self.identity.loaded();
        if self.with_root { loaded.chain.clone() } else { loaded.leaf.clone() }
    }
}

impl ResolvesServerCert for Present {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

impl ResolvesClientCert for Present {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl Loaded {
    fn new(roots: &str, certificate: &str, key: &str) -> Result<Loaded, Error> {
        let mut store = RootCertStore::empty();
        let roots = certificates_from_pem(roots)?;
        for root in &roots {
            store.add(root.clone()).map_err(Error::Tls)?;
        }
        let leaf = certificates_from_pem(certificate)?.swap_remove(0);
        let id = PeerId::from_der(&leaf)?;
        let signing = provider()
            .key_provider
            .load_private_key(key_from_pem(key)?)
            .map_err(|_| Error::Key { reason: "TLS cannot use it" })?;
        let with = |chain: Vec<CertificateDer<'static>>| CertifiedKey::new(chain, signing.clone());
        let alone = with(vec![leaf.clone()]);
        alone.keys_match().map_err(|_| Error::Key { reason: "it is not the certificate's" })?;
        let mut chain = vec![leaf];
        chain.extend(roots);
        let store = Arc::new(store);
        Ok(Loaded {
            id,
            validity: validity(certificate)?,
            leaf: Arc::new(alone),
            chain: Arc::new(with(chain)),
            servers: server_verifier(store.clone())?,
            clients: WebPkiClientVerifier::builder_with_provider(store, provider())
                .build()
                .map_err(|_| no_root())?,
        })
    }
}

/// Decides by these roots alone.
pub(super) fn server_verifier(
    roots: Arc<RootCertStore>,
) -> Result<Arc<WebPkiServerVerifier>, Error> {
    WebPkiServerVerifier::builder_with_provider(roots, provider()).build().map_err(|_| no_root())
}

fn no_root() -> Error {
    Error::Tls(CertificateError::UnknownIssuer.into())
}

/// The one cryptography of this crate.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
