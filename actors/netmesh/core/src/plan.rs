//! From what is installed to what is wanted, by the fewest changes.
//!
//! The order matters where a prefix moves between peers: whoever loses one loses it before another
//! gets it, so that at no moment two peers hold one address. Peers are told apart by their whole
//! public key, and one that is as wanted is not touched.

use crate::PublicKey;
use crate::mesh::{Installed, InstalledPeer, KEEPALIVE_SECONDS, Mesh, Peer, Route, Sysctl};
use crate::prefixes::common;
use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};

/// One change of the kernel or the tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Make the tunnel's interface unless it is there, with this node's key and this UDP port.
    EnsureDevice {
        /// UDP port.
        port: u16,
    },
    /// Set the largest packet, in bytes.
    SetMtu(u16),
    /// Set the interface up or down.
    SetUp(bool),
    /// Set a kernel setting to what it should be; one that does not exist is left out.
    SetSysctl(Sysctl),
    /// Give the interface an address, as /32.
    AddAddress(Ipv4Addr),
    /// Take an address from the interface.
    RemoveAddress(Ipv4Net),
    /// Add a route.
    AddRoute(Route),
    /// Remove a route.
    RemoveRoute(Route),
    /// Change a peer of the tunnel.
    Peer(PeerChange),
}

/// One change of one peer of the tunnel. All of a list are carried out together, in this order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PeerChange {
    /// Remove it; fine when it is gone.
    Remove {
        /// Which one.
        key: PublicKey,
    },
    /// Let it have these addresses and no others.
    Replace {
        /// Which one.
        key: PublicKey,
        /// All its prefixes from now on.
        allowed: BTreeSet<Ipv4Net>,
    },
    /// Let it have these addresses too.
    Allow {
        /// Which one.
        key: PublicKey,
        /// More prefixes.
        allowed: BTreeSet<Ipv4Net>,
    },
    /// Send its packets elsewhere.
    Aim {
        /// Which one.
        key: PublicKey,
        /// Where to.
        endpoint: SocketAddr,
    },
    /// Set the time between keepalives.
    Keepalive {
        /// Which one.
        key: PublicKey,
        /// Seconds.
        seconds: u16,
    },
    /// Add a peer; one of the same key is replaced.
    Add {
        /// Which one.
        key: PublicKey,
        /// Where its packets go, if known.
        endpoint: Option<SocketAddr>,
        /// All its prefixes.
        allowed: BTreeSet<Ipv4Net>,
        /// Seconds between keepalives.
        keepalive_seconds: u16,
    },
}

/// The changes that make `wanted` of `installed`; none when it is.
///
/// An interface that is missing has no addresses, routes and peers, whatever `installed` says.
pub fn plan(wanted: &Mesh, installed: &Installed) -> Vec<Change> {
    let mut changes = Vec::new();
    let empty = Installed::default();
    let has = if installed.device.is_some() { installed } else { &empty };
    // First, so that nothing leaks while the rest is made.
    let catch_all = Route::Unreachable { to: wanted.pool };
    if !installed.routes.contains(&catch_all) {
        changes.push(Change::AddRoute(catch_all));
    }
    let device = has.device;
    if device.is_none_or(|device| device.port != wanted.port) {
        changes.push(Change::EnsureDevice { port: wanted.port });
    }
    if device.is_none_or(|device| device.mtu != u32::from(wanted.mtu)) {
        changes.push(Change::SetMtu(wanted.mtu));
    }
    for sysctl in Sysctl::ALL {
        let is = installed.sysctls.get(&sysctl);
        // What does not exist beside an interface that does is not in this kernel.
        if is.map_or(device.is_none(), |value| *value != sysctl.wanted()) {
            changes.push(Change::SetSysctl(sysctl));
        }
    }
    plan_peers(wanted, has, &mut changes);
    let address = Ipv4Net::from(wanted.address);
    if !has.addresses.contains(&address) {
        changes.push(Change::AddAddress(wanted.address));
    }
    if device.is_none_or(|device| !device.is_up) {
        changes.push(Change::SetUp(true));
    }
    let into = Route::Tunnel { to: wanted.pool, source: wanted.address };
    if !has.routes.contains(&into) {
        changes.push(Change::AddRoute(into));
    }
    let others = installed.routes.iter().filter(|route| **route != into && **route != catch_all);
    let gone_with_it = |route: &Route| device.is_none() && matches!(route, Route::Tunnel { .. });
    changes.extend(others.filter(|r| !gone_with_it(r)).map(|r| Change::RemoveRoute(*r)));
    let others = has.addresses.iter().filter(|other| **other != address);
    changes.extend(others.map(|other| Change::RemoveAddress(*other)));
    changes
}

/// Strangers go, then all that is taken is taken, then all that is given is given.
fn plan_peers(wanted: &Mesh, installed: &Installed, changes: &mut Vec<Change>) {
    let strangers = installed.peers.keys().filter(|key| !wanted.peers.contains_key(*key));
    let mut peers: Vec<PeerChange> =
        strangers.map(|key| PeerChange::Remove { key: *key }).collect();
    let mut given = Vec::new();
    for (key, peer) in &wanted.peers {
        match installed.peers.get(key) {
            Some(has) => plan_peer(*key, peer, has, &mut peers, &mut given),
            None => given.push(added(*key, peer)),
        }
    }
    peers.append(&mut given);
    changes.extend(peers.into_iter().map(Change::Peer));
}

/// Adds a peer as it is wanted.
pub(crate) fn added(key: PublicKey, peer: &Peer) -> PeerChange {
    PeerChange::Add {
        key,
        endpoint: peer.endpoints.first().copied(),
        allowed: peer.allowed.clone(),
        keepalive_seconds: KEEPALIVE_SECONDS,
    }
}

fn plan_peer(
    key: PublicKey,
    wanted: &Peer,
    has: &InstalledPeer,
    taken: &mut Vec<PeerChange>,
    given: &mut Vec<PeerChange>,
) {
    let mut left = has.allowed.clone();
    let kept = common(&has.allowed, &wanted.allowed);
    let loses = !has.allowed.iter().all(|net| wanted.allowed.iter().any(|w| w.contains(net)));
    if loses {
        taken.push(PeerChange::Replace { key, allowed: kept.clone() });
        left = kept;
    }
    if left.is_subset(&wanted.allowed) {
        let more: BTreeSet<Ipv4Net> = wanted.allowed.difference(&left).copied().collect();
        if !more.is_empty() {
            given.push(PeerChange::Allow { key, allowed: more });
        }
    } else {
        // The same addresses or more, in other prefixes.
        given.push(PeerChange::Replace { key, allowed: wanted.allowed.clone() });
    }
    if has.keepalive_seconds != KEEPALIVE_SECONDS {
        given.push(PeerChange::Keepalive { key, seconds: KEEPALIVE_SECONDS });
    }
    // An endpoint that is there follows the peer's packets and is left to them.
    if let (None, Some(endpoint)) = (has.endpoint, wanted.endpoints.first()) {
        given.push(PeerChange::Aim { key, endpoint: *endpoint });
    }
}

impl PeerChange {
    /// The peer that is changed.
    pub fn key(&self) -> PublicKey {
        match self {
            PeerChange::Remove { key }
            | PeerChange::Replace { key, .. }
            | PeerChange::Allow { key, .. }
            | PeerChange::Aim { key, .. }
            | PeerChange::Keepalive { key, .. }
            | PeerChange::Add { key, .. } => *key,
        }
    }
}
