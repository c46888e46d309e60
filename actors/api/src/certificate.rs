//! Own certificates of routes: key and chain belong together, cover the domain and are in date.

use jaco_model::name::is_under_wildcard;
use jaco_model::spec::{DeploymentSpec, TlsMode};
use jaco_model::{ErrorCode, Fault, WallMs};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// Checks every route's own certificate.
///
/// # Errors
/// `cert_invalid` with `secret`, `domain` and `reason`.
pub(crate) fn check(spec: &DeploymentSpec, now: WallMs) -> Result<(), Fault> {
    for route in &spec.routes {
        let TlsMode::Own(secret) = &route.tls else { continue };
        let Some(text) = spec.secrets.get(secret) else { continue };
        one(text.reveal().as_bytes(), &route.domain, now).map_err(|reason| {
            let message = format!("secret \"{secret}\" cannot serve {}: {reason}", route.domain);
            Fault::new(ErrorCode::CertInvalid, message)
                .with("secret", secret)
                .with("domain", &route.domain)
                .with("reason", reason)
        })?;
    }
    Ok(())
}

fn one(pem: &[u8], domain: &str, now: WallMs) -> Result<(), String> {
    let chain: Result<Vec<CertificateDer<'static>>, _> =
        CertificateDer::pem_slice_iter(pem).collect();
    let chain = chain.map_err(|error| format!("the chain is damaged: {error}"))?;
    let key = PrivateKeyDer::from_pem_slice(pem).map_err(|error| format!("no key: {error}"))?;
    let leaf = chain.first().ok_or("it has no certificate")?.clone();
    CertifiedKey::from_der(chain, key, &default_provider())
        .map_err(|error| format!("key and certificate do not belong together: {error}"))?;
    let (_, leaf) = X509Certificate::from_der(&leaf).map_err(|error| error.to_string())?;
    let seconds = i64::try_from(now.0 / 1_000).unwrap_or(i64::MAX);
    let validity = leaf.validity();
    if seconds < validity.not_before.timestamp() {
        return Err(format!("it is not valid before {}", validity.not_before));
    }
    if seconds > validity.not_after.timestamp() {
        return Err(format!("it was valid until {}", validity.not_after));
    }
    let names = leaf.subject_alternative_name().map_err(|error| error.to_string())?;
    let names = names.map(|names| names.value.general_names.as_slice()).unwrap_or_default();
    let covers = names.iter().any(|name| match name {
        GeneralName::DNSName(name) => {
            let name = name.to_ascii_lowercase();
            name == domain || is_under_wildcard(domain, &name)
        }
        _ => false,
    });
    covers.then_some(()).ok_or_else(|| "none of its names is that domain".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pem(names: &[&str]) -> (String, String) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn a_certificate_must_fit_its_key_its_domain_and_the_day() {
        let (cert, key) = pem(&["shop.test", "*.shop.test"]);
        let whole = format!("{cert}{key}");
        let today = WallMs(1_800_000_000_000);
        for good in ["shop.test", "a.shop.test", "*.shop.test"] {
            one(whole.as_bytes(), good, today).unwrap();
        }
        for bad in ["other.test", "a.b.shop.test", "test"] {
            assert!(one(whole.as_bytes(), bad, today).unwrap_err().contains("names"), "{bad}");
        }
        let (_, other) = pem(&["shop.test"]);
        let mixed = format!("{cert}{other}");
        assert!(one(mixed.as_bytes(), "shop.test", today).unwrap_err().contains("belong"));
        let late = WallMs(70_000_000_000_000);
        assert!(one(whole.as_bytes(), "shop.test", late).unwrap_err().contains("valid until"));
        assert!(one(cert.as_bytes(), "shop.test", today).is_err(), "no key");
    }
}
