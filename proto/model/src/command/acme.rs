//! What the leader writes about automatic certificates: one step each, before the next request.

use crate::WallMs;
use crate::entity::{CaKind, ClockSuspicion, RenewalAdvice};
use crate::spec::{Challenge, SecretText};
use serde::{Deserialize, Serialize};

/// One step, by the leader of a term. A step of an earlier term than the last one about the same
/// thing is refused, unless it brings the certificate of the order that is still the current one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcmeStep {
    /// Raft term of the leader.
    pub term: u64,
    /// What happened.
    pub change: AcmeChange,
}

/// What a step writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "change")]
pub enum AcmeChange {
    /// An account was made. Refused when there is one already.
    Account {
        /// Directory of its authority.
        directory: String,
        /// Mail address or empty.
        contact: String,
        /// URL of the account.
        url: String,
        /// What the client needs to sign in its name.
        credentials: SecretText,
    },
    /// An account could not be made.
    AccountFailed {
        /// Directory of the authority.
        directory: String,
        /// Mail address or empty.
        contact: String,
        /// What the authority says.
        detail: String,
        /// When the next try is.
        retry_at: WallMs,
    },
    /// The authority's clock and ours differ too much, or do no more. Refused when that is known.
    Clock {
        /// Directory of the authority.
        directory: String,
        /// Mail address or empty.
        contact: String,
        /// What the clocks said.
        suspicion: Option<ClockSuspicion>,
    },
    /// The authority does not know an account any more.
    AccountLost {
        /// Directory of its authority.
        directory: String,
        /// Mail address or empty.
        contact: String,
        /// URL of the account that is meant.
        url: String,
    },
    /// The authority wants no more orders of an account for a while.
    Hold {
        /// Directory of the authority.
        directory: String,
        /// Mail address or empty.
        contact: String,
        /// Until when. Refused when it is on hold for longer already.
        until: WallMs,
    },
    /// An order is about to be asked for. Refused while the domain has one.
    Begin {
        /// For which name.
        domain: String,
        /// Directory of the authority.
        directory: String,
        /// Mail address or empty.
        contact: String,
        /// Which kind of authority.
        kind: CaKind,
        /// How the authority checks the domain.
        #[serde(default)]
        challenge: Challenge,
        /// Id of the certificate that it replaces.
        #[serde(default)]
        replaces: Option<String>,
        /// Whether it is looked first if the domain can be validated at all.
        #[serde(default)]
        preflight: bool,
        /// Whether it counts against the authority's limits; refused when they are used up.
        #[serde(default)]
        counted: bool,
    },
    /// The domain can be validated, as far as can be told before.
    Preflighted {
        /// For which name.
        domain: String,
    },
    /// The authority wants the order without the certificate that it would replace.
    NotReplacing {
        /// For which name.
        domain: String,
    },
    /// The authority wants to hear nothing of the order for a while.
    Wait {
        /// For which name.
        domain: String,
        /// URL of the order, if it has one.
        order: Option<String>,
        /// Until when.
        until: WallMs,
    },
    /// The order exists.
    Ordered {
        /// For which name.
        domain: String,
        /// Where it is.
        url: String,
    },
    /// The challenge is known and every node may answer it.
    Challenge {
        /// For which name.
        domain: String,
        /// Which order.
        order: String,
        /// Where the challenge is.
        url: String,
        /// Its token.
        token: String,
        /// What to answer.
        key_authorisation: String,
        /// What to publish instead, for an order by DNS-01.
        #[serde(default)]
        record: Option<String>,
    },
    /// The authority was told to look, or needs not.
    Validating {
        /// For which name.
        domain: String,
        /// Which order.
        order: String,
    },
    /// The domain is proven; this key is the one to be certified.
    Finalizing {
        /// For which name.
        domain: String,
        /// Which order.
        order: String,
        /// PKCS#8, PEM.
        key: SecretText,
    },
    /// The certificate is there.
    Issued {
        /// For which name.
        domain: String,
        /// Of which order.
        order: String,
        /// PEM, leaf first.
        chain: String,
        /// Valid from.
        not_before: WallMs,
        /// Valid until.
        not_after: WallMs,
    },
    /// The order came to nothing.
    Failed {
        /// For which name.
        domain: String,
        /// URL of the order, if it had one.
        order: Option<String>,
        /// See [`crate::entity::CertificateFailure::class`].
        class: String,
        /// For people.
        detail: String,
        /// When the next try is.
        retry_at: WallMs,
    },
    /// The authority's advice about the renewal of a certificate.
    Advice {
        /// For which name.
        domain: String,
        /// Of which certificate, and what.
        advice: RenewalAdvice,
    },
    /// The record of an order that has ended is not published any more, or never will be.
    RecordRemoved {
        /// For which name.
        domain: String,
        /// Of which challenge.
        token: String,
    },
    /// Ended tokens go, and certificates that no route has asked for in a week.
    Sweep,
}
