//! Requests and answers of the commands that change deployments.

use crate::Fault;
use crate::entity::Origin;
use crate::spec::SecretText;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Resolved documents on their way to the server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DocumentsRequest {
    /// The deployment's name.
    pub name: String,
    /// The compose document after merge, interpolation and env files.
    pub compose: String,
    /// The overlay after interpolation; empty without one.
    #[serde(default)]
    pub jaco: String,
    /// Content of secrets that routes refer to, by name. The documents do not have it, and nothing
    /// that is shown does.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, SecretText>,
    /// Content of configs that routes refer to, by name, likewise not in the documents.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub configs: BTreeMap<String, String>,
}

/// When image references are looked up again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResolveImage {
    /// At each apply.
    #[default]
    Always,
    /// Only references that changed.
    Changed,
    /// Never; a new reference is then an error unless the engine has it.
    Never,
}

/// Body of `POST /v1/deployments`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApplyRequest {
    /// What to apply.
    pub documents: DocumentsRequest,
    /// Refuse unless this is the current revision; 0 means "does not exist yet".
    #[serde(default)]
    pub expect_revision: Option<u64>,
    /// When image references are looked up again.
    #[serde(default)]
    pub resolve_image: ResolveImage,
    /// On failure pause instead of rolling back.
    #[serde(default)]
    pub no_rollback: bool,
    /// Where it is applied.
    #[serde(default)]
    pub origin: Origin,
}

/// Body of `POST /v1/plan`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanRequest {
    /// What would be applied.
    pub documents: DocumentsRequest,
    /// Nodes to leave out, for what-if.
    #[serde(default)]
    pub without_nodes: Vec<String>,
    /// When image references are looked up again.
    #[serde(default)]
    pub resolve_image: ResolveImage,
}

/// Body of `POST /v1/deployments/{name}/rollback`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RollbackRequest {
    /// Which revision; the one before when left out.
    #[serde(default)]
    pub to: Option<u64>,
    /// Refuse unless this is the current revision.
    #[serde(default)]
    pub expect_revision: Option<u64>,
}

/// Body of `POST /v1/deployments/{name}/scale`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScaleRequest {
    /// Wanted replicas by service.
    pub services: BTreeMap<String, u32>,
}

/// Body of `POST /v1/restart`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestartRequest {
    /// `<dep>`, `<dep>/<service>` or a replica.
    pub target: String,
    /// Restart the container instead of replacing it.
    #[serde(default)]
    pub in_place: bool,
}

/// A warning with its place, in the same form as an error.
pub type Warning = Fault;

/// Answer of `apply` and `rollback`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AppliedView {
    /// The deployment.
    pub deployment: String,
    /// The revision that should run now.
    pub revision: u64,
    /// The same number under its older name.
    pub applied_revision: u64,
    /// The revision before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_revision: Option<u64>,
    /// `false` when the files equal the current revision.
    pub changed: bool,
    /// The deployment's status; the final one after a wait.
    pub status: String,
    /// What a failed rollout led to.
    pub rollback: Option<RollbackView>,
    /// The revision whose content a rollback brought back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored_revision: Option<u64>,
    /// Services with their numbers.
    pub services: Vec<ServiceProgress>,
    /// Warnings.
    pub warnings: Vec<Warning>,
    /// From the call to the answer, in seconds.
    pub duration_seconds: f64,
}

/// What a failed rollout led to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RollbackView {
    /// The revision whose content runs again.
    pub restored_revision: u64,
    /// Why.
    pub reason: RestoredReason,
}

/// Why a revision was restored.
pub type RestoredReason = Fault;

/// How far one service is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceProgress {
    /// The service.
    pub name: String,
    /// Wanted replicas.
    pub wanted: u32,
    /// Replicas of the wanted kind that are ready.
    pub running: u32,
    /// Replicas that failed.
    pub failed: u32,
    /// What the others are doing, such as `1 pulling node-1 (2/5 layers)`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub doing: Vec<String>,
}

/// What a wait waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitFor {
    /// Every service is at its wanted state and its rollout is over.
    #[default]
    Active,
    /// Every wanted replica runs.
    Running,
    /// Every wanted replica is ready.
    Healthy,
    /// Every replica ended with code 0.
    Completed,
    /// The deployment is gone.
    Deleted,
}

/// One line of `GET /v1/deployments/{name}/wait`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "progress")]
pub enum Progress {
    /// Something moved.
    Step {
        /// The deployment's status.
        status: String,
        /// How far each service is.
        services: Vec<ServiceProgress>,
    },
    /// The condition was reached.
    Reached {
        /// The deployment's status.
        status: String,
        /// The revision that runs.
        revision: u64,
        /// How far each service is.
        services: Vec<ServiceProgress>,
    },
    /// It can no longer be reached, or not in time.
    Ended {
        /// `rollout_failed`, `rolled_back`, `wait_timeout` or another code.
        error: Fault,
        /// The deployment's status.
        status: String,
        /// The revision that runs.
        revision: u64,
        /// The revision whose content was restored.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        restored_revision: Option<u64>,
        /// How far each service is.
        services: Vec<ServiceProgress>,
    },
}

/// Answer of `scale`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScaledView {
    /// The deployment.
    pub deployment: String,
    /// Services that were named.
    pub services: Vec<ScaledService>,
}

/// One service before and after a scale.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScaledService {
    /// The service.
    pub name: String,
    /// Replicas wanted before.
    pub from: u32,
    /// Replicas wanted now.
    pub to: u32,
}

/// Answer of `restart`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartedView {
    /// The deployment.
    pub deployment: String,
    /// Instances that are replaced or restarted.
    pub restarted: Vec<String>,
}

/// One line of `history`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevisionView {
    /// Its number.
    pub revision: u64,
    /// When it was applied, RFC 3339.
    pub applied_at: String,
    /// By whom.
    pub identity: String,
    /// `active`, `superseded`, `failed` or `rolled_back`.
    pub status: String,
    /// The revision whose content it brought back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored_from: Option<u64>,
    /// Image digest by service.
    pub images: BTreeMap<String, String>,
    /// What changed, in a few words.
    pub summary: String,
}

/// Answer of `plan`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PlanView {
    /// The deployment.
    pub deployment: String,
    /// The current revision; 0 when there is none.
    pub from_revision: u64,
    /// The revision an apply would make; the current one when nothing changes.
    pub to_revision: u64,
    /// One entry per replica, in order of execution.
    pub changes: Vec<ChangeView>,
    /// Volumes that would be made.
    pub volumes: Vec<String>,
    /// Replicas that would not find a place.
    pub unplaced: Vec<UnplacedView>,
    /// Warnings.
    pub warnings: Vec<Warning>,
    /// The sum over services; left out when unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_downtime_seconds: Option<f64>,
}

/// What would happen to one replica.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ChangeView {
    /// The service.
    pub service: String,
    /// The replica.
    pub replica: String,
    /// `create`, `recreate`, `move`, `keep` or `remove`.
    pub action: String,
    /// Where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Where it will be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_host: Option<String>,
    /// `start-first` or `stop-first`, for replacements.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<String>,
    /// Which step of the rollout.
    pub step: u32,
    /// Which fields changed; never their values.
    pub reasons: Vec<String>,
    /// Expected downtime of the replica; left out when unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_downtime_seconds: Option<f64>,
}

/// A replica that would not find a place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnplacedView {
    /// The replica.
    pub replica: String,
    /// Each node's reason.
    pub nodes: BTreeMap<String, String>,
}

/// Answer of `diff`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiffView {
    /// The deployment.
    pub deployment: String,
    /// The left side, such as `3`.
    pub from: String,
    /// The right side, such as `files`.
    pub to: String,
    /// Whether anything differs.
    pub differs: bool,
    /// Unified diffs of the documents.
    pub files: Vec<DiffFile>,
}

/// The diff of one document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiffFile {
    /// `compose.yaml` or `jaco.yaml`.
    pub name: String,
    /// Unified diff; empty when equal.
    pub diff: String,
}
