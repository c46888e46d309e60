//! What is shown of the mesh.

use crate::InUse;
use jaco_model::NodeId;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// How the mesh of this node is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MeshView {
    /// Largest packet of the tunnel, in bytes; `None` while there is no tunnel.
    pub mtu: Option<u16>,
    /// What the underlay alone allows, in bytes: the figure for the node's facts.
    pub path_mtu: Option<u16>,
    /// Paths to the other nodes, by node.
    pub paths: Vec<PathView>,
    /// What else on this host uses addresses of the cluster's pool: `pool_conflict`.
    pub conflict: Option<InUse>,
    /// Most paths carry nothing although the control path is fine: `dataplane_impaired`.
    pub is_impaired: bool,
    /// Why the tunnel is not as wanted; then `isolation_unavailable` with reason `mesh`, unless
    /// the node is alone.
    pub fault: Option<String>,
}

/// The path to one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathView {
    /// Which node.
    pub node: NodeId,
    /// Its address in the mesh.
    pub address: Ipv4Addr,
    /// How it is.
    pub condition: PathCondition,
    /// Where packets go.
    pub endpoint: Option<SocketAddr>,
    /// Time since the last handshake, when last looked at.
    pub handshake_age: Option<Duration>,
}

/// What probes say of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathCondition {
    /// Both directions carry packets.
    Ok,
    /// The other node is heard and does not hear this one.
    OneWay,
    /// The other node is not heard; whether it hears this one cannot be known.
    Dead,
}

impl PathCondition {
    /// The condition as it is written in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            PathCondition::Ok => "ok",
            PathCondition::OneWay => "one_way",
            PathCondition::Dead => "dead",
        }
    }
}
