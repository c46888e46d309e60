//! What the replicated state holds: decisions of the leader and reports of the nodes.
//!
//! One writer per field: users write revisions and scales, the scheduler writes replicas,
//! instances' `desired` and rollouts, and the node that runs an instance writes its status.

mod acme;
mod address;
mod certificate;
mod instance;
mod node;
mod revision;
mod rollout;

pub use acme::{
    AccountFailure, AcmeAccount, AcmeOrder, AcmeStanding, CaKind, ChallengeRecord, ChallengeToken,
    ClockSuspicion, OrderState,
};
pub use address::{
    Block, DEFAULT_NETWORK, IMPLICIT_KEY, Ipam, MeshFacts, MeshKind, Quarantine, Scope, ScopeRecord,
};
pub use certificate::{
    Certificate, CertificateFailure, IssuedCertificate, RenewalAdvice, RenewalWindow,
};
pub use instance::{
    Desired, ImagePin, Instance, InstanceState, InstanceStatus, Replica, Slot, Transition,
};
pub use node::{
    Capacity, ClusterMeta, JoinToken, JoinTokenUse, Leaving, Node, NodeFacts, NodeStatus, Platform,
    Tombstone, Trust,
};
pub use revision::{
    Deployment, Documents, Origin, RevisionRecord, RevisionStatus, ScaleOverride, Volume,
};
pub use rollout::{Rollout, RolloutState};

use crate::{Identity, WallMs};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One line of the audit log, written in the same command as the change it describes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEvent {
    /// A type of the closed list, such as `apply` or `scale`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Who did it.
    pub identity: Identity,
    /// When, in cluster time.
    pub ts: WallMs,
    /// The log index of the change.
    pub raft_index: u64,
    /// Flat facts; never a secret, a token or an environment value.
    pub payload: BTreeMap<String, String>,
}
