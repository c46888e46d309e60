//! Certificates by domain: what is served, when it is renewed, and why there is no newer one.

use super::CaKind;
use crate::WallMs;
use crate::spec::SecretText;
use serde::{Deserialize, Serialize};

/// What is known of a domain's certificate: also of one that could not be had yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// For which name.
    pub domain: String,
    /// What is served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued: Option<IssuedCertificate>,
    /// What the authority says about its renewal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ari: Option<RenewalAdvice>,
    /// When certificates came that count against the authority's limits, oldest first; those of
    /// the last week.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub counted: Vec<WallMs>,
    /// When the rehearsal succeeded, for a domain that has none yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staged_at: Option<WallMs>,
    /// Why the last order came to nothing; `None` after a success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<CertificateFailure>,
    /// Since when no route asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unused_since: Option<WallMs>,
    /// Raft term of the leader that wrote it last.
    pub term: u64,
}

/// A certificate that may be served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuedCertificate {
    /// PEM, leaf first.
    pub chain: String,
    /// PKCS#8, PEM.
    pub key: SecretText,
    /// Valid from.
    pub not_before: WallMs,
    /// Valid until.
    pub not_after: WallMs,
    /// When it came, in cluster time.
    pub issued_at: WallMs,
    /// Who issued it; never a rehearsal.
    pub environment: CaKind,
    /// Directory of who issued it.
    pub directory: String,
}

/// What the authority says about when a certificate is renewed (RFC 9773), and what we made of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenewalAdvice {
    /// Which certificate it is about: `issued_at` of it.
    pub of: WallMs,
    /// Its id (RFC 9773 §4.1); empty where the authority gives no such advice.
    pub id: String,
    /// The window that the authority suggests; `None` when it gives none, or one that makes no
    /// sense.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<RenewalWindow>,
    /// When the authority is asked next.
    pub next_poll: WallMs,
}

/// A window for a renewal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenewalWindow {
    /// It begins.
    pub start: WallMs,
    /// It ends, after it began.
    pub end: WallMs,
    /// The instant in it that was drawn.
    pub chosen_at: WallMs,
    /// A page of the authority that says why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explanation: Option<String>,
}

/// Why there is no new certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateFailure {
    /// State of the order that failed.
    pub stage: String,
    /// A word: `preflight`, `validation`, `dns`, `rate_limited`, `timeout`, `account_lost`,
    /// `order_lost`, `already_replaced`, `operator` or `refused`.
    pub class: String,
    /// What the authority or the network says.
    pub detail: String,
    /// Failures in a row.
    pub attempts: u32,
    /// When the first of them was.
    pub since: WallMs,
    /// When the next try is.
    pub retry_at: WallMs,
}
