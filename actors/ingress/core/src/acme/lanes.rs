//! What is under way: at most one call or proposal about each subject.

use jaco_kit_core::{Mono, OpId};
use jaco_model::command::AcmeChange;
use jaco_model::entity::{
    AccountFailure, AcmeAccount, AcmeOrder, Certificate, ChallengeToken, ClockSuspicion,
};
use jaco_state::State;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What something is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    Account(String, String),
    /// The clock of an authority, as one of our accounts there meets it.
    Clock(String, String),
    Domain(String),
    /// A published record whose order has ended, by domain and token.
    Record(String, String),
    Sweep,
}

/// The part of the state that a subject's steps change.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum View {
    Account(Option<Arc<AcmeAccount>>, Option<AccountFailure>),
    Clock(Option<ClockSuspicion>),
    Domain(Option<Arc<AcmeOrder>>, Option<Arc<Certificate>>),
    Record(Option<Arc<ChallengeToken>>),
    Sweep(bool),
}

impl View {
    pub(super) fn of(state: &State, subject: &Subject, due: bool) -> View {
        let key = |a: &String, b: &String| (a.clone(), b.clone());
        match subject {
            Subject::Account(directory, contact) => {
                let key = key(directory, contact);
                let standing = state.acme_standings.get(&key);
                let failure = standing.and_then(|standing| standing.failure.clone());
                View::Account(state.acme_accounts.get(&key).cloned(), failure)
            }
            Subject::Clock(directory, contact) => {
                let standing = state.acme_standings.get(&key(directory, contact));
                View::Clock(standing.and_then(|standing| standing.clock))
            }
            Subject::Domain(domain) => View::Domain(
                state.acme_orders.get(domain).cloned(),
                state.certificates.get(domain).cloned(),
            ),
            Subject::Record(domain, token) => {
                View::Record(state.challenge_tokens.get(&key(domain, token)).cloned())
            }
            Subject::Sweep => View::Sweep(due),
        }
    }
}

/// What a subject waits for.
#[derive(Debug, PartialEq)]
pub(super) enum Waiting {
    Call(OpId),
    /// Proposed again until the state shows it or refuses it.
    Step {
        change: Box<AcmeChange>,
        op: Option<OpId>,
        accepted: bool,
        seen: View,
    },
}

#[derive(Debug, Default)]
pub(super) struct Lane {
    pub(super) waiting: Option<Waiting>,
    pub(super) rest_until: Option<Mono>,
    /// Requests of this step without an answer.
    pub(super) misses: u32,
    /// Since when the token or record is waited for elsewhere.
    pub(super) gate_since: Option<Mono>,
    /// The order was begun here, and nothing has been sent for it: the authority has none.
    pub(super) is_unsent: bool,
    /// The record was published by this leader.
    pub(super) is_published: bool,
    /// All servers have it.
    pub(super) is_visible: bool,
}

impl Lane {
    /// The step that is being written.
    pub(super) fn change(&self) -> Option<&AcmeChange> {
        match &self.waiting {
            Some(Waiting::Step { change, .. }) => Some(change),
            Some(Waiting::Call(_)) | None => None,
        }
    }

    /// The state shows what was waited for.
    pub(super) fn settle(&mut self, is_unsent: bool) {
        *self = Lane { is_unsent, ..Lane::default() };
    }
}

pub(super) type Lanes = BTreeMap<Subject, Lane>;
