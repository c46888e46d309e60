//! A kernel and a tunnel that do what changes say, and complain where the real ones would.

use ipnet::Ipv4Net;
use jaco_model::NodeId;
use jaco_netmesh_core::{
    Change, Device, Installed, InstalledPeer, Mesh, Peer, PeerChange, PublicKey, Route, Sysctl,
};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};

pub(crate) fn key(number: u8) -> PublicKey {
    PublicKey([number; 32])
}

pub(crate) fn net(text: &str) -> Ipv4Net {
    text.parse().unwrap()
}

pub(crate) fn endpoint(number: u8) -> SocketAddr {
    SocketAddr::from(([192, 168, 1, number], 51820))
}

pub(crate) fn peer(number: u8, blocks: &[&str]) -> (PublicKey, Peer) {
    let address = Ipv4Addr::new(10, 80, 0, number);
    let nets = std::iter::once(Ipv4Net::from(address)).chain(blocks.iter().map(|text| net(text)));
    let peer = Peer {
        node: NodeId::new(format!("n{number}")),
        address,
        endpoints: vec![endpoint(number)],
        allowed: jaco_netmesh_core::aggregated(nets),
    };
    (key(number), peer)
}

pub(crate) fn mesh(peers: impl IntoIterator<Item = (PublicKey, Peer)>) -> Mesh {
    Mesh {
        address: Ipv4Addr::new(10, 80, 0, 1),
        pool: net("10.80.0.0/12"),
        port: 51820,
        mtu: 1420,
        peers: peers.into_iter().collect(),
    }
}

/// Carries out changes one by one.
#[derive(Debug, Default)]
pub(crate) struct Kernel {
    pub(crate) has: Installed,
}

impl Kernel {
    pub(crate) fn apply(&mut self, changes: &[Change]) {
        for change in changes {
            self.change(change);
            self.check();
        }
    }

    fn change(&mut self, change: &Change) {
        match change {
            Change::EnsureDevice { port } => {
                let is_new = self.has.device.is_none();
                let fresh = Device { port: *port, mtu: 1500, is_up: false };
                self.has.device.get_or_insert(fresh).port = *port;
                if is_new {
                    self.has.peers.clear();
                    self.has.addresses.clear();
                    self.has.routes.retain(|route| matches!(route, Route::Unreachable { .. }));
                    self.has.sysctls.extend(Sysctl::ALL.map(|sysctl| (sysctl, 9)));
                }
            }
            Change::SetMtu(mtu) => self.device().mtu = u32::from(*mtu),
            Change::SetUp(is_up) => {
                self.device().is_up = *is_up;
                if !is_up {
                    self.has.routes.retain(|route| matches!(route, Route::Unreachable { .. }));
                }
            }
            Change::SetSysctl(sysctl) => {
                self.has.sysctls.insert(*sysctl, sysctl.wanted());
            }
            Change::AddAddress(address) => {
                self.device();
                self.has.addresses.insert(Ipv4Net::from(*address));
            }
            Change::RemoveAddress(net) => assert!(self.has.addresses.remove(net)),
            Change::AddRoute(route) => {
                if let Route::Tunnel { to, source } = route {
                    assert!(self.device().is_up, "a route needs its interface up");
                    let is_ours = self.has.addresses.contains(&Ipv4Net::from(*source));
                    assert!(is_ours, "a source must be an address of the host");
                    let other = |r: &Route| !matches!(r, Route::Tunnel { to: t, .. } if t == to);
                    self.has.routes.retain(other);
                }
                self.has.routes.insert(*route);
            }
            Change::RemoveRoute(route) => {
                self.has.routes.remove(route);
            }
            Change::Peer(change) => self.change_peer(change),
        }
    }

    fn device(&mut self) -> &mut Device {
        self.has.device.as_mut().expect("the interface is there")
    }

    fn change_peer(&mut self, change: &PeerChange) {
        self.device();
        let peers = &mut self.has.peers;
        match change {
            PeerChange::Remove { key } => {
                peers.remove(key);
            }
            PeerChange::Replace { key, allowed } => {
                peers.get_mut(key).unwrap().allowed.clone_from(allowed);
            }
            PeerChange::Allow { key, allowed } => {
                peers.get_mut(key).unwrap().allowed.extend(allowed);
            }
            PeerChange::Aim { key, endpoint } => {
                peers.get_mut(key).unwrap().endpoint = Some(*endpoint);
            }
            PeerChange::Keepalive { key, seconds } => {
                peers.get_mut(key).unwrap().keepalive_seconds = *seconds;
            }
            PeerChange::Add { key, endpoint, allowed, keepalive_seconds } => {
                let peer = InstalledPeer {
                    endpoint: *endpoint,
                    allowed: allowed.clone(),
                    keepalive_seconds: *keepalive_seconds,
                    ..InstalledPeer::default()
                };
                peers.insert(*key, peer);
            }
        }
    }

    /// No two peers hold one address.
    fn check(&self) {
        let mut holders: BTreeMap<Ipv4Net, PublicKey> = BTreeMap::new();
        for (key, peer) in &self.has.peers {
            for net in &peer.allowed {
                for (other, holder) in &holders {
                    let apart = !other.contains(net) && !net.contains(other);
                    assert!(
                        apart || holder == key,
                        "{net} of {key} is also in {other} of {holder}"
                    );
                }
                holders.insert(*net, *key);
            }
        }
    }
}

/// Whether what is installed is what is wanted.
pub(crate) fn is_as_wanted(wanted: &Mesh, has: &Installed) -> bool {
    let device = Device { port: wanted.port, mtu: u32::from(wanted.mtu), is_up: true };
    let tunnel = Route::Tunnel { to: wanted.pool, source: wanted.address };
    let catch_all = Route::Unreachable { to: wanted.pool };
    let allowed = |mesh: &Mesh| -> BTreeMap<PublicKey, BTreeSet<Ipv4Net>> {
        mesh.peers.iter().map(|(key, peer)| (*key, peer.allowed.clone())).collect()
    };
    let installed: BTreeMap<_, _> =
        has.peers.iter().map(|(key, peer)| (*key, peer.allowed.clone())).collect();
    has.device == Some(device)
        && has.addresses == BTreeSet::from([Ipv4Net::from(wanted.address)])
        && has.routes == BTreeSet::from([tunnel, catch_all])
        && has.sysctls.iter().all(|(sysctl, value)| *value == sysctl.wanted())
        && installed == allowed(wanted)
}
