//! The cluster's root and what it signs.

use std::fmt;
use std::time::Duration;

use jaco_kit::Seeds;
use jaco_model::{ClusterId, NodeId, WallMs};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ED25519, PublicKeyData, SanType, SerialNumber,
    SubjectPublicKeyInfo, date_time_ymd,
};

use crate::error::Error;
use crate::pki::encoding::{certificates_from_pem, parse};
use crate::pki::identity::{NODE_UNIT, PeerId, dns_name, is_plain, serial_text};
use crate::pki::request::public_key_info;

/// How long the certificate of a node holds.
pub const NODE_LIFETIME: Duration = Duration::from_secs(90 * DAY);

const DAY: u64 = 86_400;
const ROOT_LIFETIME: Duration = Duration::from_secs(3_652 * DAY);

/// Certificates hold from this long ago on, for nodes whose clock is late.
const BACK_DATED: Duration = Duration::from_secs(3_600);

/// The first second of the year 9000: later ones might not fit into a certificate.
const SECONDS_MAX: u64 = 221_845_392_000;

/// The root of a cluster: its certificate and its key.
#[derive(Clone)]
pub struct Authority {
    /// The self-signed certificate.
    pub cert_pem: String,
    /// The private key, PKCS #8; only ever stored sealed.
    pub key_pem: String,
}

/// What a node gets for its request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeCertificate {
    /// The certificate, without the root.
    pub cert_pem: String,
    /// The serial number as 32 lowercase hex digits.
    pub serial: String,
    /// The last moment at which it holds.
    pub not_after: WallMs,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("cert_pem", &self.cert_pem).finish_non_exhaustive()
    }
}

impl Authority {
    /// A new root for a new cluster: Ed25519, ten years from an hour before `now`.
    ///
    /// # Errors
    /// If the cluster's id does not fit, or the kernel gives no randomness.
    pub fn create(cluster: &ClusterId, now: WallMs) -> Result<Authority, Error> {
        check_name("cluster id", cluster.as_str())?;
        let key = KeyPair::generate_for(&PKCS_ED25519).map_err(Error::make("root key"))?;
        let (mut params, _) = params(now, ROOT_LIFETIME)?;
        params.distinguished_name.push(DnType::OrganizationName, cluster.as_str());
        params.distinguished_name.push(DnType::CommonName, "JACO cluster root");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).map_err(Error::make("root certificate"))?;
        Ok(Authority { cert_pem: certificate.pem(), key_pem: key.serialize_pem() })
    }

    /// A root that was stored.
    ///
    /// # Errors
    /// If certificate or key are unreadable or do not belong together.
    pub fn from_pem(cert_pem: &str, key_pem: &str) -> Result<Authority, Error> {
        let authority = Authority { cert_pem: cert_pem.into(), key_pem: key_pem.into() };
        let key = authority.key()?;
        let der = certificates_from_pem(cert_pem)?.swap_remove(0);
        let certificate = parse(&der)?;
        if !certificate.is_ca() {
            return Err(Error::Certificate { reason: "it is not one of an authority" });
        }
        if certificate.public_key().raw != key.subject_public_key_info() {
            return Err(Error::Key { reason: "it is not the key of the certificate" });
        }
        Ok(authority)
    }

    /// Signs the public key of a request for one node; nothing else of the request is used.
    ///
    /// The certificate holds from an hour before `now` until `ttl` after it.
    ///
    /// # Errors
    /// [`Error::Request`] for a request that is not well formed, not signed with its own key, or
    /// with a key that is not a sound Ed25519 one; otherwise if names or times do not fit.
    pub fn sign_node(
        &self,
        csr_der: &[u8],
        cluster: &ClusterId,
        node: &NodeId,
        now: WallMs,
        ttl: Duration,
    ) -> Result<NodeCertificate, Error> {
        check_name("cluster id", cluster.as_str())?;
        check_name("node id", node.as_str())?;
        let public_key = SubjectPublicKeyInfo::from_der(&public_key_info(csr_der)?)
            .map_err(|_| Error::Request { reason: "its key is malformed" })?;
        let serial: [u8; 16] = Seeds.bytes().map_err(Error::Random)?;
        let (mut params, not_after) = params(now, ttl)?;
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        params.distinguished_name.push(DnType::OrganizationName, cluster.as_str());
        params.distinguished_name.push(DnType::OrganizationalUnitName, NODE_UNIT);
        params.subject_alt_names = vec![
            SanType::URI(ia5(PeerId::uri(cluster, node))?),
            SanType::DnsName(ia5(dns_name(cluster))?),
        ];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let issuer = Issuer::from_ca_cert_pem(&self.cert_pem, self.key()?)
            .map_err(Error::make("issuer from the root"))?;
        let certificate =
            params.signed_by(&public_key, &issuer).map_err(Error::make("node certificate"))?;
        let serial = serial_text(&serial).unwrap_or_default();
        Ok(NodeCertificate { cert_pem: certificate.pem(), serial, not_after })
    }

    fn key(&self) -> Result<KeyPair, Error> {
        KeyPair::from_pem(&self.key_pem).map_err(|_| Error::Key { reason: "it is not PKCS #8" })
    }
}

/// Parameters without any name, and when they end.
fn params(now: WallMs, lifetime: Duration) -> Result<(CertificateParams, WallMs), Error> {
    let start = (now.0 / 1_000).saturating_sub(BACK_DATED.as_secs());
    let end = (now.0 / 1_000)
        .checked_add(lifetime.as_secs())
        .filter(|end| *end < SECONDS_MAX)
        .ok_or(Error::Time(now.0))?;
    let epoch = date_time_ymd(1970, 1, 1);
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.not_before = epoch + Duration::from_secs(start);
    params.not_after = epoch + Duration::from_secs(end);
    Ok((params, WallMs(end.saturating_mul(1_000))))
}

fn check_name(what: &'static str, name: &str) -> Result<(), Error> {
    if is_plain(name) { Ok(()) } else { Err(Error::Name { what, name: name.into() }) }
}

fn ia5(text: String) -> Result<rcgen::string::Ia5String, Error> {
    text.try_into().map_err(Error::make("name"))
}
