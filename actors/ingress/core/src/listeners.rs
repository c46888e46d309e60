//! The sockets of this node: wanted, ordered, open.

use jaco_model::NodeId;
use jaco_model::spec::Protocol;
use std::net::SocketAddr;
use std::time::Duration;

/// One listening socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListenKey {
    /// For what.
    pub kind: ListenKind,
    /// Where.
    pub address: SocketAddr,
}

/// What a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ListenKind {
    /// HTTP: redirects, plain routes, ACME challenges.
    Http,
    /// HTTPS.
    Https,
    /// A published port.
    Port(Protocol),
}

/// What this node is told about its front door.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This node.
    pub me: NodeId,
    /// Where HTTP is served; empty for a node without ingress.
    pub http: Vec<SocketAddr>,
    /// Where HTTPS is served.
    pub https: Vec<SocketAddr>,
    /// Wait before a socket that could not be opened is tried again.
    pub retry: Duration,
}
