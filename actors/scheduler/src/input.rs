//! Everything that can happen to the scheduler.

use jaco_kit_core::OpId;
use jaco_model::{DeploymentName, Fault};
use jaco_state::State;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Facts from outside.
#[derive(Clone, Debug)]
pub enum Input {
    /// Entries were applied.
    StateChanged {
        /// The state after the last of them.
        state: Arc<State>,
        /// What they touched.
        dirty: Dirty,
    },
    /// This member became the leader, or no longer is.
    Leadership(bool),
    /// A proposal was applied or refused.
    Proposed {
        /// The effect's id.
        op: OpId,
        /// Why it was refused.
        result: Result<(), Fault>,
    },
}

/// What a change of the state may have moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dirty {
    /// Anything, such as after a change of a node.
    All,
    /// Only these deployments.
    Deployments(BTreeSet<DeploymentName>),
}
