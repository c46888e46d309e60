//! The cluster itself and its members.

use super::{Ipam, MeshFacts};
use crate::spec::{Constraint, ConstraintKey};
use crate::{ClusterId, Identity, NodeId, NodeName, WallMs};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// Facts of the whole cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterMeta {
    /// Made once by `cluster init`.
    pub cluster_id: ClusterId,
    /// What people call it.
    pub name: String,
    /// Raised by each recovery from lost quorum.
    pub epoch: u64,
    /// When `cluster init` ran.
    pub created_at: WallMs,
    /// The newest state format that every member can read.
    pub feature_level: u32,
    /// Key of the spec hashes, 64 hex digits.
    pub hash_key: String,
    /// The latest stamp of any command; never decreases.
    pub cluster_time: WallMs,
    /// Revisions kept per deployment.
    pub history_limit: u32,
    /// What members' certificates chain to; `None` in a cluster that was begun before members
    /// could join, until its first node has made one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust: Option<Trust>,
    /// The address plan; `None` in a cluster that was begun before there was one, until its leader
    /// has laid it down. Until then nothing is given out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipam: Option<Ipam>,
}

/// The cluster's own certificate authority.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trust {
    /// The root certificate, PEM.
    pub certificate: String,
    /// Its private key, PEM. Every member holds it, so that any leader can admit a node.
    pub key: String,
}

/// The key is never shown.
impl std::fmt::Debug for Trust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trust").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

/// A raft id or node that was a member once. Kept for the life of the cluster: neither is used
/// again, and nothing such a member says is believed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    /// Its raft id.
    pub raft_id: u64,
    /// The node.
    pub node: NodeId,
    /// Its hostname then.
    pub name: NodeName,
    /// When it was removed.
    pub removed_at: WallMs,
    /// Whether the node joined again under another raft id.
    pub rejoined: bool,
    /// Its address in the mesh, which nobody else gets for a day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh_address: Option<Ipv4Addr>,
}

/// A right to join, once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinToken {
    /// SHA-256 of the secret, as hex; the secret itself is nowhere but with its user.
    pub secret_hash: String,
    /// When it was issued.
    pub issued_at: WallMs,
    /// When it ends, in cluster time.
    pub expires_at: WallMs,
    /// Who issued it.
    pub issuer: Identity,
    /// Who used it.
    pub used: Option<JoinTokenUse>,
}

/// How a join token was used. Kept for a while, so that a joiner whose answer was lost may ask
/// again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinTokenUse {
    /// When.
    pub at: WallMs,
    /// SHA-256 of the joiner's public key, as hex.
    pub key_digest: String,
    /// The member it made.
    pub node: NodeId,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Identity; survives a change of address, never of data directory.
    pub id: NodeId,
    /// Hostname, unique among members.
    pub name: NodeName,
    /// Id in the raft group; never used again.
    pub raft_id: u64,
    /// Whether it may take work.
    pub status: NodeStatus,
    /// `false` while cordoned.
    pub schedulable: bool,
    /// Whether it counts in raft votes.
    pub voter: bool,
    /// Operator labels over configured ones.
    pub labels: BTreeMap<String, String>,
    /// What the node says about itself.
    pub facts: NodeFacts,
    /// When it became a member.
    pub joined_at: WallMs,
    /// Serials of the certificates it may show, newest last; hex in lower case.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub serials: Vec<String>,
    /// Raised each time the leader finds it down.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub liveness_epoch: u64,
    /// Set by `node remove`: its replicas move away, then it leaves the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaving: Option<Leaving>,
    /// Its address in the mesh; the state gives it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh_address: Option<Ipv4Addr>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// How a member leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Leaving {
    /// Its replicas are replaced elsewhere first.
    Drain,
    /// At once, whatever runs there.
    Force,
}

impl Node {
    /// Certificates a node may show: the one in use and the one that replaces it.
    pub const SERIALS_KEPT: usize = 2;

    /// A label: the operator's, else the configured one, else the empty text.
    pub fn label(&self, key: &str) -> &str {
        self.labels.get(key).or_else(|| self.facts.labels.get(key)).map_or("", String::as_str)
    }

    /// Whether a constraint holds here.
    pub fn satisfies(&self, constraint: &Constraint) -> bool {
        let fact = match &constraint.key {
            ConstraintKey::Hostname => self.name.as_str(),
            ConstraintKey::Id => self.id.as_str(),
            ConstraintKey::Role if self.voter => "manager",
            ConstraintKey::Role => "worker",
            ConstraintKey::Os => &self.facts.platform.os,
            ConstraintKey::Arch => &self.facts.platform.arch,
            ConstraintKey::Label(key) => self.label(key),
        };
        (fact == constraint.value) == constraint.equal
    }
}

/// What a node says about itself; it alone writes this.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeFacts {
    /// Host and port where its peers reach it; empty while there is no peer port.
    pub address: String,
    /// Host and port of its API; empty while there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub api_address: String,
    /// Version of the daemon.
    pub version: String,
    /// Docker Engine's version; empty while the engine does not answer.
    pub engine_version: String,
    /// Docker Engine's API version; empty while the engine does not answer.
    pub engine_api: String,
    /// Operating system and architecture in Docker's words.
    pub platform: Platform,
    /// What the host has.
    pub capacity: Capacity,
    /// Kept back from placement.
    pub reserved: Capacity,
    /// Volume drivers of the engine.
    pub volume_drivers: Vec<String>,
    /// OCI runtimes of the engine.
    pub runtimes: Vec<String>,
    /// Labels from the node's own configuration.
    pub labels: BTreeMap<String, String>,
    /// Conditions beside the status, such as `engine_unavailable` or `disk_pressure`.
    pub conditions: Vec<String>,
    /// How it takes part in the mesh; `None` while it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh: Option<MeshFacts>,
}

/// Operating system and architecture in Docker's words, such as `linux` and `amd64`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// Operating system.
    pub os: String,
    /// Architecture.
    pub arch: String,
}

/// Amounts that reservations are counted against.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capacity {
    /// CPU in thousandths of a core.
    pub cpu_milli: u64,
    /// Memory in bytes.
    pub memory: u64,
    /// Generic resources by kind.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub generic: BTreeMap<String, u64>,
}

/// Whether a member may take work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeStatus {
    /// A member that is not ready yet.
    Joining,
    /// May take work.
    Ready,
    /// Confirmed down.
    Down,
}

impl NodeStatus {
    /// The status as it is written in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            NodeStatus::Joining => "joining",
            NodeStatus::Ready => "ready",
            NodeStatus::Down => "down",
        }
    }
}
