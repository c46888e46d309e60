//! Proposals of this member that wait for their entry to commit.

use std::collections::BTreeMap;

use jaco_kit_core::OpId;

use crate::durable::Position;

/// Which proposal is meant by which entry.
#[derive(Debug, Default)]
pub(crate) struct Proposals {
    by_index: BTreeMap<u64, (u64, OpId)>,
}

impl Proposals {
    /// The leader has appended the proposal at this position.
    pub(crate) fn insert(&mut self, at: Position, op: OpId) {
        self.by_index.insert(at.index, (at.term, op));
    }

    /// The proposal that the committed entry at `at` answers.
    pub(crate) fn take(&mut self, at: Position) -> Option<OpId> {
        let (term, op) = self.by_index.remove(&at.index)?;
        // Another term means another leader's entry took the place.
        (term == at.term).then_some(op)
    }

    /// Ends them all, oldest first.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = OpId> + use<> {
        std::mem::take(&mut self.by_index).into_values().map(|(_, op)| op)
    }
}
