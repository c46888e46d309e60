//! Replicas (slots that last) and instances (containers that do not).

use crate::{
    DeploymentName, Fault, Generation, InstanceId, NodeId, NodeName, ReplicaId, Revision,
    ServiceName, WallMs,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A slot of a service. It keeps its index and name while instances come and go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replica {
    /// Its name.
    pub id: ReplicaId,
    /// The deployment.
    pub deployment: DeploymentName,
    /// The service.
    pub service: ServiceName,
    /// Which slot of the service.
    pub slot: Slot,
    /// The newest generation given out; 0 before the first.
    pub generation: Generation,
    /// Raised by `jaco restart`: instances with a lower number are replaced.
    pub restart_nonce: u64,
    /// Why the slot has no instance it should have.
    pub waiting: Option<Fault>,
    /// Ended instances, newest last, at most [`Replica::PAST_KEPT`].
    pub past: Vec<Instance>,
}

impl Replica {
    /// Ended instances kept for `status --all` and `logs --previous`.
    pub const PAST_KEPT: usize = 5;
}

/// Which slot of its service a replica is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Slot {
    /// By number; numbers are given in order and never used again.
    Index(u32),
    /// By node, for global services.
    Node(NodeName),
}

/// One life of a replica on one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Replica and generation; also the container's name.
    pub id: InstanceId,
    /// The deployment.
    pub deployment: DeploymentName,
    /// The service.
    pub service: ServiceName,
    /// Which slot of its service.
    pub slot: Slot,
    /// Where it runs.
    pub node: NodeId,
    /// The revision whose spec it runs.
    pub revision: Revision,
    /// Hash of what it runs.
    pub spec_hash: String,
    /// The pinned image.
    pub image: ImagePin,
    /// The replica's restart number when it was placed.
    pub restart_nonce: u64,
    /// Raised by `jaco restart --in-place`; the node restarts the container until its report
    /// carries the same number.
    pub in_place: u64,
    /// What the leader wants of it.
    pub desired: Desired,
    /// When it was placed.
    pub created_at: WallMs,
    /// What its node says.
    pub status: InstanceStatus,
}

/// What the leader wants of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Desired {
    /// Be there and serve.
    Run,
    /// Be drained, stopped and removed.
    Stop,
}

/// An image reference and what it was resolved to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImagePin {
    /// As the user wrote it.
    pub reference: String,
    /// `sha256:…` of the manifest for images from a registry, else the engine's image id.
    pub digest: String,
    /// Whether `digest` is an image id known only to the node's engine.
    pub local: bool,
}

/// What a node says about an instance. Only transitions are reported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceStatus {
    /// Where it stands.
    pub state: InstanceState,
    /// Why, when that needs saying.
    pub fault: Option<Fault>,
    /// The engine's id of the container, once created.
    pub container_id: Option<String>,
    /// Address by network key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub addresses: BTreeMap<String, String>,
    /// Restarts of the container so far.
    pub restarts: u32,
    /// Code of the last end of the process.
    pub exit_code: Option<i64>,
    /// The `in_place` number the container has been restarted for.
    pub in_place_done: u64,
    /// When it entered this state.
    pub since: WallMs,
    /// When the container first started.
    pub started_at: Option<WallMs>,
    /// When it was last found healthy or ready.
    pub last_health_at: Option<WallMs>,
    /// The last transitions, newest last, at most [`InstanceStatus::HISTORY_KEPT`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Transition>,
}

impl InstanceStatus {
    /// Transitions kept for `get replica`.
    pub const HISTORY_KEPT: usize = 10;

    /// The status of an instance that its node has not seen yet.
    pub fn placed(at: WallMs) -> InstanceStatus {
        InstanceStatus {
            state: InstanceState::Pending,
            fault: None,
            container_id: None,
            addresses: BTreeMap::new(),
            restarts: 0,
            exit_code: None,
            in_place_done: 0,
            since: at,
            started_at: None,
            last_health_at: None,
            history: Vec::new(),
        }
    }
}

/// One step in the life of an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    /// When.
    pub ts: WallMs,
    /// From which state.
    pub from: InstanceState,
    /// To which state.
    pub to: InstanceState,
    /// Why, when that needs saying.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
}

/// Where an instance stands. Only `running` takes new connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InstanceState {
    /// Wanted but not started.
    Pending,
    /// Its image is being fetched.
    Pulling,
    /// Its container exists but is not ready.
    Starting,
    /// Ready and serving.
    Running,
    /// Was ready, now fails its check.
    Degraded,
    /// Taken out on purpose for a stop-first replacement.
    Updating,
    /// No new connections; ends when idle or at the drain limit.
    Draining,
    /// Ended with code 0 and is not restarted.
    Completed,
    /// Will not be tried again by itself.
    Failed,
    /// Its node is down.
    Lost,
    /// Its container is gone.
    Stopped,
}

impl InstanceState {
    /// The state as it is written in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            InstanceState::Pending => "pending",
            InstanceState::Pulling => "pulling",
            InstanceState::Starting => "starting",
            InstanceState::Running => "running",
            InstanceState::Degraded => "degraded",
            InstanceState::Updating => "updating",
            InstanceState::Draining => "draining",
            InstanceState::Completed => "completed",
            InstanceState::Failed => "failed",
            InstanceState::Lost => "lost",
            InstanceState::Stopped => "stopped",
        }
    }

    /// Whether its container's process runs.
    pub const fn has_process(self) -> bool {
        match self {
            InstanceState::Starting
            | InstanceState::Running
            | InstanceState::Degraded
            | InstanceState::Updating
            | InstanceState::Draining => true,
            InstanceState::Pending
            | InstanceState::Pulling
            | InstanceState::Completed
            | InstanceState::Failed
            | InstanceState::Lost
            | InstanceState::Stopped => false,
        }
    }

    /// Whether the instance takes new connections.
    pub const fn is_ready(self) -> bool {
        matches!(self, InstanceState::Running)
    }

    /// Whether one report may lead from this state to `next`. Reports are coalesced, so states in
    /// between may be skipped; what is refused is a way back from an end.
    pub const fn may_become(self, next: InstanceState) -> bool {
        match self {
            InstanceState::Stopped => false,
            InstanceState::Completed | InstanceState::Failed => matches!(
                next,
                InstanceState::Pending
                    | InstanceState::Starting
                    | InstanceState::Running
                    | InstanceState::Draining
                    | InstanceState::Stopped
                    | InstanceState::Lost
            ),
            InstanceState::Draining => matches!(next, InstanceState::Stopped | InstanceState::Lost),
            InstanceState::Pending
            | InstanceState::Pulling
            | InstanceState::Starting
            | InstanceState::Running
            | InstanceState::Degraded
            | InstanceState::Updating
            | InstanceState::Lost => true,
        }
    }
}
