//! The two kinds of tunnel behind one trait, and which one this host gets.

use crate::kernel::Kernel;
use crate::userspace::Userspace;
use crate::{Config, Error};
use jaco_model::entity::MeshKind;
use jaco_netmesh_core::{InstalledPeer, PeerChange, PublicKey};
use std::collections::BTreeMap;
use std::future::Future;

/// What a tunnel has.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    /// UDP port it listens on.
    pub(crate) port: u16,
    /// Its peers.
    pub(crate) peers: BTreeMap<PublicKey, InstalledPeer>,
}

/// A WireGuard interface of this node's key.
pub(crate) trait Tunnel {
    /// What it has; `None` when the interface is missing, of another kind, or of another key.
    fn figures(&self) -> impl Future<Output = Result<Option<Figures>, Error>> + Send;

    /// Makes it unless it is there, listening on this port.
    fn ensure(&self, port: u16) -> impl Future<Output = Result<(), Error>> + Send;

    /// Changes peers, in this order.
    fn change(&self, changes: Vec<PeerChange>) -> impl Future<Output = Result<(), Error>> + Send;

    /// Removes it; fine when it is gone.
    fn remove(&self) -> impl Future<Output = Result<(), Error>> + Send;
}

/// The tunnel of this host.
#[derive(Debug)]
pub(crate) enum AnyTunnel {
    Kernel(Box<Kernel>),
    Userspace(Box<Userspace>),
}

impl AnyTunnel {
    /// The kernel's where its module answers, else the helper's.
    pub(crate) async fn choose(config: &Config, key: PublicKey) -> AnyTunnel {
        let wants_kernel = match config.kind {
            Some(kind) => kind == MeshKind::Kernel,
            None => Kernel::answers().await,
        };
        if wants_kernel {
            AnyTunnel::Kernel(Box::new(Kernel::new(config, key)))
        } else {
            AnyTunnel::Userspace(Box::new(Userspace::new(config, key)))
        }
    }

    /// Which kind it is.
    pub(crate) fn kind(&self) -> MeshKind {
        match self {
            AnyTunnel::Kernel(_) => MeshKind::Kernel,
            AnyTunnel::Userspace(_) => MeshKind::Userspace,
        }
    }
}

impl Tunnel for AnyTunnel {
    async fn figures(&self) -> Result<Option<Figures>, Error> {
        match self {
            AnyTunnel::Kernel(tunnel) => tunnel.figures().await,
            AnyTunnel::Userspace(tunnel) => tunnel.figures().await,
        }
    }

    async fn ensure(&self, port: u16) -> Result<(), Error> {
        match self {
            AnyTunnel::Kernel(tunnel) => tunnel.ensure(port).await,
            AnyTunnel::Userspace(tunnel) => tunnel.ensure(port).await,
        }
    }

    async fn change(&self, changes: Vec<PeerChange>) -> Result<(), Error> {
        match self {
            AnyTunnel::Kernel(tunnel) => tunnel.change(changes).await,
            AnyTunnel::Userspace(tunnel) => tunnel.change(changes).await,
        }
    }

    async fn remove(&self) -> Result<(), Error> {
        match self {
            AnyTunnel::Kernel(tunnel) => tunnel.remove().await,
            AnyTunnel::Userspace(tunnel) => tunnel.remove().await,
        }
    }
}
