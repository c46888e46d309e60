//! Automatic certificates: accounts at authorities, orders under way, what is answered to their
//! checks, and what came out.

use crate::WallMs;
use crate::spec::SecretText;
use serde::{Deserialize, Serialize};

/// An account at an authority. Its key is (directory, contact).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcmeAccount {
    /// URL of the authority's directory.
    pub directory: String,
    /// Mail address; empty without one.
    pub contact: String,
    /// URL of the account.
    pub url: String,
    /// What the client needs to sign in the account's name.
    pub credentials: SecretText,
    /// Until when no order of this account is begun: the authority asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_until: Option<WallMs>,
    /// Raft term of the leader that wrote it last.
    pub term: u64,
}

/// Which kind of authority an order goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CaKind {
    /// A rehearsal: what comes out is thrown away.
    Staging,
    /// The public authority.
    Production,
    /// One that the operator named.
    Custom,
}

impl CaKind {
    /// Its name in views, logs and the audit log.
    pub const fn as_str(self) -> &'static str {
        match self {
            CaKind::Staging => "staging",
            CaKind::Production => "production",
            CaKind::Custom => "custom",
        }
    }
}

/// How far an order has come. Every step is written here before the next request is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum OrderState {
    /// It may be asked for, or its challenge looked up once it has a URL.
    Ordering,
    /// The answer to the challenge is in the state.
    ChallengeReady,
    /// The authority was told to look.
    Validating,
    /// The key exists, the certificate may be asked for.
    Finalizing {
        /// PKCS#8, PEM.
        key: SecretText,
    },
}

impl OrderState {
    /// Its name in views and in the audit log.
    pub const fn as_str(&self) -> &'static str {
        match self {
            OrderState::Ordering => "ordering",
            OrderState::ChallengeReady => "challenge_ready",
            OrderState::Validating => "validating",
            OrderState::Finalizing { .. } => "finalizing",
        }
    }
}

/// The one live order of a domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcmeOrder {
    /// For which name.
    pub domain: String,
    /// URL of the authority's directory.
    pub directory: String,
    /// Which account at it.
    pub contact: String,
    /// Which kind of authority that is.
    pub kind: CaKind,
    /// How far it is.
    pub state: OrderState,
    /// Where it is at the authority, once known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Where its challenge is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub challenge_url: Option<String>,
    /// The challenge's token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Which try this is, from 1.
    pub attempt: u32,
    /// When it began, in cluster time. It is given up an hour later.
    pub started_at: WallMs,
    /// Raft term of the leader that wrote it last.
    pub term: u64,
}

/// What `/.well-known/acme-challenge/<token>` of a domain answers. Its key is (domain, token).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChallengeToken {
    /// Of which name.
    pub domain: String,
    /// Last part of the path.
    pub token: String,
    /// The answer's body.
    pub key_authorisation: String,
    /// Log index of the command that wrote it: who has applied that can answer.
    pub index: u64,
    /// When it ends; `None` while its order lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<WallMs>,
}

/// What is known of a domain's certificate: also of one that could not be had yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// For which name.
    pub domain: String,
    /// What is served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued: Option<IssuedCertificate>,
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

/// Why there is no new certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateFailure {
    /// State of the order that failed.
    pub stage: String,
    /// A word: `validation`, `rate_limited`, `timeout`, `order_lost` or `refused`.
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
