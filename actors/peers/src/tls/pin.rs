//! Trust in a cluster of which only the digest of the root's key is known.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};

use crate::pki::{PeerId, dns_name, hex, spki_digest_of_der};
use crate::tls::identity::{provider, server_verifier};

/// The server's chain does not contain the root that the token names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server's root has the digest sha256:{got}, expected sha256:{expected}")]
pub struct DigestMismatch {
    /// What the token says, in hexadecimal.
    pub expected: String,
    /// What the last certificate of the chain has, in hexadecimal.
    pub got: String,
}

/// Makes the presented certificate with a known digest the only root, and verifies by it.
#[derive(Debug)]
pub(super) struct PinnedRoot {
    digest: [u8; 32],
    algorithms: WebPkiSupportedAlgorithms,
}

impl PinnedRoot {
    pub(super) fn new(digest: [u8; 32]) -> PinnedRoot {
        PinnedRoot { digest, algorithms: provider().signature_verification_algorithms }
    }

    /// The presented certificate whose key has the digest.
    fn find<'c>(
        &self,
        end_entity: &'c CertificateDer<'c>,
        intermediates: &'c [CertificateDer<'c>],
    ) -> Result<&'c CertificateDer<'c>, Error> {
        let mut got = [0; 32];
        for certificate in std::iter::once(end_entity).chain(intermediates) {
            let Ok(digest) = spki_digest_of_der(certificate) else {
                return Err(CertificateError::BadEncoding.into());
            };
            if digest == self.digest {
                return Ok(certificate);
            }
            got = digest;
        }
        let mismatch = DigestMismatch { expected: hex(&self.digest), got: hex(&got) };
        Err(CertificateError::Other(OtherError(Arc::new(mismatch))).into())
    }
}

impl ServerCertVerifier for PinnedRoot {
    /// The name that was dialled is not looked at: people dial members by all kinds of addresses.
    /// What is verified is the name that every node of the root's cluster has.
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let root = self.find(end_entity, intermediates)?;
        let mut roots = RootCertStore::empty();
        roots.add(root.clone().into_owned())?;
        let verifier = server_verifier(Arc::new(roots))
            .map_err(|_| Error::from(CertificateError::UnknownIssuer))?;
        let peer = PeerId::from_der(end_entity)
            .map_err(|_| Error::from(CertificateError::ApplicationVerificationFailure))?;
        let name = ServerName::try_from(dns_name(&peer.cluster_id))
            .map_err(|_| Error::from(CertificateError::NotValidForName))?;
        verifier.verify_server_cert(end_entity, intermediates, &name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
