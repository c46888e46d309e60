//! Who publishes the answers to DNS-01 challenges (manifests.md §2.6).

use crate::Millis;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// One entry of `acme_dns`. What it must keep secret is not in it: whoever uses it is handed the
/// content of the secret that [`DnsMethod::secret`] names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsProvider {
    /// How records come and go.
    pub method: DnsMethod,
    /// Longest wait until all authoritative servers show what was published.
    pub propagation: Millis,
    /// Who is asked about zones and their servers; empty takes the node's own choice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resolvers: Vec<SocketAddr>,
    /// Publish where an alias of the challenge's name leads.
    pub follow_cname: bool,
}

impl DnsProvider {
    /// `propagation` where none is given.
    pub const PROPAGATION: Millis = Millis(120_000);

    /// A provider with the defaults of all that it has in common with others.
    pub fn new(method: DnsMethod) -> DnsProvider {
        let propagation = DnsProvider::PROPAGATION;
        DnsProvider { method, propagation, resolvers: Vec::new(), follow_cname: true }
    }
}

/// How records come and go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum DnsMethod {
    /// Dynamic updates (RFC 2136), signed by a shared key (RFC 8945).
    Rfc2136 {
        /// The primary server: host or address, with an optional port (53).
        server: String,
        /// The zone; `None` is found by its SOA record, asked at the server.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        zone: Option<String>,
        /// Name of the key, as the server knows it.
        key_name: String,
        /// Secret that holds the key, in base64.
        key_secret: String,
        /// What is made with the key.
        algorithm: TsigAlgorithm,
    },
    /// A service of the user.
    Webhook {
        /// Where to post to, `https`.
        url: String,
        /// Secret that holds headers of the request, one `Name: value` a line.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        headers_secret: Option<String>,
    },
    /// A program on the node that holds the order. Never from a manifest.
    Exec {
        /// The program's absolute path, and what goes before the arguments of a call.
        command: Vec<String>,
    },
}

impl DnsMethod {
    /// Name of the secret whose content it needs.
    pub fn secret(&self) -> Option<&str> {
        match self {
            DnsMethod::Rfc2136 { key_secret, .. } => Some(key_secret),
            DnsMethod::Webhook { headers_secret, .. } => headers_secret.as_deref(),
            DnsMethod::Exec { .. } => None,
        }
    }
}

/// How a signature of RFC 8945 is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TsigAlgorithm {
    /// HMAC with SHA-256.
    #[default]
    #[serde(rename = "hmac-sha256")]
    HmacSha256,
    /// HMAC with SHA-384.
    #[serde(rename = "hmac-sha384")]
    HmacSha384,
    /// HMAC with SHA-512.
    #[serde(rename = "hmac-sha512")]
    HmacSha512,
}

impl TsigAlgorithm {
    /// All of them.
    pub const ALL: [TsigAlgorithm; 3] =
        [TsigAlgorithm::HmacSha256, TsigAlgorithm::HmacSha384, TsigAlgorithm::HmacSha512];

    /// Its name in manifests and in DNS.
    pub fn name(self) -> &'static str {
        match self {
            TsigAlgorithm::HmacSha256 => "hmac-sha256",
            TsigAlgorithm::HmacSha384 => "hmac-sha384",
            TsigAlgorithm::HmacSha512 => "hmac-sha512",
        }
    }
}
