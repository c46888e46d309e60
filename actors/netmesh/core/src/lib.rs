//! The encrypted network between nodes, as one wanted value.
//!
//! Says what this node's tunnel, address and routes should be, compares it with what is there and
//! orders the difference; sends probes through the tunnel and repairs paths that carry nothing.
//! It deliberately knows no netlink and no WireGuard: orders leave as [`Effect`]s and come back as
//! [`Input`]s. The clamp of TCP segments belongs to the packet filter.

#![forbid(unsafe_code)]

mod core;
mod desired;
mod installed;
mod io;
mod key;
mod mesh;
mod plan;
mod pool;
mod prefixes;
mod probe;
mod repair;
mod settings;
mod sizes;
mod track;
mod view;

pub use crate::core::NetmeshCore;
pub use desired::desired;
pub use installed::Refused;
pub use io::{Effect, Input, MeshFault, Notice};
pub use key::{NotAKey, PublicKey};
pub use mesh::{
    Device, Installed, InstalledPeer, KEEPALIVE_SECONDS, LAST_METRIC, Mesh, Peer, ROUTE_PROTOCOL,
    Route, Sysctl,
};
pub use plan::{Change, PeerChange, plan};
pub use pool::{InUse, conflict, free_pool};
pub use prefixes::aggregated;
pub use probe::{PROBE_PORT, Probe};
pub use settings::Settings;
pub use view::{MeshView, PathCondition, PathView};
