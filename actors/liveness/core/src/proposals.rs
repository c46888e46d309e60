//! Decisions on their way into the state: never two about one node.

use crate::Settings;
use jaco_kit_core::{Mono, OpId, OpIds};
use jaco_model::NodeId;
use std::collections::BTreeMap;

/// What was proposed, and what may not be proposed yet.
#[derive(Debug, Default)]
pub(crate) struct Proposals {
    outstanding: BTreeMap<NodeId, OpId>,
    /// A refused one is tried again later; after an accepted one the state has time to come.
    resting: BTreeMap<NodeId, Mono>,
}

impl Proposals {
    /// Whether something may be proposed about a node.
    pub(crate) fn is_free(&self, now: Mono, node: &NodeId) -> bool {
        let resting = self.resting.get(node).is_some_and(|until| now < *until);
        !resting && !self.outstanding.contains_key(node)
    }

    /// Begins a proposal about a node that is free.
    pub(crate) fn begin(&mut self, node: NodeId, ops: &mut OpIds) -> OpId {
        let op = ops.next_id();
        let before = self.outstanding.insert(node, op);
        debug_assert!(before.is_none(), "two proposals about one node");
        op
    }

    /// Ends a proposal; unknown ones are of an earlier time as leader.
    pub(crate) fn end(&mut self, now: Mono, op: OpId, settings: &Settings) {
        let node = self.outstanding.iter().find(|(_, outstanding)| **outstanding == op);
        if let Some(node) = node.map(|(node, _)| node.clone()) {
            self.outstanding.remove(&node);
            self.resting.retain(|_, until| now < *until);
            self.resting.insert(node, now.plus(settings.retry_after));
        }
    }

    /// Forgets everything: another leader decides now.
    pub(crate) fn clear(&mut self) {
        self.outstanding.clear();
        self.resting.clear();
    }

    /// Whether nothing is on its way.
    pub(crate) fn is_idle(&self) -> bool {
        self.outstanding.is_empty()
    }
}
