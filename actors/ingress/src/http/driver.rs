//! The proxy's threads, and how others talk to them.

use super::access::Access;
use super::auth::Passwords;
use super::certificates::Certificates;
use super::counters::{Counters, Counts, Rejections, count};
use super::crowd::{self, Crowd};
use super::loads::Loads;
use super::meter::Requests;
use super::reading::Meters;
use super::secure::Secure;
use super::tickets::Tickets;
use super::worker::{self, Order};
use crate::socket_fault;
use arc_swap::ArcSwap;
use ipnet::IpNet;
use jaco_ingress_core::{Effect, Input, ListenKey, ListenKind, Site, Table};
use jaco_kit::{Clock, Seeds};
use jaco_model::spec::AccessLog;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// What the proxy is told once.
#[derive(Clone, Debug)]
pub struct Config {
    /// Threads, at least one.
    pub workers: usize,
    /// The process's clock.
    pub clock: Clock,
    /// Hosts under which load balancers ask for the health of this node, lower case.
    pub names: Vec<String>,
    /// Whose word about the client's address is taken.
    pub trusted_proxies: Vec<IpNet>,
    /// Who must say by a PROXY header who asks.
    pub proxy_protocol: Vec<IpNet>,
    /// Which requests are logged when the route does not say.
    pub access_log: AccessLog,
    /// A file for them; without one they go to the daemon's log.
    pub access_log_file: Option<PathBuf>,
    /// Wait for a request's header once it has begun, and for the first one.
    pub header_timeout: Duration,
    /// Keys the cookies that keep clients at their replicas; the same on all nodes.
    pub cookie_key: [u8; 32],
    /// Life of a connection without a request.
    pub idle_timeout: Duration,
    /// Life of a connection whose client takes nothing of what is sent.
    pub stalled: Duration,
    /// Connections at a time.
    pub connections: crowd::Limits,
    /// Requests of one connection; after the last it is closed.
    pub requests_per_connection: u64,
    /// Time for which a body may come as slowly as it likes; then it needs 240 bytes a second.
    pub slow_body: Duration,
    /// How long a replica may leave a client unanswered that waits for 100; then its body is read.
    pub replica_thinks: Duration,
    /// Who may vouch for replicas whose certificates are checked; `None` for those that the host
    /// trusts.
    pub upstream_roots: Option<rustls::RootCertStore>,
}

impl Config {
    /// The defaults of a node.
    pub fn new(clock: Clock) -> Config {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Config {
            workers: cores.min(4),
            clock,
            names: Vec::new(),
            trusted_proxies: Vec::new(),
            proxy_protocol: Vec::new(),
            access_log: AccessLog::Errors,
            access_log_file: None,
            cookie_key: [0; 32],
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            stalled: Duration::from_secs(60),
            connections: crowd::Limits::default(),
            requests_per_connection: 10_000,
            slow_body: Duration::from_secs(10),
            replica_thinks: Duration::from_secs(1),
            upstream_roots: None,
        }
    }
}

/// Why the proxy could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system gives no thread, event loop or randomness.
    #[error("cannot start the proxy")]
    System(#[from] io::Error),
    /// The TLS library refuses the settings.
    #[error("cannot set TLS up")]
    Tls(#[from] rustls::Error),
}

/// What load balancers in front are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Health {
    /// Nothing was served yet.
    Starting,
    /// Serves.
    Ready,
    /// About to end.
    Draining,
}

/// How near the end is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Phase {
    /// Not in sight.
    Serving,
    /// Everything is served, and everybody is asked to go.
    Draining,
    /// Nothing new is accepted; what runs has so long.
    Stopping(Duration),
}

impl Phase {
    /// Returns when nothing new is accepted any more.
    pub(super) async fn stopping(mut phase: watch::Receiver<Phase>) {
        // Without a handle that could say more it is the end as well.
        let _ = phase.wait_for(|phase| matches!(phase, Phase::Stopping(_))).await;
    }

    /// Returns when clients are to go.
    pub(super) async fn draining(mut phase: watch::Receiver<Phase>) {
        let _ = phase.wait_for(|phase| !matches!(phase, Phase::Serving)).await;
    }
}

/// What all workers share.
pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) table: ArcSwap<Table>,
    pub(super) certificates: Arc<Certificates>,
    pub(super) tickets: Arc<Tickets>,
    pub(super) counters: Counters,
    /// Requests for what has no route.
    pub(super) strangers: Requests,
    pub(super) rejections: Rejections,
    pub(super) access: Access,
    pub(super) loads: Loads,
    pub(super) passwords: Passwords,
    pub(super) crowd: Arc<Crowd>,
    pub(super) secure: Secure,
    health: AtomicU8,
}

impl Shared {
    pub(super) fn health(&self) -> Health {
        match self.health.load(Ordering::Relaxed) {
            0 => Health::Starting,
            1 => Health::Ready,
            _ => Health::Draining,
        }
    }

    fn set_health(&self, health: Health) {
        self.health.store(health as u8, Ordering::Relaxed);
    }
}

/// The proxy, before it runs.
#[derive(Debug)]
pub struct Driver;

/// A running proxy. Cloning shares it; when the last clone goes its sockets close.
#[derive(Clone)]
pub struct DriverHandle {
    shared: Arc<Shared>,
    workers: Vec<mpsc::UnboundedSender<Order>>,
    /// Sockets in use; the workers have duplicates.
    open: Arc<Mutex<BTreeMap<ListenKey, TcpListener>>>,
    /// Sockets from before.
    adopted: Arc<Mutex<BTreeMap<ListenKey, TcpListener>>>,
    deliver: Arc<Mutex<dyn Fn(Input) + Send>>,
    phase: Arc<watch::Sender<Phase>>,
}

impl Driver {
    /// Starts the threads. Inputs go to `deliver`, which must not block.
    ///
    /// # Errors
    /// When the system gives no thread, event loop or randomness.
    pub fn spawn(
        config: Config,
        deliver: impl Fn(Input) + Send + 'static,
    ) -> Result<DriverHandle, Error> {
        let count = config.workers.max(1);
        let crowd = Arc::new(Crowd::new(config.connections));
        let secure = Secure::new(config.upstream_roots.clone())?;
        let tickets = Arc::new(Tickets::new(config.clock));
        let access = Access::open(config.access_log_file.as_deref());
        let shared = Arc::new(Shared {
            config,
            crowd,
            secure,
            table: ArcSwap::default(),
            certificates: Arc::default(),
            tickets,
            counters: Counters::default(),
            strangers: Requests::default(),
            rejections: Rejections::default(),
            access,
            loads: Loads::default(),
            passwords: Passwords::new(Seeds.bytes()?),
            health: AtomicU8::new(Health::Starting as u8),
        });
        let (sender, phase) = watch::channel(Phase::Serving);
        let mut workers = Vec::new();
        for _ in 0..count {
            let (orders, inbox) = mpsc::unbounded_channel();
            worker::start(shared.clone(), inbox, phase.clone(), Seeds.seed()?)?;
            workers.push(orders);
        }
        drop(phase);
        let deliver = Arc::new(Mutex::new(deliver));
        Ok(DriverHandle {
            shared,
            workers,
            open: Arc::default(),
            adopted: Arc::default(),
            deliver,
            phase: Arc::new(sender),
        })
    }
}

impl DriverHandle {
    /// Carries out one order. New tables are in use at once; a `Listen` for HTTP or HTTPS is
    /// answered by one input before this returns. Published ports are not this driver's.
    pub fn run(&self, effect: Effect) {
        match effect {
            Effect::Serve(table) => self.serve(table),
            Effect::Listen { op, key } if is_ours(&key) => {
                let result = self.listen(key).map_err(|error| socket_fault(&error));
                let deliver = self.deliver.lock().unwrap_or_else(PoisonError::into_inner);
                deliver(Input::Listening { op, result });
            }
            Effect::Unlisten { key } if is_ours(&key) => {
                self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
                self.tell(|| Order::Unlisten(key));
            }
            Effect::Listen { .. } | Effect::Unlisten { .. } | Effect::ShowClosed(_) => {}
        }
    }

    fn serve(&self, table: Arc<Table>) {
        self.shared.certificates.load(&table);
        self.shared.tickets.keep(table.ticket_secret.clone());
        self.shared.loads.keep(&table);
        self.shared.table.store(table);
        count(&self.shared.counters.swaps);
        if self.shared.health() == Health::Starting {
            self.shared.set_health(Health::Ready);
        }
        self.tell(|| Order::Swapped);
    }

    fn listen(&self, key: ListenKey) -> io::Result<()> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.contains_key(&key) {
            return Ok(());
        }
        let adopted = self.adopted.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
        let listener = match adopted {
            Some(listener) => listener,
            None => bind(key.address)?,
        };
        let clones: Vec<_> =
            self.workers.iter().map(|_| listener.try_clone()).collect::<Result<_, _>>()?;
        for (worker, listener) in self.workers.iter().zip(clones) {
            // A worker lives as long as a handle does.
            let _ = worker.send(Order::Listen(key, listener));
        }
        open.insert(key, listener);
        Ok(())
    }

    /// A socket that listened before this process did. It is used once it is asked for, instead of
    /// one of our own; until then what comes to it waits in the kernel.
    pub fn adopt(&self, key: ListenKey, listener: TcpListener) {
        if let Err(error) = listener.set_nonblocking(true) {
            return tracing::warn!(%error, "cannot use a socket that was open before");
        }
        self.adopted.lock().unwrap_or_else(PoisonError::into_inner).insert(key, listener);
    }

    /// A duplicate of a socket in use, for whoever keeps it beyond this process.
    pub fn socket(&self, key: ListenKey) -> Option<OwnedFd> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        Some(open.get(&key)?.try_clone().ok()?.into())
    }

    fn tell(&self, order: impl Fn() -> Order) {
        for worker in &self.workers {
            let _ = worker.send(order());
        }
    }

    /// Sockets that are open.
    pub fn open(&self) -> BTreeSet<ListenKey> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }

    /// The site that serves a host now: of that name, else of its wildcard, else that of
    /// any host.
    pub fn site(&self, host: &str) -> Option<Arc<Site>> {
        self.shared.table.load().site(host).cloned()
    }

    /// What is served from now.
    pub fn table(&self) -> Arc<Table> {
        self.shared.table.load_full()
    }

    /// Where a socket really is open: the port of one that was asked for as port 0.
    pub fn address(&self, key: ListenKey) -> Option<SocketAddr> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.get(&key).and_then(|listener| listener.local_addr().ok())
    }

    /// What reads all that it counts.
    pub fn meters(&self) -> Meters {
        Meters(self.shared.clone())
    }

    /// What it did so far.
    pub fn counts(&self) -> Counts {
        self.shared.counters.counts()
    }

    /// Whether clients can come here: there is a route, and a socket.
    pub fn serves(&self) -> bool {
        let is_open = !self.open.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
        is_open && !self.shared.table.load().sites.is_empty()
    }

    /// From now on load balancers in front and clients are told to go elsewhere: by the health, by
    /// `Connection: close`, by GOAWAY. Everything is served still, also what is new.
    pub fn drain(&self) {
        self.shared.set_health(Health::Draining);
        self.phase.send_if_modified(|phase| {
            let begins = matches!(phase, Phase::Serving);
            if begins {
                *phase = Phase::Draining;
            }
            begins
        });
    }

    /// Accepts nothing more, ends tunnels and streams of events, lets running requests end for so
    /// long, and returns when all threads are done.
    pub async fn stop(&self, within: Duration) {
        self.shared.set_health(Health::Draining);
        self.phase.send_replace(Phase::Stopping(within));
        self.open.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.phase.closed().await;
    }
}

impl fmt::Debug for DriverHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DriverHandle").field("counts", &self.counts()).finish_non_exhaustive()
    }
}

fn is_ours(key: &ListenKey) -> bool {
    matches!(key.kind, ListenKind::Http | ListenKind::Https)
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
    // So that a restart need not wait for old connections. It lets nobody else in.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(1024)?;
    Ok(socket.into())
}
