//! Everything the scheduler may ask of the outside.

use jaco_kit_core::OpId;
use jaco_model::command::Command;

/// Orders to raft. Each is answered by one `Proposed` with its `op`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Write a decision into the replicated state.
    Propose {
        /// Returns as `Proposed`.
        op: OpId,
        /// What to write.
        command: Command,
    },
}
