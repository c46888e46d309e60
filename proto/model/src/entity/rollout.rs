//! A running change of one service from one revision to another.

use crate::{DeploymentName, Fault, Revision, ServiceName, WallMs};
use serde::{Deserialize, Serialize};

/// The state of one service's change; kept after it ends until the next one begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    /// The deployment.
    pub deployment: DeploymentName,
    /// The service.
    pub service: ServiceName,
    /// The revision that ran before.
    pub from: Option<Revision>,
    /// The revision wanted.
    pub to: Revision,
    /// Where it stands.
    pub state: RolloutState,
    /// Whether it restores an earlier revision, so that it pauses instead of rolling back again.
    pub is_rollback: bool,
    /// Replicas that must be replaced or created.
    pub total: u32,
    /// Replicas that are.
    pub done: u32,
    /// Replacements that failed.
    pub failures: u32,
    /// When it began.
    pub started_at: WallMs,
    /// Why it is paused or aborted.
    pub reason: Option<Fault>,
}

/// Where a rollout stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RolloutState {
    /// Steps are being taken.
    InProgress,
    /// Every replica is of the wanted revision and proved itself.
    Completed,
    /// It failed and waits for an operator or a new apply; old replicas serve.
    Paused,
    /// It failed and the revision before was restored.
    Aborted,
}

impl RolloutState {
    /// The state as it is written in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            RolloutState::InProgress => "in_progress",
            RolloutState::Completed => "completed",
            RolloutState::Paused => "paused",
            RolloutState::Aborted => "aborted",
        }
    }
}
