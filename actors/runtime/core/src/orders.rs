//! Orders under way: which effect belongs to whom, and what was said in this step.

use crate::Effect;
use jaco_kit_core::{OpId, OpIds};
use jaco_model::InstanceId;
use std::collections::BTreeMap;

/// Whom the outcome of an order concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// The list of everything.
    Observe,
    /// An image for an instance; takes one of the places for pulls.
    Pull(InstanceId),
    /// Creation or start for an instance; takes one of the places for starts.
    Launch(InstanceId),
    /// Anything else for an instance.
    Task(InstanceId),
    /// A network that is made or removed.
    Network(String),
    /// A volume that is made or removed.
    Volume(String),
    /// A container that no instance owns.
    Orphan(String),
    /// A report about instances and volumes.
    Report,
    /// A report about the node.
    NodeReport,
}

impl Subject {
    /// Whether the engine owes the answer, so that it is void once the engine is gone.
    fn is_engines(&self) -> bool {
        !matches!(self, Subject::Report | Subject::NodeReport)
    }
}

/// Hands out operation ids and remembers who waits for which.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    ids: OpIds,
    pending: BTreeMap<OpId, Subject>,
    effects: Vec<Effect>,
}

impl Orders {
    /// Issues one order.
    pub(crate) fn issue(&mut self, subject: Subject, effect: impl FnOnce(OpId) -> Effect) -> OpId {
        let op = self.ids.next_id();
        self.pending.insert(op, subject);
        self.effects.push(effect(op));
        op
    }

    /// The subject of an order that just ended; `None` for one that is unknown or forgotten.
    pub(crate) fn settle(&mut self, op: OpId) -> Option<Subject> {
        self.pending.remove(&op)
    }

    /// Forgets one order: its outcome no longer matters.
    pub(crate) fn forget(&mut self, op: OpId) {
        self.pending.remove(&op);
    }

    /// Forgets everything the engine was asked: it went away, and its answers are void.
    pub(crate) fn forget_engine(&mut self) {
        self.pending.retain(|_, subject| !subject.is_engines());
    }

    /// Pulls under way.
    pub(crate) fn pulls(&self) -> usize {
        self.pending.values().filter(|s| matches!(s, Subject::Pull(_))).count()
    }

    /// Creations and starts under way.
    pub(crate) fn launches(&self) -> usize {
        self.pending.values().filter(|s| matches!(s, Subject::Launch(_))).count()
    }

    /// Whether an instance has an order of its own under way.
    pub(crate) fn concerns(&self, id: &InstanceId) -> bool {
        self.pending.values().any(|subject| match subject {
            Subject::Pull(of) | Subject::Launch(of) | Subject::Task(of) => of == id,
            Subject::Observe
            | Subject::Network(_)
            | Subject::Volume(_)
            | Subject::Orphan(_)
            | Subject::Report
            | Subject::NodeReport => false,
        })
    }

    /// Everything ordered since the last call, in order.
    pub(crate) fn take(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }
}
