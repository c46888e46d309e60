//! Deployments and their kept revisions.

use crate::spec::DeploymentSpec;
use crate::{DeploymentName, Identity, NodeId, Revision, ServiceName, WallMs};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

use super::ImagePin;

/// One deployment; what it runs is in its current revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    /// Its name.
    pub name: DeploymentName,
    /// The revision that should run.
    pub revision: Revision,
    /// The revision before it, if kept.
    pub previous: Option<Revision>,
    /// `jaco scale` over the file's own numbers.
    pub scale: BTreeMap<ServiceName, ScaleOverride>,
    /// Set by `delete`; `Some(true)` removes the volumes as well.
    pub deleting: Option<bool>,
    /// Where and by whom it was last applied.
    pub origin: Origin,
    /// When it was last changed by a user.
    pub updated_at: WallMs,
}

/// A number of replicas set by `jaco scale`, valid while the file's own number stays the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScaleOverride {
    /// The file's number when the scale was set.
    pub file: u32,
    /// Wanted replicas.
    pub replicas: u32,
}

/// Where and by whom a deployment was applied, to notice a name used twice by mistake.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Directory of the first compose file on the client.
    pub directory: String,
    /// `user@host` on the client.
    pub user: String,
}

/// The resolved documents of a revision, as sent by the client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Documents {
    /// The compose document after merge, interpolation and env files.
    pub compose: String,
    /// The overlay after interpolation; empty without one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub jaco: String,
}

/// One kept revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevisionRecord {
    /// Its number.
    pub number: Revision,
    /// What it means. Shared: instances of this revision read their container from here.
    pub spec: Arc<DeploymentSpec>,
    /// What the user wrote.
    pub documents: Arc<Documents>,
    /// The image of each service, pinned.
    pub images: BTreeMap<ServiceName, ImagePin>,
    /// Hash of each service's container, by which replicas are compared.
    pub hashes: BTreeMap<ServiceName, String>,
    /// When it was applied.
    pub applied_at: WallMs,
    /// By whom.
    pub identity: Identity,
    /// How it ended.
    pub status: RevisionStatus,
    /// The revision whose content a rollback brought back.
    pub restored_from: Option<Revision>,
    /// What changed, in a few words.
    pub summary: String,
}

/// How a revision ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RevisionStatus {
    /// It is the one that should run.
    Active,
    /// A later one took its place.
    Superseded,
    /// Its rollout failed and was paused.
    Failed,
    /// Its rollout failed and the one before was restored.
    RolledBack,
}

impl RevisionStatus {
    /// The status as it is written in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            RevisionStatus::Active => "active",
            RevisionStatus::Superseded => "superseded",
            RevisionStatus::Failed => "failed",
            RevisionStatus::RolledBack => "rolled_back",
        }
    }
}

/// A named volume that some node holds. Outlives its deployment unless removed on purpose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// The engine's name for it.
    pub name: String,
    /// The node that holds it.
    pub node: NodeId,
    /// The deployment that made it.
    pub deployment: DeploymentName,
    /// Compose key within the deployment.
    pub key: String,
    /// Driver.
    pub driver: String,
    /// When it was first seen.
    pub created_at: WallMs,
    /// The node must remove it (`delete --volumes`).
    pub removing: bool,
}
