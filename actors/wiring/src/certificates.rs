//! Automatic certificates: who tells their core what.

use crate::member::{Member, deliver};
use crate::propose::Origin;
use crate::step::{Delivery, Io, Step};
use jaco_ingress_core::acme::{Effect, Input, PeerProgress};
use jaco_kit_core::Now;
use jaco_liveness_core::Word;
use jaco_model::NodeId;
use jaco_model::command::Command;
use jaco_state::State;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What this member knows for the core of certificates.
#[derive(Debug, Default)]
pub(crate) struct Certificates {
    /// The state that the core saw last.
    shown: Option<Arc<State>>,
    /// The raft term in which this member leads.
    term: Option<u64>,
    /// The index that each other member said it has applied.
    applied: BTreeMap<NodeId, u64>,
}

impl Member {
    /// An effect of the core of certificates.
    pub fn from_acme(&mut self, now: Now, effect: Effect) -> Vec<Step> {
        match effect {
            Effect::Propose { op, step } => {
                self.propose_own(now, Origin::Acme(op), Command::Acme(Box::new(step)))
            }
            Effect::Ask { op, at, call } => vec![Step::Io(Io::Acme { op, at, call })],
        }
    }

    /// What a core of certificates that was just built must know.
    pub(crate) fn show_term(&self) -> Step {
        deliver(Delivery::Acme(Input::Leadership(self.certificates.term)))
    }

    /// This member leads in a term, or does not.
    pub(crate) fn led_in(&mut self, term: Option<u64>) -> Option<Step> {
        if self.certificates.term == term {
            return None;
        }
        self.certificates.term = term;
        Some(self.show_term())
    }

    /// Shows the state if what it says of certificates may have changed.
    pub(crate) fn show_certificates(&mut self, state: &Arc<State>, anew: bool) -> Option<Step> {
        let shown = self.certificates.shown.as_ref();
        if !anew && shown.is_some_and(|shown| shown.has_same_certificates(state)) {
            return None;
        }
        self.certificates.shown = Some(state.clone());
        Some(deliver(Delivery::Acme(Input::StateChanged(state.clone()))))
    }

    /// Another member said how far it is: an authority may look for a token only when every node
    /// has it. Of no interest while no order runs.
    pub(crate) fn heard_progress(&mut self, from: &NodeId, word: &Word) -> Option<Step> {
        self.certificates.applied.insert(from.clone(), word.applied_index);
        self.certificates.applied.retain(|node, _| self.state.nodes.contains_key(node));
        if self.certificates.term.is_none() || self.state.acme_orders.is_empty() {
            return None;
        }
        let progress = self.certificates.applied.iter().map(|(node, applied)| {
            let up = !self.suspects.contains(node);
            (node.clone(), PeerProgress { applied: *applied, up })
        });
        Some(deliver(Delivery::Acme(Input::Progress(progress.collect()))))
    }
}
