//! WireGuard of the kernel, by generic netlink.
//!
//! `wireguard-control` asks and waits on the calling thread, so every call has one of its own.

use crate::keys::KeyPair;
use crate::tunnel::{Figures, Tunnel};
use crate::userspace::Userspace;
use crate::{Config, Error, links};
use ipnet::Ipv4Net;
use jaco_netmesh_core::{InstalledPeer, PeerChange, PublicKey};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::SystemTime;
use wireguard_control::{
    Backend, Device, DeviceUpdate, InterfaceName, Key, PeerConfigBuilder, PeerInfo,
};

/// ENOENT: the family of WireGuard's messages is not known.
const NO_FAMILY: i32 = 2;
/// ENODEV: no such interface.
const NO_INTERFACE: i32 = 19;
/// EOPNOTSUPP: an interface of another kind, or a kind that the kernel cannot make.
const OTHER_KIND: i32 = 95;
/// Prefixes in one message. A message has 8 KiB, a prefix 28 bytes in it.
const PREFIXES: usize = 200;

/// A tunnel whose packets the kernel carries.
#[derive(Debug)]
pub(crate) struct Kernel {
    interface: String,
    data_dir: PathBuf,
    key: PublicKey,
    /// The helper that may have been here before: it holds the interface's name and the port.
    before: Userspace,
}

impl Kernel {
    pub(crate) fn new(config: &Config, key: PublicKey) -> Kernel {
        let before = Userspace::new(config, key);
        let (interface, data_dir) = (config.interface.clone(), config.data_dir.clone());
        Kernel { interface, data_dir, key, before }
    }

    /// Whether the kernel has WireGuard. Asking loads the module where there is one.
    pub(crate) async fn answers() -> bool {
        // The loopback interface is no tunnel: with the module that is the answer, without it the
        // family is not found.
        let asked = blocking("ask for WireGuard", || {
            let name: InterfaceName = "lo".parse()?;
            Device::get(&name, Backend::Kernel).map(|_| ())
        });
        match asked.await {
            Ok(()) => true,
            Err(Error::Io { source, .. }) => source.raw_os_error() == Some(OTHER_KIND),
            Err(_) => false,
        }
    }

    /// The interface's device; `None` when there is none of this kind.
    async fn device(&self) -> Result<Option<Device>, Error> {
        let name = self.interface.clone();
        blocking("read the tunnel", move || {
            match Device::get(&name.parse::<InterfaceName>()?, Backend::Kernel) {
                Ok(device) => Ok(Some(device)),
                Err(error) => match error.raw_os_error() {
                    Some(NO_FAMILY | NO_INTERFACE | OTHER_KIND) => Ok(None),
                    _ => Err(error),
                },
            }
        })
        .await
    }

    async fn update(&self, update: DeviceUpdate) -> Result<(), Error> {
        let name = self.interface.clone();
        blocking("change the tunnel", move || {
            update.apply(&name.parse::<InterfaceName>()?, Backend::Kernel)
        })
        .await
    }
}

impl Tunnel for Kernel {
    async fn figures(&self) -> Result<Option<Figures>, Error> {
        let device = self.device().await?;
        let ours = device.filter(|device| device.public_key == Some(Key(self.key.0)));
        Ok(ours.map(|device| Figures {
            port: device.listen_port.unwrap_or(0),
            peers: merged(device.peers.into_iter().map(peer)),
        }))
    }

    async fn ensure(&self, port: u16) -> Result<(), Error> {
        self.before.dismiss().await?;
        if self.device().await?.is_none() {
            // An interface of this name that is no WireGuard is in the way.
            links::delete(&self.interface).await?;
        }
        let data_dir = self.data_dir.clone();
        let secret = blocking("read the mesh key", move || {
            let pair = KeyPair::read(&data_dir).map_err(io::Error::other)?;
            Ok(Key(pair.secret.to_bytes()))
        });
        let mut update = DeviceUpdate::new().set_private_key(secret.await?).set_listen_port(port);
        if self.figures().await?.is_none() {
            update = update.replace_peers();
        }
        match self.update(update).await {
            Err(Error::Io { source, .. })
                if matches!(source.raw_os_error(), Some(NO_FAMILY | OTHER_KIND)) =>
            {
                Err(Error::Tunnel("the kernel has no WireGuard".to_owned()))
            }
            other => other,
        }
    }

    async fn change(&self, changes: Vec<PeerChange>) -> Result<(), Error> {
        // One update each: within one a peer must not appear twice.
        for peer in changes.into_iter().flat_map(updates) {
            self.update(DeviceUpdate::new().add_peer(peer)).await?;
        }
        Ok(())
    }

    async fn remove(&self) -> Result<(), Error> {
        links::delete(&self.interface).await
    }
}

/// What one change is for the kernel: several updates where it has more prefixes than fit into one.
fn updates(change: PeerChange) -> Vec<PeerConfigBuilder> {
    let key = Key(change.key().0);
    let peer = PeerConfigBuilder::new(&key);
    match change {
        PeerChange::Remove { .. } => vec![peer.remove()],
        PeerChange::Replace { allowed, .. } => with_nets(peer.replace_allowed_ips(), &allowed),
        PeerChange::Allow { allowed, .. } => with_nets(peer, &allowed),
        PeerChange::Aim { endpoint, .. } => vec![peer.set_endpoint(endpoint)],
        PeerChange::Keepalive { seconds, .. } => {
            vec![peer.set_persistent_keepalive_interval(seconds)]
        }
        PeerChange::Add { endpoint, allowed, keepalive_seconds, .. } => {
            let gone = PeerConfigBuilder::new(&key).remove();
            let peer =
                peer.replace_allowed_ips().set_persistent_keepalive_interval(keepalive_seconds);
            let peer = match endpoint {
                Some(endpoint) => peer.set_endpoint(endpoint),
                None => peer,
            };
            std::iter::once(gone).chain(with_nets(peer, &allowed)).collect()
        }
    }
}

/// The first update with as many prefixes as fit, and more updates that add the rest.
fn with_nets(first: PeerConfigBuilder, allowed: &BTreeSet<Ipv4Net>) -> Vec<PeerConfigBuilder> {
    let key = Key(first.public_key().0);
    let nets: Vec<&Ipv4Net> = allowed.iter().collect();
    let mut first = Some(first);
    // Without any prefix there is still what the first update says besides.
    let parts = if nets.is_empty() { vec![&nets[..]] } else { nets.chunks(PREFIXES).collect() };
    let update = |part: &[&Ipv4Net]| {
        let peer = first.take().unwrap_or_else(|| PeerConfigBuilder::new(&key));
        part.iter().fold(peer, |peer, net| {
            peer.add_allowed_ip(IpAddr::V4(net.network()), net.prefix_len())
        })
    };
    parts.into_iter().map(update).collect()
}

/// A peer with many prefixes is told in parts, of which only the first has more than prefixes.
fn merged(
    parts: impl Iterator<Item = (PublicKey, InstalledPeer)>,
) -> BTreeMap<PublicKey, InstalledPeer> {
    let mut peers: BTreeMap<PublicKey, InstalledPeer> = BTreeMap::new();
    for (key, part) in parts {
        match peers.get_mut(&key) {
            Some(peer) => peer.allowed.extend(part.allowed),
            None => {
                peers.insert(key, part);
            }
        }
    }
    peers
}

fn peer(info: PeerInfo) -> (PublicKey, InstalledPeer) {
    let allowed = info.config.allowed_ips.iter().filter_map(|allowed| match allowed.address {
        IpAddr::V4(ip) => Ipv4Net::new(ip, allowed.cidr).ok(),
        IpAddr::V6(_) => None,
    });
    let peer = InstalledPeer {
        endpoint: info.config.endpoint,
        allowed: allowed.collect(),
        keepalive_seconds: info.config.persistent_keepalive_interval.unwrap_or(0),
        // The kernel says when, by its clock on the wall.
        handshake_age: info.stats.last_handshake_time.map(age),
        received: info.stats.rx_bytes,
        sent: info.stats.tx_bytes,
    };
    (PublicKey(info.config.public_key.0), peer)
}

fn age(at: SystemTime) -> std::time::Duration {
    at.elapsed().unwrap_or_default()
}

/// Runs `ask` on a thread of its own.
async fn blocking<T: Send + 'static>(
    what: &'static str,
    ask: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Error> {
    let joined = tokio::task::spawn_blocking(ask).await;
    joined.map_err(|error| Error::io(what)(io::Error::other(error)))?.map_err(Error::io(what))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nets(range: std::ops::Range<u32>) -> BTreeSet<Ipv4Net> {
        let net = |at: u32| Ipv4Net::new((0x0a51_0000 + at * 128).into(), 26).unwrap();
        range.map(net).collect()
    }

    #[test]
    fn a_peer_in_parts_is_one_peer() {
        let key = PublicKey([1; 32]);
        let first = InstalledPeer {
            endpoint: Some("192.0.2.1:51820".parse().unwrap()),
            allowed: nets(0..3),
            keepalive_seconds: 25,
            received: 7,
            ..InstalledPeer::default()
        };
        let rest = InstalledPeer { allowed: nets(3..5), ..InstalledPeer::default() };
        let other = (PublicKey([2; 32]), InstalledPeer::default());
        let peers = merged([(key, first.clone()), (key, rest), other].into_iter());
        assert_eq!(peers.len(), 2);
        assert_eq!(peers[&key], InstalledPeer { allowed: nets(0..5), ..first });
    }

    #[test]
    fn more_prefixes_than_a_message_holds_come_in_parts() {
        let key = PublicKey([1; 32]);
        let count =
            |prefixes: u32| updates(PeerChange::Replace { key, allowed: nets(0..prefixes) }).len();
        assert_eq!([0, 1, 200, 201, 401].map(count), [1, 1, 1, 2, 3]);
        let add =
            PeerChange::Add { key, endpoint: None, allowed: nets(0..201), keepalive_seconds: 25 };
        // What was there under this key goes first.
        assert_eq!(updates(add).len(), 3);
    }
}
