//! What the core asks of the outside, and what may come back.

use jaco_kit_core::OpId;
use jaco_model::WallMs;
use jaco_model::command::AcmeStep;
use jaco_model::spec::{Challenge, DnsProvider, SecretText};
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
    /// Ask an authority or a name server; comes back as `Answered`, once.
    Ask {
        /// Which order.
        op: OpId,
        /// Cluster time: an authority whose clock says something else is asked no further.
        at: WallMs,
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

/// The TXT record of a DNS-01 challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// By which provider.
    pub provider: String,
    /// That provider, where the domain's deployment brings it, and the content of its secret.
    pub own: Option<Box<(DnsProvider, Option<SecretText>)>>,
    /// Full name, without a trailing dot.
    pub name: String,
    /// Its text.
    pub value: String,
}

/// One conversation. Each may be repeated without harm, but for `NewOrder`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// Make an account: `Answer::Account`.
    NewAccount {
        /// Directory of the authority.
        directory: String,
        /// Mail address or empty.
        contact: String,
    },
    /// Whether the authority's clock agrees with ours: `Answer::Told`, or `CallFailure::Clock`.
    Clock {
        /// Directory of the authority.
        directory: String,
    },
    /// Whether the domain can be validated at all: `Answer::Proven` or `Answer::Invalid`.
    Preflight {
        /// Directory of the authority.
        directory: String,
        /// URL of the account there: a CAA record may name it.
        account: String,
        /// Which name.
        domain: String,
        /// How it will be checked.
        challenge: Challenge,
    },
    /// Make an order: `Answer::Order`.
    NewOrder {
        /// In whose name.
        account: AccountRef,
        /// URL of the account.
        account_url: String,
        /// For which name.
        domain: String,
        /// Id of the certificate that it replaces.
        replaces: Option<String>,
        /// An order may have been made already whose URL was lost: take that one up, where the
        /// authority tells of it.
        look: bool,
    },
    /// Look up the challenge: `Answer::Challenge` or `Answer::Proven`.
    Challenge {
        /// In whose name.
        account: AccountRef,
        /// URL of the order.
        order: String,
        /// By DNS-01 rather than HTTP-01.
        dns: bool,
    },
    /// Publish a record that may be there already: `Answer::Told`.
    Publish(Record),
    /// Whether every authoritative server has the record: `Answer::Proven` or `Answer::Waiting`.
    Propagated(Record),
    /// Remove a record that may be gone already: `Answer::Told`.
    Unpublish(Record),
    /// Tell that the challenge is answered from now on: `Answer::Told`.
    Tell {
        /// In whose name.
        account: AccountRef,
        /// URL of the order.
        order: String,
        /// By DNS-01 rather than HTTP-01.
        dns: bool,
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
    /// When a certificate should be renewed (RFC 9773): `Answer::Advice`.
    RenewalInfo {
        /// Directory of the authority.
        directory: String,
        /// PEM, leaf first.
        chain: String,
    },
}

/// What was answered.
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
        /// What to publish instead, for DNS-01.
        record: Option<String>,
    },
    /// It is so.
    Proven,
    /// It was heard and done.
    Told,
    /// Not yet.
    Waiting {
        /// The authority's wish.
        retry_after: Option<Duration>,
        /// What is missing, for people; may be empty.
        detail: String,
    },
    /// It is not so, and will not be by waiting: the order is dead.
    Invalid {
        /// Last part of the problem's URN; empty without one.
        kind: String,
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
    /// When to renew, as the authority says it.
    Advice {
        /// Id of the certificate (RFC 9773 §4.1); `None` where the authority gives no advice.
        id: Option<String>,
        /// Begin and end of the window, as sent; `None` when they are not even times.
        window: Option<(WallMs, WallMs)>,
        /// A page that says why.
        explanation: Option<String>,
        /// When to ask again.
        retry_after: Option<Duration>,
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
    /// The authority's clock and cluster time differ by more than ten minutes; nothing was asked.
    Clock {
        /// What the authority's clock says.
        authority: WallMs,
    },
    /// Something of ours did not do it: a provider of DNS, a command, a key that is not there.
    Provider {
        /// For people.
        detail: String,
    },
}
