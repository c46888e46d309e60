//! What this node's part of the mesh should be, and what it is found to be.

use crate::{InUse, PublicKey};
use ipnet::Ipv4Net;
use jaco_model::NodeId;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Everything wanted of the mesh on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mesh {
    /// This node's address in the mesh.
    pub address: Ipv4Addr,
    /// All addresses of containers and of the mesh: what is routed into the tunnel.
    pub pool: Ipv4Net,
    /// UDP port of the tunnel.
    pub port: u16,
    /// Largest packet of the tunnel, in bytes.
    pub mtu: u16,
    /// The other nodes. No two of them have an address in common.
    pub peers: BTreeMap<PublicKey, Peer>,
}

/// Another node, as wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Which one.
    pub node: NodeId,
    /// Its address in the mesh.
    pub address: Ipv4Addr,
    /// Where it may be reached, best first.
    pub endpoints: Vec<SocketAddr>,
    /// What it may send and is sent: its mesh address and its blocks, in the fewest prefixes.
    pub allowed: BTreeSet<Ipv4Net>,
}

/// Seconds between packets that keep a path through an address translation open (WireGuard,
/// "persistent keepalive").
pub const KEEPALIVE_SECONDS: u16 = 25;

/// Mark of our routes in the kernel's tables (`rtm_protocol`).
pub const ROUTE_PROTOCOL: u8 = 201;

/// Metric of the route that catches what the tunnel does not take: nearly the highest there is.
pub const LAST_METRIC: u32 = 4_294_967_294;

/// What a node has, read from the kernel and the tunnel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Installed {
    /// The tunnel's interface; `None` when it is missing or not a tunnel of this node's key.
    pub device: Option<Device>,
    /// IPv4 addresses of the interface.
    pub addresses: BTreeSet<Ipv4Net>,
    /// Routes with our mark.
    pub routes: BTreeSet<Route>,
    /// Kernel settings that exist.
    pub sysctls: BTreeMap<Sysctl, u32>,
    /// Peers of the tunnel.
    pub peers: BTreeMap<PublicKey, InstalledPeer>,
    /// Smallest MTU, in bytes, on the way to any peer; `None` when no way is known.
    pub underlay_mtu: Option<u32>,
    /// What else on the host uses addresses.
    pub in_use: BTreeSet<InUse>,
}

/// The tunnel's interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// UDP port it listens on.
    pub port: u16,
    /// Largest packet, in bytes.
    pub mtu: u32,
    /// Whether it is up.
    pub is_up: bool,
}

/// A peer that the tunnel has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstalledPeer {
    /// Where its packets go; follows the packets that come from it.
    pub endpoint: Option<SocketAddr>,
    /// What it may send and is sent.
    pub allowed: BTreeSet<Ipv4Net>,
    /// Seconds between keepalives; 0 for none.
    pub keepalive_seconds: u16,
    /// Time since the last handshake; `None` without any.
    pub handshake_age: Option<Duration>,
    /// Bytes received.
    pub received: u64,
    /// Bytes sent.
    pub sent: u64,
}

/// A route with our mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Route {
    /// Into the tunnel.
    Tunnel {
        /// Destinations.
        to: Ipv4Net,
        /// Source address of packets of this host.
        source: Ipv4Addr,
    },
    /// Nowhere: the sender gets an error instead of a packet leaving in clear text.
    Unreachable {
        /// Destinations.
        to: Ipv4Net,
    },
}

/// A setting of the kernel that the mesh needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sysctl {
    /// Packets are passed on between interfaces.
    IpForward,
    /// A source must be reachable, but by any interface.
    ReversePath,
    /// No advice about shorter ways.
    SendRedirects,
    /// No IPv6 on the tunnel.
    DisableIpv6,
}

impl Sysctl {
    /// All of them.
    pub const ALL: [Sysctl; 4] =
        [Sysctl::IpForward, Sysctl::ReversePath, Sysctl::SendRedirects, Sysctl::DisableIpv6];

    /// The value it should have.
    pub fn wanted(self) -> u32 {
        match self {
            Sysctl::IpForward | Sysctl::DisableIpv6 => 1,
            Sysctl::ReversePath => 2,
            Sysctl::SendRedirects => 0,
        }
    }

    /// Its file below `/proc/sys`, for an interface of this name.
    pub fn path(self, interface: &str) -> String {
        match self {
            Sysctl::IpForward => "net/ipv4/ip_forward".to_owned(),
            Sysctl::ReversePath => format!("net/ipv4/conf/{interface}/rp_filter"),
            Sysctl::SendRedirects => format!("net/ipv4/conf/{interface}/send_redirects"),
            Sysctl::DisableIpv6 => format!("net/ipv6/conf/{interface}/disable_ipv6"),
        }
    }
}
