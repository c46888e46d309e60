//! Certificates: of the authority's own server, and those it issues.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, IsCa, Issuer, KeyPair,
};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateSigningRequestDer, PrivateKeyDer};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub(super) struct Pki {
    issuer: Issuer<'static, KeyPair>,
    root: String,
    pub(super) tls: Arc<ServerConfig>,
}

impl Pki {
    pub(super) fn new(dir: &Path) -> Pki {
        let root_key = KeyPair::generate().unwrap();
        let mut root = CertificateParams::new(Vec::new()).unwrap();
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root_pem = root.self_signed(&root_key).unwrap().pem();
        std::fs::write(dir.join("root.pem"), &root_pem).unwrap();
        let issuer = Issuer::new(root, root_key);
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let leaf = leaf.signed_by(&key, &issuer).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![leaf.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            )
            .unwrap();
        Pki { issuer, root: root_pem, tls: Arc::new(tls) }
    }

    /// A chain for a request, valid from `now` (milliseconds since 1970) for a while.
    pub(super) fn issue(&self, request: &[u8], now: u64, lifetime: Duration) -> String {
        let request = CertificateSigningRequestDer::from(request.to_vec());
        let mut request = CertificateSigningRequestParams::from_der(&request).unwrap();
        dates(&mut request.params, now, lifetime);
        let leaf = request.signed_by(&self.issuer).unwrap();
        format!("{}{}", leaf.pem(), self.root)
    }

    /// A chain with the names of a request and another key.
    pub(super) fn issue_for_another(&self, request: &[u8], now: u64, lifetime: Duration) -> String {
        let request = CertificateSigningRequestDer::from(request.to_vec());
        let mut params = CertificateSigningRequestParams::from_der(&request).unwrap().params;
        dates(&mut params, now, lifetime);
        let leaf = params.signed_by(&KeyPair::generate().unwrap(), &self.issuer).unwrap();
        format!("{}{}", leaf.pem(), self.root)
    }
}

fn dates(params: &mut CertificateParams, now: u64, lifetime: Duration) {
    // Advice about renewals is asked for by the key of the issuer and the serial number.
    params.use_authority_key_identifier_extension = true;
    let now = SystemTime::UNIX_EPOCH + Duration::from_millis(now);
    params.not_before = now.into();
    params.not_after = (now + lifetime).into();
}
