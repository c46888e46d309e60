//! Meshes and a kernel to hold them, which complains where a real one would.

use ipnet::Ipv4Net;
use jaco_model::NodeId;
use jaco_netmesh_core::{Change, Device, Installed, Mesh, Peer, PublicKey, Route};
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
            let applied = self.has.apply(change);
            assert_eq!(applied, Ok(()), "{change:?} of {changes:?}");
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
