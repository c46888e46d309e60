//! What a node is asked to look at, and what it saw.
//!
//! Both go between members as JSON. A field of a later version is left out by an older one, and
//! what is missing says nothing: nobody is accused for an old daemon.

use jaco_model::{NodeId, WallMs};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// What one node is to look at, besides its filter, its mesh and its responder as such.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Look {
    /// Packets that its filter may let through, in this order.
    pub flows: Vec<Flow>,
    /// The node at the other end of the mesh.
    pub peer: Option<NodeId>,
    /// Bridges by the name of the interface.
    pub bridges: BTreeSet<String>,
    /// What its responder would say to whom.
    pub ask: Option<Ask>,
    /// A container by its name.
    pub container: Option<String>,
    /// What its front door does with requests for this host; empty for the sockets alone.
    pub host: Option<String>,
}

/// Packets from one address to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    /// Their source.
    pub from: Ipv4Addr,
    /// Their destination.
    pub to: Ipv4Addr,
}

/// A question of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// The container's address.
    pub source: Ipv4Addr,
    /// The name it asks for.
    pub name: String,
}

/// What one node saw.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// The log index of the state that it works by.
    pub index: u64,
    /// Nodes that it takes for dead.
    pub suspects: BTreeSet<NodeId>,
    /// Its packet filter.
    pub filter: Filter,
    /// Its part of the mesh.
    pub mesh: Mesh,
    /// Those of the bridges that are there, and up.
    pub bridges: BTreeMap<String, Bridge>,
    /// Its responder.
    pub names: Names,
    /// The container; `None` when nobody asked for one.
    pub container: Option<Container>,
    /// Its front door; `None` when nobody asked, and from a version that does not tell.
    pub door: Option<Door>,
}

/// The packet filter of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Filter {
    /// Why it is not known to work; `None` when the last self-test passed.
    pub fault: Option<String>,
    /// Why it could not be read just now.
    pub unread: Option<String>,
    /// The table as it was read just now; `None` without one.
    pub table: Option<Table>,
}

/// The table in the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Table {
    /// Rules in all chains.
    pub rules: usize,
    /// For each flow of the question, whether the pair of its blocks is among those allowed.
    pub allowed: Vec<bool>,
    /// Addresses of the flows that are fenced off.
    pub fenced: BTreeSet<Ipv4Addr>,
}

/// A node's part of the mesh.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Mesh {
    /// `kernel` or `userspace`; empty when the driver could not start.
    pub kind: String,
    /// Why it is not as wanted.
    pub fault: Option<String>,
    /// Why it could not be read just now.
    pub unread: Option<String>,
    /// Whether the interface is there and up.
    pub is_up: bool,
    /// Largest packet of the interface, in bytes.
    pub mtu: u32,
    /// Whether the pool is routed into it.
    pub has_route: bool,
    /// What probes say of the way to each other node: `ok`, `one_way` or `dead`.
    pub paths: BTreeMap<NodeId, String>,
    /// The node that was asked about, as the tunnel has it; `None` when it does not.
    pub peer: Option<Peer>,
}

/// Another node in the tunnel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Peer {
    /// Where its packets go.
    pub endpoint: Option<SocketAddr>,
    /// Seconds since the last handshake.
    pub handshake_seconds: Option<u64>,
    /// For each flow of the question, whether the tunnel carries packets to its end that is on
    /// that node.
    pub carries: Vec<bool>,
}

/// A bridge that is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Bridge {
    /// Whether it is up.
    pub is_up: bool,
    /// Largest packet, in bytes.
    pub mtu: u32,
}

/// The responder of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Names {
    /// Whether it could start.
    pub is_there: bool,
    /// Gateways on which it answers.
    pub listening: BTreeSet<Ipv4Addr>,
    /// What it would answer; `None` when nobody asked.
    pub told: Option<Told>,
}

/// The answer to a question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    /// Silence: it does not know who asks.
    Stranger,
    /// The text is no name.
    NoName,
    /// A records.
    Addresses(Vec<Ipv4Addr>),
    /// SRV records: port and target.
    Services(Vec<(u16, String)>),
    /// A name, for the name of an address.
    Pointer(String),
    /// The name exists and has no such record: NOERROR without an answer.
    Empty,
    /// NXDOMAIN.
    Missing,
    /// REFUSED.
    Refused,
    /// It asks these, in this order.
    Forward(Vec<Upstream>),
}

/// Who is asked about names of the world outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upstream {
    /// Its address.
    pub address: SocketAddr,
    /// Whether it failed the last time, or closes a circle.
    pub is_failing: bool,
}

/// A container as the engine of its node shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Container {
    /// Why the engine does not say.
    pub unread: Option<String>,
    /// `running`, `exited` and so on; `None` when there is no such container.
    pub state: Option<String>,
    /// How far the pull of its image is.
    pub pull: Option<String>,
}

/// The front door of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Door {
    /// Sockets for HTTP that are open, such as `0.0.0.0:80`.
    pub http: BTreeSet<String>,
    /// Sockets for HTTPS that are open.
    pub https: BTreeSet<String>,
    /// Sockets that could not be opened, such as `http 0.0.0.0:80`, and why.
    pub closed: BTreeMap<String, String>,
    /// Whether it knows the host.
    pub knows_host: bool,
    /// Whether it has a certificate for the host.
    pub has_certificate: bool,
    /// Whether it orders certificates when it leads; `None` from a version that does not tell.
    pub orders: Option<bool>,
    /// For each service that a route of the host leads to, `<dep>/<service>`, the replicas among
    /// which it chooses.
    pub upstreams: BTreeMap<String, usize>,
}

/// What a name of the world outside resolves to, or why it does not.
pub type Resolved = Result<BTreeSet<IpAddr>, String>;

/// What the members that were asked saw. A member that was not asked says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// By node; an error is why it did not answer.
    pub facts: BTreeMap<NodeId, Result<Facts, String>>,
    /// Nodes that the member which explains takes for dead.
    pub suspects: BTreeSet<NodeId>,
    /// What the host of the question resolves to; `None` when it was not asked.
    pub resolved: Option<Resolved>,
    /// Until when the certificate is valid that a user gave for the host, or why it cannot be
    /// read; `None` when there is none.
    pub own_certificate: Option<Result<WallMs, String>>,
    /// The time.
    pub now: WallMs,
}
