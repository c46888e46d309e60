//! Automatic certificates: how we stand with authorities, orders under way, and what is answered
//! to their checks. What comes out is in `certificate`.

use crate::WallMs;
use crate::spec::{Challenge, SecretText};
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

/// What is remembered of an authority beside the account there, and when there is none. Its key is
/// (directory, contact).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcmeStanding {
    /// URL of the authority's directory.
    pub directory: String,
    /// Mail address; empty without one.
    pub contact: String,
    /// Why there is no account; `None` when there is one or none was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<AccountFailure>,
    /// While the authority's clock and ours differ too much, nothing is ordered there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<ClockSuspicion>,
    /// When orders were begun that count against its limits, oldest first; those of the last three
    /// hours.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub orders: Vec<WallMs>,
    /// Raft term of the leader that wrote it last.
    pub term: u64,
}

/// Why an account could not be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountFailure {
    /// What the authority says.
    pub detail: String,
    /// Failures in a row.
    pub attempts: u32,
    /// When the first of them was.
    pub since: WallMs,
    /// When the next try is.
    pub retry_at: WallMs,
}

/// An authority's clock and cluster time differ by more than ten minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockSuspicion {
    /// What the authority's clock said.
    pub authority: WallMs,
    /// What cluster time was then.
    pub cluster: WallMs,
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
    /// It is looked whether the domain can be validated at all; the authority knows nothing yet.
    Preflight,
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
            OrderState::Preflight => "preflight",
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
    /// How the authority checks the domain.
    #[serde(default, skip_serializing_if = "is_default")]
    pub challenge: Challenge,
    /// Id (RFC 9773 §4.1) of the certificate that it replaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<String>,
    /// Whether it counts against the authority's limits.
    #[serde(default, skip_serializing_if = "is_default")]
    pub counted: bool,
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
    /// No request about it is sent before: the authority asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<WallMs>,
    /// Which try this is, from 1.
    pub attempt: u32,
    /// When it began, in cluster time. It is given up an hour later.
    pub started_at: WallMs,
    /// Raft term of the leader that wrote it last.
    pub term: u64,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// What `/.well-known/acme-challenge/<token>` of a domain answers, or what stands in its zone. Its
/// key is (domain, token).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChallengeToken {
    /// Of which name.
    pub domain: String,
    /// Last part of the path.
    pub token: String,
    /// The answer's body; empty when there is a record instead.
    pub key_authorisation: String,
    /// What is published instead of being answered; removed there before it goes here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<ChallengeRecord>,
    /// Log index of the command that wrote it: who has applied that can answer.
    pub index: u64,
    /// When it ends; `None` while its order lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<WallMs>,
}

/// The TXT record of a DNS-01 challenge. Its name is that of [`crate::name::challenge_name`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChallengeRecord {
    /// Which provider publishes it.
    pub provider: String,
    /// Its text (RFC 8555 §8.4).
    pub value: String,
}
