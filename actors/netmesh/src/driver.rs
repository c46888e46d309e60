//! Carries out the core's orders and returns their outcomes.

use crate::keys::KeyPair;
use crate::pool::is_ours;
use crate::probes::Probes;
use crate::tunnel::{AnyTunnel, Tunnel};
use crate::{Error, events, links};
use jaco_model::entity::{MeshFacts, MeshKind};
use jaco_netmesh_core::{
    Change, Device, Effect, Input, Installed, PeerChange, Probe, PublicKey, Sysctl,
};
use rtnetlink::Handle as Netlink;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

/// Where things are.
#[derive(Clone, Debug)]
pub struct Config {
    /// The daemon's data directory; the key and the helper's files are below it.
    pub data_dir: PathBuf,
    /// Name of the tunnel's interface: `wg-jaco`.
    pub interface: String,
    /// Which kind of tunnel; `None` to take the kernel's where there is one.
    pub kind: Option<MeshKind>,
    /// What starts a helper.
    pub helper: HelperCommand,
}

/// A program that ends up in [`crate::helper::run`] with the words that are added after `args`.
#[derive(Clone, Debug)]
pub struct HelperCommand {
    /// The program.
    pub program: PathBuf,
    /// Its name as the program sees it.
    pub name: Option<OsString>,
    /// Words before those of the helper.
    pub args: Vec<OsString>,
}

impl HelperCommand {
    /// The running program as `jacod mesh-helper`, also when its file has been replaced.
    pub fn own() -> HelperCommand {
        HelperCommand {
            program: PathBuf::from("/proc/self/exe"),
            name: Some("jacod".into()),
            args: vec!["mesh-helper".into()],
        }
    }
}

/// Hands an input to the core; must not block.
type Deliver = Arc<dyn Fn(Input) + Send + Sync>;

/// The mesh driver, before it runs.
#[derive(Debug)]
pub struct Driver;

/// A running driver. Cloning shares it; the last clone to go ends the watch over the kernel, while
/// the tunnel stays.
#[derive(Clone)]
pub struct DriverHandle {
    hands: Arc<Hands>,
    runtime: Handle,
    _watch: Arc<Watch>,
}

impl Driver {
    /// Reads or makes the key, chooses the kind of tunnel and starts to watch the kernel. Inputs
    /// go to `deliver`, which must not block. The tunnel itself is made when the core orders it.
    ///
    /// # Errors
    /// When the private key cannot be read or made.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn spawn(
        config: Config,
        deliver: impl Fn(Input) + Send + Sync + 'static,
    ) -> Result<DriverHandle, Error> {
        let runtime = Handle::current();
        let deliver: Deliver = Arc::new(deliver);
        let key = KeyPair::read_or_make(&config.data_dir)?.public;
        let tunnel = AnyTunnel::choose(&config, key).await;
        let changed = deliver.clone();
        let watching = events::watch(config.interface.clone(), move || {
            changed(Input::KernelChanged);
        });
        let watch = Arc::new(Watch(runtime.spawn(watching).abort_handle()));
        let hands =
            Hands { interface: config.interface, key, tunnel, probes: Mutex::new(None), deliver };
        Ok(DriverHandle { hands: Arc::new(hands), runtime, _watch: watch })
    }
}

impl Driver {
    /// Makes another private key. The driver has to be spawned again after it: it then replaces
    /// the tunnel, and the node's facts have to say the new public key.
    ///
    /// # Errors
    /// When the key cannot be written; the old one then stays.
    pub fn rotate_key(data_dir: &Path) -> Result<PublicKey, Error> {
        KeyPair::make(data_dir).map(|pair| pair.public)
    }
}

impl DriverHandle {
    /// Carries out one order. What takes time runs in the background; its outcome arrives as
    /// exactly one input.
    ///
    /// `Notify` and `Show` are not for the driver and are left alone: whoever runs the core keeps
    /// them.
    pub fn run(&self, effect: Effect) {
        let hands = self.hands.clone();
        match effect {
            Effect::SendProbe { to, probe, size } => hands.send(to, &probe, size),
            Effect::Notify(_) | Effect::Show(_) => {}
            Effect::Observe { op, towards } => {
                self.runtime.spawn(async move {
                    let result = hands.observe(&towards).await.map_err(|e| e.fault("look"));
                    (hands.deliver)(Input::Observed { op, result });
                });
            }
            Effect::Apply { op, changes } => {
                self.runtime.spawn(async move {
                    let result = hands.apply(changes).await.map_err(|e| e.fault("change"));
                    (hands.deliver)(Input::Applied { op, result });
                });
            }
            Effect::Listen { op, address } => {
                self.runtime.spawn(async move {
                    let result = hands.listen(address).await.map_err(|e| e.fault("listen"));
                    (hands.deliver)(Input::Listening { op, result });
                });
            }
        }
    }

    /// Reads what is installed, without telling the core.
    ///
    /// # Errors
    /// When the kernel or the helper does not answer.
    pub async fn look(&self) -> Result<Installed, Error> {
        self.hands.observe(&BTreeSet::new()).await
    }

    /// Which kind of tunnel this host has.
    pub fn kind(&self) -> MeshKind {
        self.hands.tunnel.kind()
    }

    /// The node's public key.
    pub fn public_key(&self) -> PublicKey {
        self.hands.key
    }

    /// What the node says of its mesh in the replicated state. `path_mtu` comes from the core's
    /// `MeshView::path_mtu`; before the first one, say nothing.
    pub fn facts(&self, port: u16, path_mtu: u16) -> MeshFacts {
        MeshFacts { public_key: self.key_text(), port, kind: self.kind(), mtu: path_mtu }
    }

    fn key_text(&self) -> String {
        self.hands.key.to_string()
    }

    /// Takes the tunnel and our routes down: for a node that was removed, after its containers
    /// have stopped, and without a core that would make them again.
    ///
    /// # Errors
    /// When the helper does not end or the interface cannot be deleted.
    pub async fn remove(&self) -> Result<(), Error> {
        *lock(&self.hands.probes) = None;
        self.hands.tunnel.remove().await?;
        let netlink = links::connect()?;
        for route in links::our_routes(&links::routes(&netlink).await?, None) {
            links::remove_route(&netlink, route, 0).await?;
        }
        Ok(())
    }
}

impl fmt::Debug for DriverHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DriverHandle")
            .field("kind", &self.kind())
            .field("key", &self.hands.key)
            .finish_non_exhaustive()
    }
}

/// Ends the watch when dropped.
struct Watch(AbortHandle);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Hands {
    interface: String,
    key: PublicKey,
    tunnel: AnyTunnel,
    probes: Mutex<Option<Probes>>,
    deliver: Deliver,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hands {
    async fn observe(&self, towards: &BTreeSet<IpAddr>) -> Result<Installed, Error> {
        let netlink = links::connect()?;
        let link = links::find(&netlink, &self.interface).await?;
        let index = link.map(|link| link.index);
        let routes = links::routes(&netlink).await?;
        let is_ours = |name: &str| name == self.interface || is_ours(name);
        let mut installed = Installed {
            routes: links::our_routes(&routes, index),
            sysctls: self.sysctls(),
            underlay_mtu: links::underlay_mtu(&netlink, towards, index).await?,
            in_use: links::in_use(&netlink, &routes, &is_ours).await?,
            ..Installed::default()
        };
        let (Some(link), Some(figures)) = (link, self.tunnel.figures().await?) else {
            return Ok(installed);
        };
        installed.addresses = links::addresses(&netlink, link.index).await?;
        installed.device = Some(Device { port: figures.port, mtu: link.mtu, is_up: link.is_up });
        installed.peers = figures.peers;
        Ok(installed)
    }

    fn sysctls(&self) -> BTreeMap<Sysctl, u32> {
        let read = |sysctl: &Sysctl| {
            let text = std::fs::read_to_string(self.sysctl_file(*sysctl)).ok()?;
            Some((*sysctl, text.trim().parse().ok()?))
        };
        Sysctl::ALL.iter().filter_map(read).collect()
    }

    fn sysctl_file(&self, sysctl: Sysctl) -> PathBuf {
        // Those of the calling thread's network namespace.
        PathBuf::from("/proc/sys").join(sysctl.path(&self.interface))
    }

    async fn apply(&self, changes: Vec<Change>) -> Result<(), Error> {
        let netlink = links::connect()?;
        let mut peers: Vec<PeerChange> = Vec::new();
        for change in changes {
            match change {
                Change::Peer(change) => peers.push(change),
                other => {
                    self.change_peers(&mut peers).await?;
                    self.change(&netlink, other).await?;
                }
            }
        }
        self.change_peers(&mut peers).await
    }

    /// Changes of peers that stand together are made together.
    async fn change_peers(&self, peers: &mut Vec<PeerChange>) -> Result<(), Error> {
        if peers.is_empty() {
            return Ok(());
        }
        tracing::debug!(count = peers.len(), "mesh peers change");
        self.tunnel.change(std::mem::take(peers)).await
    }

    async fn change(&self, netlink: &Netlink, change: Change) -> Result<(), Error> {
        tracing::debug!(?change, "mesh changes");
        let index = match &change {
            Change::EnsureDevice { port } => return self.tunnel.ensure(*port).await,
            Change::SetSysctl(sysctl) => return self.set_sysctl(*sysctl),
            _ => links::find(netlink, &self.interface).await?.map(|link| link.index),
        };
        let there = || {
            let source = std::io::Error::from(std::io::ErrorKind::NotFound);
            index.ok_or(Error::Io { what: "find the interface", source })
        };
        match change {
            Change::SetMtu(mtu) => links::set_mtu(netlink, there()?, mtu).await,
            Change::SetUp(is_up) => links::set_up(netlink, there()?, is_up).await,
            Change::AddAddress(address) => links::add_address(netlink, there()?, address).await,
            Change::RemoveAddress(net) => links::remove_address(netlink, there()?, net).await,
            Change::AddRoute(route) => links::add_route(netlink, route, index.unwrap_or(0)).await,
            Change::RemoveRoute(route) => {
                links::remove_route(netlink, route, index.unwrap_or(0)).await
            }
            Change::Peer(_) | Change::EnsureDevice { .. } | Change::SetSysctl(_) => Ok(()),
        }
    }

    fn set_sysctl(&self, sysctl: Sysctl) -> Result<(), Error> {
        match std::fs::write(self.sysctl_file(sysctl), sysctl.wanted().to_string()) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(Error::io("set a kernel setting")),
        }
    }

    async fn listen(&self, address: Ipv4Addr) -> Result<(), Error> {
        // The old socket goes first: it may hold the same address.
        *lock(&self.probes) = None;
        let deliver = self.deliver.clone();
        let heard = move |from, probe| deliver(Input::Probed { from, probe });
        let probes = Probes::open(address, heard).await?;
        *lock(&self.probes) = Some(probes);
        Ok(())
    }

    fn send(&self, to: Ipv4Addr, probe: &Probe, size: Option<u16>) {
        if let Some(probes) = lock(&self.probes).as_ref() {
            probes.send(to, probe, size);
        }
    }
}
