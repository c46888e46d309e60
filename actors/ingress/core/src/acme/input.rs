//! Everything that can happen to the core of automatic certificates.

use super::effect::{Answer, CallFailure};
use jaco_kit_core::OpId;
use jaco_model::{Fault, NodeId};
use jaco_state::State;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Facts and outcomes from outside.
#[derive(Clone, Debug)]
pub enum Input {
    /// The replicated state has moved on.
    StateChanged(Arc<State>),
    /// The raft term in which this node leads; `None` when it does not.
    Leadership(Option<u64>),
    /// How far the other members are. Replaces what was said before.
    Progress(BTreeMap<NodeId, PeerProgress>),
    /// Outcome of `Effect::Propose`.
    Proposed {
        /// Which order.
        op: OpId,
        /// Whether the state took it.
        result: Result<(), Fault>,
    },
    /// Outcome of `Effect::Ask`.
    Answered {
        /// Which order.
        op: OpId,
        /// What was said.
        result: Result<Answer, CallFailure>,
    },
}

/// What is known of a member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerProgress {
    /// The log index it has applied.
    pub applied: u64,
    /// Whether it is taken for alive.
    pub up: bool,
}

/// What the core is told at its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// This node.
    pub me: NodeId,
    /// Whether certificates are ordered at all.
    pub enabled: bool,
    /// Directory of the authority.
    pub directory: String,
    /// Mail address where a deployment names none; may be empty.
    pub contact: String,
    /// Order for real at once.
    pub skip_staging: bool,
    /// Providers of DNS-01 by name, with the longest wait until a record of theirs is seen.
    pub providers: BTreeMap<String, Duration>,
    /// Spreads renewals.
    pub seed: u64,
    /// Which core of this process it is: answers to an earlier one are none to this.
    pub epoch: u32,
}

impl Settings {
    /// Directory of Let's Encrypt.
    pub const PRODUCTION: &'static str = "https://acme-v02.api.letsencrypt.org/directory";
    /// Its directory for rehearsals.
    pub const STAGING: &'static str = "https://acme-staging-v02.api.letsencrypt.org/directory";
}
