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
    let chain = chain(pem)?;
    let key = PrivateKeyDer::from_pem_slice(pem).map_err(|error| format!("no key: {error}"))?;
    let der = chain.first().ok_or("it has no certificate")?.clone();
    CertifiedKey::from_der(chain, key, &default_provider())
        .map_err(|error| format!("key and certificate do not belong together: {error}"))?;
    let leaf = Leaf::of(&der)?;
    if now < leaf.not_before {
        return Err(format!("it is not valid before {}", leaf.not_before));
    }
    if now > leaf.not_after {
        return Err(format!("it was valid until {}", leaf.not_after));
    }
    let covers = leaf.names.iter().any(|name| name == domain || is_under_wildcard(domain, name));
    covers.then_some(()).ok_or_else(|| "none of its names is that domain".to_owned())
}

fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Result<_, _> = CertificateDer::pem_slice_iter(pem).collect();
    chain.map_err(|error| format!("the chain is damaged: {error}"))
}

/// What a certificate says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Leaf {
    /// Names, in lower case.
    pub(crate) names: Vec<String>,
    /// Who signed it: the common name, else the organisation, else all of the name.
    pub(crate) issuer: String,
    /// Since when it is valid.
    pub(crate) not_before: WallMs,
    /// Until when it is valid.
    pub(crate) not_after: WallMs,
}

impl Leaf {
    /// Reads the first certificate of a chain.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub(crate) fn read(pem: &str) -> Result<Leaf, String> {
        Leaf::of(chain(pem.as_bytes())?.first().ok_or("it has no certificate")?)
    }

    fn of(der: &CertificateDer<'_>) -> Result<Leaf, String> {
        let (_, leaf) = X509Certificate::from_der(der).map_err(|error| error.to_string())?;
        let names = leaf.subject_alternative_name().map_err(|error| error.to_string())?;
        let names = names.map(|names| names.value.general_names.as_slice()).unwrap_or_default();
        let names = names.iter().filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        });
        let issuer = leaf.issuer();
        let mut words = issuer.iter_common_name().chain(issuer.iter_organization());
        let word = words.find_map(|word| word.as_str().ok());
        let (begin, end) = (leaf.validity().not_before, leaf.validity().not_after);
        Ok(Leaf {
            names: names.collect(),
            issuer: word.map_or_else(|| issuer.to_string(), str::to_owned),
            not_before: moment(begin.timestamp()),
            not_after: moment(end.timestamp()),
        })
    }
}

/// Seconds since the Unix epoch; before it is the epoch.
fn moment(seconds: i64) -> WallMs {
    WallMs(u64::try_from(seconds).unwrap_or_default().saturating_mul(1_000))
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
