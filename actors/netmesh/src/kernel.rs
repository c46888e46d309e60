//! WireGuard of the kernel, by generic netlink.
//!
//! `wireguard-control` asks and waits on the calling thread, so every call has one of its own.

use crate::keys::KeyPair;
use crate::tunnel::{Figures, Tunnel};
use crate::{Config, Error, links};
use jaco_netmesh_core::{InstalledPeer, PeerChange, PublicKey};
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::SystemTime;
use wireguard_control::{
    Backend, Device, DeviceUpdate, InterfaceName, Key, PeerConfigBuilder, PeerInfo,
};

/// A tunnel whose packets the kernel carries.
#[derive(Debug)]
pub(crate) struct Kernel {
    interface: String,
    data_dir: PathBuf,
    key: PublicKey,
}

impl Kernel {
    pub(crate) fn new(config: &Config, key: PublicKey) -> Kernel {
        Kernel { interface: config.interface.clone(), data_dir: config.data_dir.clone(), key }
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
            Err(Error::Io { source, .. }) => {
                matches!(source.raw_os_error(), Some(95 /* EOPNOTSUPP */))
            }
            Err(_) => false,
        }
    }

    /// The interface's device; `None` when there is none of this kind.
    async fn device(&self) -> Result<Option<Device>, Error> {
        let name = self.interface.clone();
        blocking("read the tunnel", move || {
            match Device::get(&name.parse::<InterfaceName>()?, Backend::Kernel) {
                Ok(device) => Ok(Some(device)),
                // No such interface, or one of another kind.
                Err(error) if matches!(error.raw_os_error(), Some(19 | 95)) => Ok(None),
                Err(error) => Err(error),
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
            peers: device.peers.into_iter().map(peer).collect(),
        }))
    }

    async fn ensure(&self, port: u16) -> Result<(), Error> {
        if self.device().await?.is_none() {
            // An interface of this name that is no WireGuard is in the way: that of a helper.
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
        self.update(update).await
    }

    async fn change(&self, changes: Vec<PeerChange>) -> Result<(), Error> {
        // One update each: within one a peer must not appear twice.
        for change in changes {
            let key = Key(change.key().0);
            let peer = PeerConfigBuilder::new(&key);
            let peer = match change {
                PeerChange::Remove { .. } => peer.remove(),
                PeerChange::Replace { allowed, .. } => {
                    with_nets(peer.replace_allowed_ips(), &allowed)
                }
                PeerChange::Allow { allowed, .. } => with_nets(peer, &allowed),
                PeerChange::Aim { endpoint, .. } => peer.set_endpoint(endpoint),
                PeerChange::Keepalive { seconds, .. } => {
                    peer.set_persistent_keepalive_interval(seconds)
                }
                PeerChange::Add { endpoint, allowed, keepalive_seconds, .. } => {
                    let gone = PeerConfigBuilder::new(&key).remove();
                    self.update(DeviceUpdate::new().add_peer(gone)).await?;
                    let peer = with_nets(peer.replace_allowed_ips(), &allowed)
                        .set_persistent_keepalive_interval(keepalive_seconds);
                    match endpoint {
                        Some(endpoint) => peer.set_endpoint(endpoint),
                        None => peer,
                    }
                }
            };
            self.update(DeviceUpdate::new().add_peer(peer)).await?;
        }
        Ok(())
    }

    async fn remove(&self) -> Result<(), Error> {
        links::delete(&self.interface).await
    }
}

fn with_nets(
    peer: PeerConfigBuilder,
    allowed: &std::collections::BTreeSet<ipnet::Ipv4Net>,
) -> PeerConfigBuilder {
    let add = |peer: PeerConfigBuilder, net: &ipnet::Ipv4Net| {
        peer.add_allowed_ip(IpAddr::V4(net.network()), net.prefix_len())
    };
    allowed.iter().fold(peer, add)
}

fn peer(info: PeerInfo) -> (PublicKey, InstalledPeer) {
    let allowed = info.config.allowed_ips.iter().filter_map(|allowed| match allowed.address {
        IpAddr::V4(ip) => ipnet::Ipv4Net::new(ip, allowed.cidr).ok(),
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
