//! The cluster and its members.

use crate::entity::{Capacity, Platform};
use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Body of `POST /v1/cluster/init`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InitRequest {
    /// What people call the cluster; the node's name when left out.
    pub name: Option<String>,
}

/// Answer of `cluster init`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InitView {
    /// A UUID.
    pub cluster_id: String,
    /// What people call the cluster.
    pub name: String,
    /// The first member.
    pub node: String,
    /// All addresses of its containers and of the mesh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<Ipv4Net>,
    /// Why the pool is not the usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool_reason: Option<String>,
}

/// Body of `POST /v1/nodes/join-tokens`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinTokenRequest {
    /// How long the token is good for, in milliseconds; a day when left out.
    pub ttl_ms: Option<u64>,
}

/// Answer of `node issue-join-token`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinTokenView {
    /// `JACO1-<digest>-<secret>`; shown once.
    pub token: String,
    /// Host and port of a member's API.
    pub peer: String,
    /// The other members' APIs.
    pub alternatives: Vec<String>,
    /// When it ends, RFC 3339.
    pub expires_at: String,
    /// What to run on the new node.
    pub command: String,
    /// The cluster's root certificate.
    pub ca_pem: String,
}

/// Body of `POST /v1/cluster/join` on the node that joins.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinRequest {
    /// Host and port of a member's API.
    pub peer: String,
    /// The join token.
    pub token: String,
}

/// The token is never shown.
impl std::fmt::Debug for JoinRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JoinRequest").field("peer", &self.peer).finish_non_exhaustive()
    }
}

/// Answer of `node join` and `node rejoin`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinView {
    /// This node.
    pub hostname: String,
    /// The cluster.
    pub cluster_id: String,
}

/// Body of `POST /v1/nodes/{name}/remove`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoveNodeRequest {
    /// Do not move its replicas away first.
    #[serde(default)]
    pub force: bool,
}

/// Answer of `cluster status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterView {
    /// Whether this daemon is in a cluster.
    pub initialized: bool,
    /// The leader's hostname.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<String>,
    /// The last applied log index.
    pub raft_index: u64,
    /// Members by hostname.
    pub nodes: Vec<NodeView>,
    /// A UUID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
    /// What people call the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Raised by each recovery.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// All addresses of containers and of the mesh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// Prefix of the block of a network on a node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_prefix: Option<u8>,
    /// How much of what networks may have is given out, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool_use: Option<u64>,
    /// How many voters may fail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quorum: Option<QuorumView>,
    /// Host directories that a service may bind without the privileged gate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub free_bind_paths: Vec<String>,
}

/// The state of the quorum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuorumView {
    /// Members that vote.
    pub voters: u32,
    /// Voters that answer.
    pub healthy: u32,
    /// Healthy voters that may still fail.
    pub can_lose: u32,
}

/// One member.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeView {
    /// Hostname.
    pub hostname: String,
    /// Address; empty while there is no peer port.
    pub address: String,
    /// `joining`, `ready` or `down`.
    pub status: String,
    /// Conditions beside the status.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<String>,
    /// `false` while cordoned.
    pub schedulable: bool,
    /// `voter`, `nonvoter` or `unknown`.
    pub suffrage: String,
    /// The daemon's version.
    pub version: String,
    /// Docker Engine's version; empty while it does not answer.
    pub engine_version: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Operating system and architecture.
    pub platform: Platform,
    /// What the host has.
    pub capacity: CapacityView,
    /// What placed replicas reserve.
    pub reserved: CapacityView,
    /// Instances on the node.
    pub replicas: u32,
    /// Seconds since it was last heard by the node that answers; left out for that node itself and
    /// for one that was never heard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_contact_seconds: Option<u64>,
    /// Its part of the mesh; left out until it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wireguard: Option<MeshNodeView>,
}

/// A node's part of the mesh between the nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeshNodeView {
    /// Its address there; empty while it has none.
    pub address: String,
    /// `kernel` or `userspace`.
    pub kind: String,
    /// Bytes that the largest packet on its way to the others may have.
    pub mtu: u16,
    /// `ok`, `one_way` or `dead`: how packets get there from the node that answers, and back. Left
    /// out for that node itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// Amounts of a node in the API's units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CapacityView {
    /// Cores.
    pub cpus: f64,
    /// Memory in bytes.
    pub memory_bytes: u64,
}

impl Eq for CapacityView {}

impl From<&Capacity> for CapacityView {
    fn from(capacity: &Capacity) -> CapacityView {
        // Thousandths of a core are far below 2^52, so the conversion is exact.
        let cpus = capacity.cpu_milli as f64 / 1_000.0;
        CapacityView { cpus, memory_bytes: capacity.memory }
    }
}

/// Answer of `GET /v1/version`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionView {
    /// The version line, such as `v0.1.0`.
    pub version: String,
    /// Commit the binary was built from.
    pub commit: String,
    /// When it was built, RFC 3339.
    pub built: String,
    /// The daemon's version, when one was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_version: Option<String>,
}
