//! Networks of a deployment, how containers attach, and which ports are published.

use crate::{DeploymentName, Millis, ServiceName};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

/// One network of a deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkSpec {
    /// Neither a way out nor a way in.
    pub internal: bool,
    /// A network of another deployment, as `<deployment>/<network>` or `jaco_<d>_<n>`.
    pub external: Option<String>,
    /// User labels.
    pub labels: BTreeMap<String, String>,
    /// Prefix of its blocks; `None` takes the cluster's. Fixed by the first block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_prefix: Option<u8>,
    /// Which other deployments may join it as an external network.
    #[serde(default, skip_serializing_if = "Sharing::is_nobody")]
    pub shared: Sharing,
}

/// Who besides its owner may join a network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "with", content = "deployments")]
pub enum Sharing {
    /// Only its owner.
    #[default]
    Nobody,
    /// Every deployment of the cluster.
    Everybody,
    /// These deployments.
    Deployments(BTreeSet<DeploymentName>),
}

impl Sharing {
    /// Whether a deployment other than the owner may join.
    pub fn admits(&self, deployment: &DeploymentName) -> bool {
        match self {
            Sharing::Nobody => false,
            Sharing::Everybody => true,
            Sharing::Deployments(names) => names.contains(deployment),
        }
    }

    /// Whether only the owner is in it.
    pub fn is_nobody(&self) -> bool {
        *self == Sharing::Nobody
    }
}

/// How a container gets its network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "service")]
pub enum NetworkMode {
    /// Networks of the deployment.
    #[default]
    Networks,
    /// Only loopback.
    None,
    /// The host's own (gated).
    Host,
    /// The namespace of a replica of another service on the same node.
    Service(ServiceName),
}

/// A container on one network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkAttachment {
    /// Compose key of the network.
    pub network: String,
    /// Names besides the service's, in this network only.
    pub aliases: Vec<String>,
    /// Higher attaches first.
    pub priority: i64,
    /// Highest decides the default gateway (engine API 1.48 and later).
    pub gw_priority: i64,
    /// Interface name (engine API 1.49 and later).
    pub interface_name: Option<String>,
    /// Fixed MAC address.
    pub mac_address: Option<String>,
}

/// One entry of `ports`, one port each (ranges are expanded).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortSpec {
    /// Name for SRV records.
    pub name: Option<String>,
    /// Port in the container.
    pub target: u16,
    /// Port on the host; `None` only documents.
    pub published: Option<u16>,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Address to listen on; `None` is all.
    pub host_ip: Option<Ipv4Addr>,
    /// Balanced by every node, or published where the replica runs.
    pub mode: PortMode,
    /// What the application speaks.
    pub app_protocol: Option<String>,
    /// How every node balances the port.
    #[serde(default, skip_serializing_if = "PortOptions::is_default")]
    pub options: PortOptions,
}

/// How a published port is balanced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortOptions {
    /// Tell the service who the client is by a PROXY header.
    #[serde(default)]
    pub proxy_protocol: Option<ProxyVersion>,
    /// Most connections or sessions at once, per node.
    #[serde(default)]
    pub max_connections: Option<u32>,
    /// Longest silence; `None` is an hour for TCP, 30 s for UDP.
    #[serde(default)]
    pub idle_timeout: Option<Millis>,
    /// Which replica; `None` is a ready one of the same node first.
    #[serde(default)]
    pub lb: Option<PortPolicy>,
}

impl PortOptions {
    /// Whether nothing was written.
    pub fn is_default(&self) -> bool {
        *self == PortOptions::default()
    }
}

/// Version of the PROXY protocol (haproxy's `proxy-protocol.txt`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// Binary; the only one for UDP.
    V2,
}

/// How a replica is chosen for a connection, over the whole cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PortPolicy {
    /// The one with the fewest connections of this node.
    LeastConnections,
    /// By the client's address, consistently.
    SourceHash,
}

/// Transport protocol of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// TCP
    Tcp,
    /// UDP
    Udp,
}

/// Who listens on a published port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PortMode {
    /// Every node, balanced over ready replicas.
    Ingress,
    /// Docker, on the replica's node.
    Host,
}
