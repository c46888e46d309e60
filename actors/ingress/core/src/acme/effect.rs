//! What the core asks of the outside, and what may come back.

use jaco_kit_core::OpId;
use jaco_model::WallMs;
use jaco_model::command::AcmeStep;
use jaco_model::spec::SecretText;
use std::time::Duration;

/// Orders to the shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Propose this step; comes back as `Proposed`.
    Propose {
        /// Which order.
        op: OpId,
        /// To be wrapped into `Command::Acme`.
        step: AcmeStep,
    },
    /// Ask the authority; comes back as `Answered`, once.
    Ca {
        /// Which order.
        op: OpId,
        /// What to ask.
        call: Call,
    },
}

/// In whose name a request is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountRef {
    /// Directory of the authority.
    pub directory: String,
    /// From the state.
    pub credentials: SecretText,
}

/// One conversation with an authority. Each may be repeated without harm, but for `NewOrder`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// Make an account: `Answer::Account`.
    NewAccount {
        /// Directory of the authority.
        directory: String,
        /// Mail address or empty.
        contact: String,
    },
    /// Make an order: `Answer::Order`.
    NewOrder {
        /// In whose name.
        account: AccountRef,
        /// For which name.
        domain: String,
    },
    /// Look up the HTTP-01 challenge: `Answer::Challenge` or `Answer::Proven`.
    Challenge {
        /// In whose name.
        account: AccountRef,
        /// URL of the order.
        order: String,
    },
    /// Tell that the challenge is answered from now on: `Answer::Told`.
    Tell {
        /// In whose name.
        account: AccountRef,
        /// URL of the order.
        order: String,
    },
    /// How far it is: `Answer::Waiting`, `Answer::Proven` or `Answer::Invalid`.
    Poll {
        /// In whose name.
        account: AccountRef,
        /// URL of the order.
        order: String,
    },
    /// Make a key for a certificate, here: `Answer::Key`.
    NewKey,
    /// Ask for the certificate of a key and fetch it: `Answer::Certificate`, `Answer::Waiting` or
    /// `Answer::Invalid`.
    Finalize {
        /// In whose name.
        account: AccountRef,
        /// URL of the order.
        order: String,
        /// For which name.
        domain: String,
        /// PKCS#8, PEM.
        key: SecretText,
    },
}

/// What an authority answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The account.
    Account {
        /// Its URL.
        url: String,
        /// To be kept.
        credentials: SecretText,
    },
    /// The order.
    Order {
        /// Its URL.
        url: String,
    },
    /// The challenge.
    Challenge {
        /// Its URL.
        url: String,
        /// Its token.
        token: String,
        /// What to answer.
        key_authorisation: String,
    },
    /// The domain is proven.
    Proven,
    /// The authority knows that it may look.
    Told,
    /// Not yet.
    Waiting {
        /// The authority's wish.
        retry_after: Option<Duration>,
    },
    /// The order is dead.
    Invalid {
        /// Why, in the authority's words.
        detail: String,
    },
    /// A key, PKCS#8 as PEM.
    Key(SecretText),
    /// The certificate; it is of the order's name and key.
    Certificate {
        /// PEM, leaf first.
        chain: String,
        /// Valid from.
        not_before: WallMs,
        /// Valid until.
        not_after: WallMs,
    },
}

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallFailure {
    /// The authority refused (RFC 7807, RFC 8555 §6.7).
    Problem {
        /// Last part of its URN, such as `rateLimited`.
        kind: String,
        /// For people.
        detail: String,
        /// HTTP status.
        status: u16,
        /// The authority's wish.
        retry_after: Option<Duration>,
    },
    /// No answer, or one that makes no sense.
    Transport {
        /// For people.
        detail: String,
        /// The authority's wish, with a status of 500 and above.
        retry_after: Option<Duration>,
    },
}
