//! What is under way: at most one call or proposal about each subject.

use jaco_kit_core::{Mono, OpId};
use jaco_model::command::AcmeChange;
use jaco_model::entity::{AcmeAccount, AcmeOrder, Certificate};
use jaco_state::State;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What something is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    Account(String, String),
    Domain(String),
    Sweep,
}

/// The part of the state that a subject's steps change.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum View {
    Account(Option<Arc<AcmeAccount>>),
    Domain(Option<Arc<AcmeOrder>>, Option<Arc<Certificate>>),
    Sweep(bool),
}

impl View {
    pub(super) fn of(state: &State, subject: &Subject, due: bool) -> View {
        match subject {
            Subject::Account(directory, contact) => {
                let key = (directory.clone(), contact.clone());
                View::Account(state.acme_accounts.get(&key).cloned())
            }
            Subject::Domain(domain) => View::Domain(
                state.acme_orders.get(domain).cloned(),
                state.certificates.get(domain).cloned(),
            ),
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
        change: AcmeChange,
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
    /// Since when the token is waited for on the other nodes.
    pub(super) gate_since: Option<Mono>,
}

pub(super) type Lanes = BTreeMap<Subject, Lane>;
