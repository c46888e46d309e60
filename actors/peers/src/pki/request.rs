//! Keys of nodes and the requests they make for a certificate.

use std::fmt;

use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ED25519};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::oid_registry::OID_SIG_ED25519;
use x509_parser::prelude::FromDer;

use crate::error::Error;
use crate::pki::encoding::{hex, sha256};

/// A request with an Ed25519 key has some 150 bytes; this leaves room for what is ignored.
const REQUEST_MAX: usize = 8 * 1024;

/// A new Ed25519 key and the request that asks for its certificate.
pub struct NodeKey {
    /// The private key, PKCS #8.
    pub key_pem: String,
    /// The signed request, PKCS #10, without any name.
    pub csr_der: Vec<u8>,
}

impl NodeKey {
    /// Draws a key.
    ///
    /// # Errors
    /// When the kernel gives no randomness.
    pub fn create() -> Result<NodeKey, Error> {
        let key = KeyPair::generate_for(&PKCS_ED25519).map_err(Error::make("node key"))?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(&key).map_err(Error::make("request"))?;
        Ok(NodeKey { key_pem: key.serialize_pem(), csr_der: request.der().to_vec() })
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeKey").finish_non_exhaustive()
    }
}

/// SHA-256, in hexadecimal, of the public key of a request: tells retries of one node from others.
///
/// # Errors
/// If the request is one that would not be signed.
pub fn csr_key_digest(csr_der: &[u8]) -> Result<String, Error> {
    Ok(hex(&sha256(&public_key_info(csr_der)?)))
}

/// The SubjectPublicKeyInfo of a request whose signature proves that the sender has the key.
///
/// Whatever else the request says is not looked at.
pub(super) fn public_key_info(csr_der: &[u8]) -> Result<Vec<u8>, Error> {
    if csr_der.len() > REQUEST_MAX {
        return Err(Error::Request { reason: "it is too large" });
    }
    let (rest, request) = X509CertificationRequest::from_der(csr_der)
        .map_err(|_| Error::Request { reason: "it is not PKCS #10" })?;
    if !rest.is_empty() {
        return Err(Error::Request { reason: "there are bytes behind it" });
    }
    let key = &request.certification_request_info.subject_pki;
    if key.algorithm.algorithm != OID_SIG_ED25519 || key.algorithm.parameters.is_some() {
        return Err(Error::Request { reason: "its key is not Ed25519" });
    }
    if key.subject_public_key.unused_bits != 0 {
        return Err(Error::Request { reason: "its key is malformed" });
    }
    let point: &[u8; 32] = key
        .subject_public_key
        .data
        .as_ref()
        .try_into()
        .map_err(|_| Error::Request { reason: "its key does not have 32 bytes" })?;
    if has_small_order(point) {
        return Err(Error::Request { reason: "its key is weak" });
    }
    request
        .verify_signature()
        .map_err(|_| Error::Request { reason: "its signature does not match its key" })?;
    Ok(key.raw.to_vec())
}

/// Whether the point is one of the eight under which anybody can make signatures, in any encoding.
fn has_small_order(point: &[u8; 32]) -> bool {
    // The y coordinates, least significant byte first: 0, 1, -1, the two of order 8, and 0 and 1
    // with the prime added.
    const ORDER_8: [[u8; 32]; 2] = [
        [
            0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef,
            0x98, 0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88,
            0x6d, 0x53, 0xfc, 0x05,
        ],
        [
            0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10,
            0x67, 0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77,
            0x92, 0xac, 0x03, 0x7a,
        ],
    ];
    let mut y = *point;
    y[31] &= 0x7f;
    let small = y[0] <= 1 && y[1..].iter().all(|byte| *byte == 0);
    let near_prime =
        (0xec..=0xee).contains(&y[0]) && y[1..31].iter().all(|byte| *byte == 0xff) && y[31] == 0x7f;
    small || near_prime || ORDER_8.contains(&y)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_of_small_order_are_known() {
        let mut one = [0; 32];
        one[0] = 1;
        let mut minus_one = [0xff; 32];
        (minus_one[0], minus_one[31]) = (0xec, 0x7f);
        let mut with_sign = one;
        with_sign[31] = 0x80;
        for weak in [[0; 32], one, minus_one, with_sign] {
            assert!(has_small_order(&weak), "{weak:?}");
        }
        // The base point: four fifths.
        let mut base = [0x66; 32];
        base[0] = 0x58;
        assert!(!has_small_order(&base));
    }
}
