//! The userspace tunnel: gotatun on a TUN interface.

use super::tun::{self, FromKernel, Gone, ToKernel};
use super::udp::Sockets;
use crate::Error;
use crate::keys::KeyPair;
use gotatun::device::{Device, DeviceBuilder, Peer};
use gotatun::x25519::PublicKey as Point;
use ipnet::Ipv4Net;
use ipnetwork::{IpNetwork, Ipv4Network};
use jaco_netmesh_core::{InstalledPeer, PeerChange, PublicKey};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

/// A tunnel that carries packets while it lives.
pub(crate) struct Tunnel {
    device: Device<(Sockets, ToKernel, FromKernel)>,
    gone: Gone,
}

impl Tunnel {
    /// Makes the interface and opens the port. The interface stays down until somebody sets it up.
    pub(crate) async fn open(interface: &str, port: u16, key: KeyPair) -> Result<Tunnel, Error> {
        let failed = |error: gotatun::device::Error| Error::Tunnel(error.to_string());
        let opened = tun::open(interface);
        let (to, from, gone) = opened.map_err(|error| Error::Tunnel(error.to_string()))?;
        let device = DeviceBuilder::new()
            .with_udp(Sockets::new())
            .with_ip_pair(to, from)
            .with_private_key(key.secret)
            .with_listen_port(port)
            .build()
            .await
            .map_err(failed)?;
        // Without a peer at its making the device opens no socket, and adding one later does not
        // either. Clearing the peers, of which there are none, does.
        device.clear_peers().await.map_err(failed)?;
        Ok(Tunnel { device, gone })
    }

    /// Listens on another port.
    pub(crate) async fn listen(&self, port: u16) -> Result<(), Error> {
        self.device.set_listen_port(port).await.map_err(|error| Error::Tunnel(error.to_string()))
    }

    /// Makes all changes while no packet passes.
    pub(crate) async fn change(&self, changes: Vec<PeerChange>) -> Result<(), Error> {
        let changed = self.device.write(async |device| {
            for change in changes {
                let key = Point::from(change.key().0);
                match change {
                    PeerChange::Remove { .. } => {
                        device.remove_peer(&key).await;
                    }
                    PeerChange::Replace { allowed, .. } => {
                        let replace = |peer: &mut gotatun::device::configure::PeerMut| {
                            peer.clear_allowed_ips();
                            peer.add_allowed_ips(networks(&allowed));
                        };
                        device.modify_peer(&key, replace).await;
                    }
                    PeerChange::Allow { allowed, .. } => {
                        device.modify_peer(&key, |p| p.add_allowed_ips(networks(&allowed))).await;
                    }
                    PeerChange::Aim { endpoint, .. } => {
                        device.modify_peer(&key, |p| p.set_endpoint(Some(endpoint))).await;
                    }
                    PeerChange::Keepalive { seconds, .. } => {
                        let seconds = Some(seconds).filter(|seconds| *seconds > 0);
                        device.modify_peer(&key, |p| p.set_keepalive(seconds)).await;
                    }
                    PeerChange::Add { endpoint, allowed, keepalive_seconds, .. } => {
                        device.remove_peer(&key).await;
                        let mut peer = Peer::new(key).with_allowed_ips(networks(&allowed));
                        peer.endpoint = endpoint;
                        peer.keepalive = Some(keepalive_seconds).filter(|seconds| *seconds > 0);
                        device.add_peer(peer);
                    }
                }
            }
        });
        changed.await.map_err(|error| Error::Tunnel(error.to_string()))
    }

    /// The port and the peers.
    pub(crate) async fn peers(&self) -> (u16, BTreeMap<PublicKey, InstalledPeer>) {
        let (port, peers) =
            self.device.read(async |device| (device.listen_port(), device.peers().await)).await;
        let told = peers.into_iter().map(|found| {
            let key = PublicKey(found.peer.public_key.to_bytes());
            let peer = InstalledPeer {
                // A dual-stack socket shows IPv4 as IPv6.
                endpoint: found
                    .peer
                    .endpoint
                    .map(|e| SocketAddr::new(e.ip().to_canonical(), e.port())),
                allowed: found.peer.allowed_ips.iter().filter_map(net).collect(),
                keepalive_seconds: found.peer.keepalive.unwrap_or(0),
                handshake_age: found.stats.last_handshake,
                received: u64::try_from(found.stats.rx_bytes).unwrap_or(u64::MAX),
                sent: u64::try_from(found.stats.tx_bytes).unwrap_or(u64::MAX),
            };
            (key, peer)
        });
        (port, told.collect())
    }

    /// Waits until the tunnel cannot go on, such as when its interface was deleted.
    pub(crate) async fn ended(&mut self) {
        tokio::select! {
            () = self.device.wait() => {}
            () = self.gone.wait() => {}
        }
    }
}

fn networks(allowed: &BTreeSet<Ipv4Net>) -> Vec<IpNetwork> {
    let network = |net: &Ipv4Net| Ipv4Network::new(net.network(), net.prefix_len()).ok();
    allowed.iter().filter_map(network).map(IpNetwork::V4).collect()
}

fn net(network: &IpNetwork) -> Option<Ipv4Net> {
    match network.ip() {
        IpAddr::V4(ip) => Ipv4Net::new(ip, network.prefix()).ok(),
        IpAddr::V6(_) => None,
    }
}
