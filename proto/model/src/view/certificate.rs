//! Certificates of the front door: those that JACO gets, and those that users gave.

use serde::{Deserialize, Serialize};

/// The certificate of one domain, in lists and by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateView {
    /// For which name it is wanted.
    pub domain: String,
    /// Which kind of authority issued it or is asked: `prod`, `staging`, `custom`; `unknown` for
    /// one that a user gave.
    pub environment: String,
    /// Until when it is valid, RFC 3339; none while there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<String>,
    /// When it came, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_renewal_at: Option<String>,
    /// `pending`, `staging`, `renewing`, `active`, `failed` or `expired`.
    pub state: String,
    /// Who signed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// Names in it.
    #[serde(default)]
    pub names: Vec<String>,
    /// Since when it is valid, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<String>,
    /// `auto`, or the secret that it came in.
    pub source: String,
    /// Deployments with a route of the domain, the owner first.
    #[serde(default)]
    pub deployments: Vec<String>,
    /// How far its order is: `ordering`, `challenge_ready`, `validating`, `finalizing`; else
    /// `wanted`, `issued` or `backoff`. None for one that a user gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// Orders in a row that failed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failures: u32,
    /// A word for why the last one failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What the authority or the network said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// When the next order is tried, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt_at: Option<String>,
    /// What is wrong with its time, or soon will be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alarm: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}
