//! PEM, digests and hexadecimal.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::error::Error;

/// No certificate of ours has more bytes by far; a hostile one is not even parsed.
const CERTIFICATE_MAX: usize = 16 * 1024;

/// All certificates of a PEM text, in its order.
///
/// # Errors
/// If there is none, or one is damaged.
pub fn certificates_from_pem(pem: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let found = found.map_err(|_| Error::Certificate { reason: "it is not PEM" })?;
    if found.is_empty() {
        return Err(Error::Certificate { reason: "the text has no certificate" });
    }
    Ok(found)
}

pub(crate) fn key_from_pem(pem: &str) -> Result<PrivateKeyDer<'static>, Error> {
    PrivateKeyDer::from_pem_slice(pem.as_bytes())
        .map_err(|_| Error::Key { reason: "it is not PEM" })
}

/// A certificate of at most [`CERTIFICATE_MAX`] bytes with nothing behind it.
pub(super) fn parse(der: &[u8]) -> Result<X509Certificate<'_>, Error> {
    if der.len() > CERTIFICATE_MAX {
        return Err(Error::Certificate { reason: "it is too large" });
    }
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) => Err(Error::Certificate { reason: "there are bytes behind it" }),
        Err(_) => Err(Error::Certificate { reason: "it is not X.509" }),
    }
}

/// SHA-256 of the SubjectPublicKeyInfo of the first certificate in a PEM text.
///
/// # Errors
/// If there is no certificate.
pub fn spki_digest(pem: &str) -> Result<[u8; 32], Error> {
    let first = certificates_from_pem(pem)?.swap_remove(0);
    spki_digest_of_der(&first)
}

/// SHA-256 of the SubjectPublicKeyInfo of a certificate.
pub(crate) fn spki_digest_of_der(der: &[u8]) -> Result<[u8; 32], Error> {
    Ok(sha256(parse(der)?.public_key().raw))
}

pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Lowercase hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing into a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
