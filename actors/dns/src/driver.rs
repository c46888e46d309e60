//! The responder's thread, and how others talk to it.

use crate::counters::{Counters, Counts, UpstreamView};
use crate::forwarder::Forwarder;
use crate::shared::Shared;
use crate::upstreams::Upstreams;
use crate::{sockets, tcp, udp};
use arc_swap::ArcSwap;
use jaco_dns_core::{Effect, Input, Told, Zones, tell};
use jaco_kit::{Clock, Seeds};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::{JoinSet, LocalSet};

/// Where the responder listens and whom it asks.
#[derive(Clone, Debug)]
pub struct Config {
    /// The port on every gateway: 53.
    pub port: u16,
    /// Upstreams; empty to take those of `resolv_conf`.
    pub forwarders: Vec<SocketAddr>,
    /// The host's list of name servers, read again when it changes.
    pub resolv_conf: PathBuf,
    /// The process's clock.
    pub clock: Clock,
}

impl Config {
    /// Port 53 and the host's own name servers.
    pub fn new(clock: Clock) -> Config {
        let resolv_conf = PathBuf::from("/etc/resolv.conf");
        Config { port: 53, forwarders: Vec::new(), resolv_conf, clock }
    }
}

/// Why the responder could not start.
#[derive(Debug, thiserror::Error)]
#[error("cannot start the DNS responder")]
pub struct Error(#[from] io::Error);

/// The responder, before it runs.
#[derive(Debug)]
pub struct Driver;

/// A running responder. Cloning shares it; when the last clone goes its sockets close.
#[derive(Clone)]
pub struct DriverHandle {
    orders: mpsc::UnboundedSender<Order>,
    zones: Arc<ArcSwap<Zones>>,
    counters: Arc<Counters>,
    upstreams: Arc<ArcSwap<Vec<UpstreamView>>>,
    listening: Listening,
}

/// The gateways with open sockets.
type Listening = Arc<ArcSwap<BTreeSet<Ipv4Addr>>>;

type Deliver = Box<dyn Fn(Input) + Send>;

/// An effect for the thread.
#[derive(Debug)]
enum Order {
    Listen { op: jaco_kit_core::OpId, bridge: String, gateway: Ipv4Addr },
    Unlisten { gateway: Ipv4Addr },
}

impl Driver {
    /// Starts the thread. Inputs go to `deliver`, which must not block.
    ///
    /// # Errors
    /// When the system gives no thread, event loop or randomness.
    pub fn spawn(
        config: Config,
        deliver: impl Fn(Input) + Send + 'static,
    ) -> Result<DriverHandle, Error> {
        let (orders, inbox) = mpsc::unbounded_channel();
        let zones: Arc<ArcSwap<Zones>> = Arc::default();
        let counters = Arc::new(Counters::default());
        let upstreams: Arc<ArcSwap<Vec<UpstreamView>>> = Arc::default();
        let listening = Listening::default();
        let seed = Seeds.seed()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let parts = (zones.clone(), counters.clone(), upstreams.clone(), listening.clone());
        let thread = std::thread::Builder::new().name("dns".to_owned());
        thread.spawn(move || {
            let (zones, counters, view, listening) = parts;
            let Config { port, forwarders, resolv_conf, clock } = config;
            let forwarder = Forwarder::new(Upstreams::new(forwarders, resolv_conf, clock), view);
            let shared = Shared::new(zones, clock, counters, forwarder, seed);
            let (deliver, open) = (Box::new(deliver), BTreeMap::new());
            let hands = Hands { shared, port, deliver, open, listening };
            LocalSet::new().block_on(&runtime, hands.run(inbox));
        })?;
        Ok(DriverHandle { orders, zones, counters, upstreams, listening })
    }
}

impl DriverHandle {
    /// Carries out one order. New tables are in use at once; a `Listen` is answered by one input.
    pub fn run(&self, effect: Effect) {
        let order = match effect {
            Effect::Serve(zones) => return self.zones.store(zones),
            Effect::Listen { op, bridge, gateway } => Order::Listen { op, bridge, gateway },
            Effect::Unlisten { gateway } => Order::Unlisten { gateway },
        };
        // The thread lives as long as a handle does.
        let _ = self.orders.send(order);
    }

    /// What it did so far.
    pub fn counts(&self) -> Counts {
        self.counters.counts()
    }

    /// What a container would be told about a name now.
    pub fn tell(&self, source: Ipv4Addr, name: &str) -> Told {
        tell(&self.zones.load(), source, name)
    }

    /// The gateways on which it answers.
    pub fn listening(&self) -> Arc<BTreeSet<Ipv4Addr>> {
        self.listening.load_full()
    }

    /// The node's own upstreams, as far as they were needed yet.
    pub fn upstreams(&self) -> Arc<Vec<UpstreamView>> {
        self.upstreams.load_full()
    }
}

impl fmt::Debug for DriverHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DriverHandle").field("counts", &self.counts()).finish_non_exhaustive()
    }
}

/// Sockets of one gateway; they close when dropped.
struct Open {
    bridge: String,
    /// The interface they are bound to.
    index: u32,
    address: SocketAddr,
    tasks: JoinSet<()>,
}

struct Hands {
    shared: Rc<Shared>,
    port: u16,
    deliver: Deliver,
    open: BTreeMap<Ipv4Addr, Open>,
    listening: Listening,
}

impl Hands {
    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Order>) {
        while let Some(order) = inbox.recv().await {
            match order {
                Order::Listen { op, bridge, gateway } => {
                    let result = self.listen(&bridge, gateway).await;
                    let result = result.map_err(|error| error.to_string());
                    (self.deliver)(Input::Listening { op, result });
                }
                Order::Unlisten { gateway } => self.close(gateway).await,
            }
        }
    }

    async fn listen(&mut self, bridge: &str, gateway: Ipv4Addr) -> io::Result<()> {
        let index = sockets::interface_index(bridge);
        if let Some(open) = self.open.get(&gateway) {
            let is_same = open.bridge == bridge && index.as_ref().is_ok_and(|at| *at == open.index);
            if is_same {
                self.test();
                return Ok(());
            }
            self.close(gateway).await;
        }
        let index = index?;
        let sockets = sockets::open(bridge, gateway, self.port)?;
        let address = sockets.udp.local_addr()?;
        let mut tasks = JoinSet::new();
        tasks.spawn_local(udp::serve(self.shared.clone(), sockets.udp));
        tasks.spawn_local(tcp::serve(self.shared.clone(), sockets.tcp));
        let bridge = bridge.to_owned();
        tracing::debug!(%gateway, bridge, "answers names on a bridge");
        self.open.insert(gateway, Open { bridge, index, address, tasks });
        self.shared.forwarder.listens(address, true);
        self.show();
        self.test();
        Ok(())
    }

    /// Tests upstreams that were not tested yet.
    fn test(&self) {
        let shared = self.shared.clone();
        tokio::task::spawn_local(async move { shared.forwarder.test(&shared).await });
    }

    /// Returns when the sockets are closed, so that others can be opened in their place.
    async fn close(&mut self, gateway: Ipv4Addr) {
        if let Some(mut open) = self.open.remove(&gateway) {
            open.tasks.shutdown().await;
            self.shared.forwarder.listens(open.address, false);
            self.show();
        }
    }

    /// Shows to others where it answers.
    fn show(&self) {
        self.listening.store(Arc::new(self.open.keys().copied().collect()));
    }
}
