//! Who a certificate speaks for.

use jaco_model::{ClusterId, NodeId, WallMs};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::X509Certificate;
use x509_parser::x509::AttributeTypeAndValue;

use crate::error::Error;
use crate::pki::encoding::{certificates_from_pem, hex, parse};

/// Organisational unit of the certificates of nodes.
pub(super) const NODE_UNIT: &str = "node";

/// The names in the certificate of a node. That they are true is known only after the chain was
/// verified.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PeerId {
    /// The cluster.
    pub cluster_id: ClusterId,
    /// The node.
    pub node_id: NodeId,
    /// The serial number as 32 lowercase hex digits.
    pub serial: String,
}

impl PeerId {
    /// Reads the names from a certificate in DER.
    ///
    /// # Errors
    /// If it is not of the one profile that nodes have.
    pub fn from_der(der: &[u8]) -> Result<PeerId, Error> {
        let certificate = parse(der)?;
        let subject = certificate.subject();
        let cluster = only(subject.iter_organization())
            .ok_or(Error::Certificate { reason: "it names no single organisation" })?;
        if only(subject.iter_organizational_unit()) != Some(NODE_UNIT) {
            return Err(Error::Certificate { reason: "its organisational unit is not node" });
        }
        let uri = only_uri(&certificate)
            .ok_or(Error::Certificate { reason: "it has no single URI among its names" })?;
        let (in_uri, node) = split_uri(uri)
            .ok_or(Error::Certificate { reason: "its URI is not jaco://<cluster>/node/<id>" })?;
        if in_uri != cluster {
            return Err(Error::Certificate { reason: "its URI and organisation differ" });
        }
        Ok(PeerId {
            cluster_id: ClusterId::new(cluster),
            node_id: NodeId::new(node),
            serial: serial_text(certificate.raw_serial())
                .ok_or(Error::Certificate { reason: "its serial has more than 128 bits" })?,
        })
    }

    /// The URI that stands for a node.
    pub(super) fn uri(cluster: &ClusterId, node: &NodeId) -> String {
        format!("jaco://{cluster}/node/{node}")
    }
}

/// The name by which every node of a cluster is verified as a server.
pub fn dns_name(cluster: &ClusterId) -> String {
    format!("node.{cluster}.jaco.internal")
}

/// From when and until when a certificate holds, to the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first moment.
    pub not_before: WallMs,
    /// The last moment.
    pub not_after: WallMs,
}

/// Reads how long the first certificate of a PEM text holds.
///
/// # Errors
/// If there is no certificate.
pub fn validity(pem: &str) -> Result<Validity, Error> {
    let first = certificates_from_pem(pem)?.swap_remove(0);
    let certificate = parse(&first)?;
    let ms = |secs: i64| WallMs(u64::try_from(secs).unwrap_or(0).saturating_mul(1_000));
    let validity = certificate.validity();
    Ok(Validity {
        not_before: ms(validity.not_before.timestamp()),
        not_after: ms(validity.not_after.timestamp()),
    })
}

/// A serial number of up to 128 bits as 32 hex digits.
pub(super) fn serial_text(bytes: &[u8]) -> Option<String> {
    let significant = bytes.iter().position(|byte| *byte != 0).map_or(&[][..], |at| &bytes[at..]);
    let missing = 16_usize.checked_sub(significant.len())?;
    Some("00".repeat(missing) + &hex(significant))
}

fn only<'a>(mut values: impl Iterator<Item = &'a AttributeTypeAndValue<'a>>) -> Option<&'a str> {
    let value = values.next()?.as_str().ok()?;
    values.next().is_none().then_some(value)
}

fn only_uri<'a>(certificate: &X509Certificate<'a>) -> Option<&'a str> {
    let names = certificate.subject_alternative_name().ok()??.value;
    let mut uris = names.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    let uri = uris.next()?;
    uris.next().is_none().then_some(uri)
}

fn split_uri(uri: &str) -> Option<(&str, &str)> {
    let (cluster, node) = uri.strip_prefix("jaco://")?.split_once("/node/")?;
    (is_plain(cluster) && is_plain(node)).then_some((cluster, node))
}

/// Lowercase letters, digits and dashes, 1 to 63: what fits into every place of a certificate.
pub(super) fn is_plain(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&name.len())
        && name.bytes().all(legal)
        && !name.starts_with('-')
        && !name.ends_with('-')
}
