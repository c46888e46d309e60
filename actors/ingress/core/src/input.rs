//! Everything that can happen to the ingress core.

use crate::listeners::SocketFault;
use jaco_kit_core::OpId;
use jaco_model::{InstanceId, NodeId};
use jaco_state::State;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Facts and outcomes from outside.
#[derive(Clone, Debug)]
pub enum Input {
    /// The replicated state has moved on.
    StateChanged(Arc<State>),
    /// The nodes that liveness takes for dead, also without a leader who could say so in the
    /// state. Their replicas get no new requests.
    Suspects(BTreeSet<NodeId>),
    /// What this node knows of its own containers before the state does: the address of each by
    /// network key. Replaces what was said before.
    Seated(BTreeMap<InstanceId, BTreeMap<String, String>>),
    /// Outcome of [`crate::Effect::Listen`].
    Listening {
        /// Which order.
        op: OpId,
        /// Whether it is open.
        result: Result<(), SocketFault>,
    },
}
