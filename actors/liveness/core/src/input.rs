//! Everything that can happen to the liveness core.

use crate::Word;
use jaco_kit_core::OpId;
use jaco_model::{Fault, NodeId, NodeName};

/// Facts from outside.
#[derive(Clone, Debug)]
pub enum Input {
    /// The members as the replicated state has them, this node too. Without this node in it, it is
    /// no member and watches nobody.
    Roster(Vec<Peer>),
    /// This member became the leader, or no longer is.
    Leadership(bool),
    /// The last index applied here.
    Applied(u64),
    /// This daemon ends soon and is back within 30 seconds. All observers are told at once.
    Pausing,
    /// A probe was answered.
    Answered {
        /// The effect's id.
        op: OpId,
        /// What the peer says.
        word: Word,
    },
    /// A probe failed before its time was over, such as by a refused connection.
    Failed {
        /// The effect's id.
        op: OpId,
    },
    /// A peer probed this node. The answer to it is [`crate::LivenessCore::word`].
    Heard {
        /// Who, by its certificate.
        from: NodeId,
        /// What it says.
        word: Word,
    },
    /// A proposal was applied or refused.
    Proposed {
        /// The effect's id.
        op: OpId,
        /// Why it was refused.
        result: Result<(), Fault>,
    },
}

/// One member as the replicated state has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Identity.
    pub node: NodeId,
    /// Hostname, for evidence that people read.
    pub name: NodeName,
    /// Whether it counts in raft votes.
    pub voter: bool,
    /// Whether it is declared down.
    pub is_down: bool,
    /// Number of its last change between up and down.
    pub epoch: u64,
}
