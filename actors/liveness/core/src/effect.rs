//! Everything the liveness core may ask of the outside.

use crate::Word;
use jaco_kit_core::OpId;
use jaco_model::NodeId;
use jaco_model::command::Command;
use std::collections::BTreeSet;

/// Orders. `Probe` and `Propose` are each answered once with their `op`; after 400 ms the core no
/// longer listens for the answer to a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Ask a peer whether it is there. Comes back as `Answered` or `Failed`.
    Probe {
        /// Returns with the outcome.
        op: OpId,
        /// Whom to ask.
        peer: NodeId,
        /// What to say.
        word: Word,
    },
    /// Peers that routing should avoid: this node cannot reach them, or most observers cannot.
    /// Only when the set has changed.
    Suspects(BTreeSet<NodeId>),
    /// Write a decision into the replicated state. Comes back as `Proposed`.
    Propose {
        /// Returns with the outcome.
        op: OpId,
        /// What to write.
        command: Command,
    },
}
