//! Keys and requests for certificates, and whether what came is what was asked for.

use jaco_ingress_core::acme::Answer;
use jaco_model::WallMs;
use jaco_model::spec::SecretText;
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PublicKeyData};
use x509_parser::extensions::GeneralName;

/// A fresh P-256 key, PKCS#8 as PEM.
pub(super) fn new_key() -> Result<SecretText, String> {
    let key = KeyPair::generate().map_err(|error| error.to_string())?;
    Ok(SecretText::new(key.serialize_pem()))
}

/// The request for a certificate of one name, DER.
pub(super) fn request(domain: &str, key: &SecretText) -> Result<Vec<u8>, String> {
    let key = KeyPair::from_pem(key.reveal()).map_err(|error| error.to_string())?;
    let params = CertificateParams::new([domain.to_owned()]);
    let mut params = params.map_err(|error| error.to_string())?;
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(&key).map_err(|error| error.to_string())?;
    Ok(request.der().to_vec())
}

/// Takes a chain whose leaf is of this name and key.
pub(super) fn checked(chain: String, domain: &str, key: &SecretText) -> Result<Answer, String> {
    let (_, leaf) = x509_parser::pem::parse_x509_pem(chain.as_bytes())
        .map_err(|error| format!("the chain is not PEM: {error}"))?;
    let leaf = leaf.parse_x509().map_err(|error| format!("the leaf is unreadable: {error}"))?;
    let names = leaf.subject_alternative_name().ok().flatten();
    let is_named = names.is_some_and(|names| {
        names.value.general_names.iter().any(
            |name| matches!(name, GeneralName::DNSName(name) if name.eq_ignore_ascii_case(domain)),
        )
    });
    if !is_named {
        return Err(format!("the certificate is not of {domain}"));
    }
    let own = KeyPair::from_pem(key.reveal()).map_err(|error| error.to_string())?;
    if leaf.public_key().subject_public_key.data.as_ref() != own.der_bytes() {
        return Err(format!("the certificate of {domain} is of another key"));
    }
    let millis = |seconds: i64| WallMs(u64::try_from(seconds).unwrap_or(0).saturating_mul(1000));
    let not_before = millis(leaf.validity().not_before.timestamp());
    let not_after = millis(leaf.validity().not_after.timestamp());
    Ok(Answer::Certificate { chain, not_before, not_after })
}
