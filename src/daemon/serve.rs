//! The daemon's life: start, serve, stop.

mod requests;

use requests::EXIT_REMOVED;

use crate::daemon::backend::{DaemonBackend, REQUESTS_MAX, Request};
use crate::daemon::boot::{self, Frame, Running};
use crate::daemon::config::{self, Config};
use crate::daemon::hub::Boards;
use crate::daemon::identity::RosterFile;
use crate::daemon::network::{PEER_REQUESTS_MAX, PeerRequest};
use crate::daemon::passed::Passed;
use crate::daemon::renew::{self, Renewal};
use crate::daemon::{cluster, init, logging, notify, socket};
use actix_web::dev::ServerHandle;
use jaco_api::Membership;
use jaco_kit::{Clock, Supervisor};
use jaco_model::{ErrorCode, Fault, NodeId};
use jaco_runtime::DriverHandle;
use std::error::Error;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// What differs between a daemon under systemd and one inside `jaco up`.
pub(crate) struct Options {
    /// The configuration file, read again on SIGHUP.
    pub(crate) file: Option<PathBuf>,
    /// Make a cluster of this name when there is none yet.
    pub(crate) init: Option<String>,
    /// Told once the API answers.
    pub(crate) ready: Option<std::sync::mpsc::Sender<()>>,
    /// Ends the daemon.
    pub(crate) stop: Option<oneshot::Receiver<()>>,
    /// Whether SIGTERM and SIGINT end the daemon; not when it shares a process.
    pub(crate) signals: bool,
    /// Whether it opens ports for other members and for nodes that join.
    pub(crate) listens: bool,
}

impl Options {
    /// A daemon that has its process to itself.
    pub(crate) fn alone(file: Option<PathBuf>) -> Options {
        Options { file, init: None, ready: None, stop: None, signals: true, listens: true }
    }
}

/// Exit code of a daemon that could not start (`EX_SOFTWARE`).
const EXIT_START: u8 = 70;

/// Runs a daemon until a signal, a broken disk or `stop` ends it; gives the exit code.
pub(crate) fn run(config: Config, options: Options) -> u8 {
    let clock = Clock::new();
    let system = actix::System::new();
    let outcome = system.block_on(async move {
        let supervisor = Supervisor::new(clock);
        logging::hook_panics(supervisor.recorder().clone());
        serve(config, options, supervisor).await
    });
    match outcome {
        Ok(code) => code,
        Err(error) => {
            logging::report(&*error);
            EXIT_START
        }
    }
}

/// The parts of a running daemon.
struct Daemon {
    config: Config,
    options: Options,
    supervisor: Supervisor,
    boards: Boards,
    engine: Arc<OnceLock<DriverHandle>>,
    /// Where the API's threads and tasks of this one send what they want.
    requests: mpsc::Sender<Request>,
    /// Where peers' requests go.
    peer_requests: mpsc::Sender<PeerRequest>,
    member: Option<Running>,
    /// Sockets from before, until they are in use.
    passed: Passed,
    /// A join or rejoin is under way.
    is_joining: bool,
    renewal: Option<JoinHandle<()>>,
}

async fn serve(
    config: Config,
    mut options: Options,
    supervisor: Supervisor,
) -> Result<u8, Box<dyn Error>> {
    let mut signals = Signals::new()?;
    let (requests, inbox) = mpsc::channel(REQUESTS_MAX);
    let (peer_requests, peer_inbox) = mpsc::channel(PEER_REQUESTS_MAX);
    let boards = Boards::default();
    let engine = Arc::new(OnceLock::new());
    let stop = options.stop.take();
    let ready = options.ready.take();
    let backend = DaemonBackend::new(
        requests.clone(),
        boards.clone(),
        engine.clone(),
        supervisor.clock(),
        &config,
    );
    let mut daemon = Daemon {
        config,
        options,
        supervisor: supervisor.clone(),
        boards,
        engine,
        requests,
        peer_requests,
        member: None,
        passed: Passed::default(),
        is_joining: false,
        renewal: None,
    };
    if daemon.options.signals {
        daemon.passed = Passed::take();
    }
    let api = daemon.passed.api.take();
    daemon.boot()?;
    if daemon.member.is_none() {
        daemon.passed.keep_doors(|_| false);
    }
    let listener = socket::listen(&daemon.config, api)?;
    let backend = Arc::new(backend);
    let server = jaco_api::serve(backend.clone(), listener)?;
    let handle = server.handle();
    actix::spawn(server);
    let scraped = for_scrapers(&daemon.config, backend)?;
    notify::ready();
    tracing::info!(socket = %daemon.config.unix_socket.display(), "daemon is ready");
    if let Some(ready) = ready {
        // Whoever waited may have gone.
        let _ = ready.send(());
    }
    let watchdog = actix::spawn(notify::watchdog());
    let code = daemon.work(inbox, peer_inbox, &mut signals, stop).await;
    notify::stopping();
    tokio::join!(daemon.hand_over(code), daemon.close_doors(code));
    supervisor.shutting_down();
    watchdog.abort();
    handle.stop(true).await;
    if let Some(scraped) = scraped {
        scraped.stop(false).await;
    }
    if let Some(network) = daemon.member.take().and_then(|member| member.network) {
        network.stop().await;
    }
    tracing::info!("daemon has stopped");
    Ok(code)
}

/// The listener for scrapers, if there is to be one.
fn for_scrapers(
    config: &Config,
    backend: Arc<DaemonBackend>,
) -> Result<Option<ServerHandle>, Box<dyn Error>> {
    let keys = &config.metrics;
    if !keys.enabled || keys.listen.is_empty() {
        return Ok(None);
    }
    let server = jaco_api::serve_metrics(backend, TcpListener::bind(&keys.listen)?)?;
    let handle = server.handle();
    actix::spawn(server);
    tracing::info!(address = keys.listen, "metrics are served");
    Ok(Some(handle))
}

/// How long clients are asked to go before nothing more is accepted: two of the usual checks of a
/// load balancer.
const LAME_DUCK: Duration = Duration::from_secs(2);

/// How long a stop waits for another member to take over the lead.
const HAND_OVER: Duration = Duration::from_secs(2);

impl Daemon {
    /// Starts the member that the data directory holds, or begins one if asked to.
    fn boot(&mut self) -> Result<(), boot::Error> {
        if let Some(index) = RosterFile::of(&self.config.data_dir).fenced_at() {
            let message =
                format!("most members have another state than this node at index {index}");
            tracing::error!(index, "this node is fenced: its state is not that of the others");
            let fault = Fault::new(ErrorCode::StateDivergence, message)
                .with("host", init::node_name(&self.config))
                .with("index", index)
                .with("hint", "jaco node rejoin");
            self.boards.membership.send_replace(Membership::Failed(fault));
            return Ok(());
        }
        let opened = match boot::open(&self.config) {
            Ok(opened) => opened,
            Err(boot::Error::Store(error)) if self.may_rejoin(&error) => {
                let text = logging::chain(&error);
                tracing::error!(error = text, "this node's log cannot be used");
                let fault = Fault::new(ErrorCode::StorageFailed, text)
                    .with("host", init::node_name(&self.config))
                    .with("hint", "jaco node rejoin");
                self.boards.membership.send_replace(Membership::Failed(fault));
                return Ok(());
            }
            Err(error) => {
                if matches!(&error, boot::Error::Store(error) if is_broken(error)) {
                    let advice = "restore it from a copy, or move it away and begin again";
                    tracing::error!(advice, "the data directory cannot be used");
                }
                return Err(error);
            }
        };
        let alone = !self.options.listens;
        let store = match (opened, &self.options.init) {
            (Some(store), _) => store,
            (None, Some(name)) => {
                let clock = self.supervisor.clock();
                init::begin(&self.config, &clock, Some(name.clone()), alone)?.store
            }
            (None, None) => {
                tracing::info!("this node is not in a cluster yet; run `jaco cluster init`");
                return Ok(());
            }
        };
        self.start(store)
    }

    /// Whether a broken log is one that the peers of this node still have.
    fn may_rejoin(&self, error: &jaco_raft::Error) -> bool {
        is_broken(error) && boot::known_peers(&self.config, "").len() > 1
    }

    /// Runs the member whose store is open.
    fn start(&mut self, store: (jaco_raft::Store, jaco_raft::Loaded)) -> Result<(), boot::Error> {
        let frame = Frame {
            config: &self.config,
            supervisor: &self.supervisor,
            boards: &self.boards,
            engine: &self.engine,
            requests: &self.peer_requests,
            listens: self.options.listens,
        };
        let running = boot::start(&frame, store, std::mem::take(&mut self.passed))?;
        self.member = Some(running);
        self.watch_certificate();
        if self.options.listens {
            self.adopt_trust();
        }
        Ok(())
    }

    /// Renews the certificate of a member that has one.
    fn watch_certificate(&mut self) {
        let Some(member) = &self.member else { return };
        let Some(network) = &member.network else { return };
        let renewal = Renewal {
            hub: member.hub.clone(),
            node: NodeId::new(member.marker.node_id.clone()),
            identity: network.identity.clone(),
            data_dir: self.config.data_dir.clone(),
            spread: member.marker.raft_id % 101,
        };
        if let Some(old) = self.renewal.replace(actix::spawn(renew::watch(renewal))) {
            old.abort();
        }
    }

    /// A cluster that was begun before nodes could join gets its authority once somebody leads it.
    fn adopt_trust(&self) {
        let Some(member) = self.member.as_ref().filter(|member| member.network.is_none()) else {
            return;
        };
        let (hub, requests) = (member.hub.clone(), self.requests.clone());
        let node = NodeId::new(member.marker.node_id.clone());
        let mut membership = self.boards.membership.subscribe();
        actix::spawn(async move {
            let leads = |seen: &Membership| matches!(seen, Membership::Member { node, leader } if leader.as_ref() == Some(node));
            if membership.wait_for(leads).await.is_err() || hub.state().nodes.len() != 1 {
                return;
            }
            match cluster::establish_trust(&hub, &node).await {
                // The daemon that ends does not need its ports any more.
                Ok(files) => drop(requests.send(Request::OpenPorts(files)).await),
                Err(fault) => tracing::warn!(%fault, "no certificates for this cluster"),
            }
        });
    }

    /// Lets another member lead before this one stops.
    async fn hand_over(&self, code: u8) {
        let Some(member) = self.member.as_ref().filter(|_| code == 0) else { return };
        let voters = member.hub.state().nodes.values().filter(|node| node.voter).count();
        if !member.hub.leads() || voters < 2 {
            return;
        }
        member.hub.hand_over();
        let mut membership = self.boards.membership.subscribe();
        let led_by_another = |seen: &Membership| matches!(seen, Membership::Member { node, leader: Some(leader) } if leader != node);
        let handed = tokio::time::timeout(HAND_OVER, membership.wait_for(led_by_another)).await;
        if handed.is_err() {
            tracing::warn!("nobody took over the lead in time");
        }
    }

    /// Lets clients go, and what they have begun end. Inside `jaco up` nobody is in front who could
    /// be told first.
    async fn close_doors(&self, code: u8) {
        let Some(member) = self.member.as_ref().filter(|_| code == 0) else { return };
        let lame = if self.options.listens { LAME_DUCK } else { Duration::ZERO };
        let within = Duration::from_millis(self.config.ingress.stop_timeout);
        member.hub.doors().close(lame, within).await;
    }

    /// Serves requests of the API's threads until something ends the daemon.
    async fn work(
        &mut self,
        mut inbox: mpsc::Receiver<Request>,
        mut peer_inbox: mpsc::Receiver<PeerRequest>,
        signals: &mut Signals,
        stop: Option<oneshot::Receiver<()>>,
    ) -> u8 {
        let stopped = async {
            match stop {
                // A sender that is dropped means stop as well.
                Some(stop) => drop(stop.await),
                None => std::future::pending().await,
            }
        };
        tokio::pin!(stopped);
        let mut broken = self.supervisor.ended();
        let mut removed = self.boards.removed.subscribe();
        let listens = self.options.signals;
        loop {
            tokio::select! {
                Some(request) = inbox.recv() => self.request(request),
                Some(request) = peer_inbox.recv() => {
                    if let Some(code) = self.peer_request(request).await {
                        return code;
                    }
                }
                Ok(_) = removed.wait_for(|removed| *removed) => {
                    self.leave().await;
                    return EXIT_REMOVED;
                }
                code = &mut broken => return code,
                () = &mut stopped => return 0,
                _ = signals.terminate.recv(), if listens => return 0,
                _ = signals.interrupt.recv(), if listens => return 0,
                _ = signals.hangup.recv(), if listens => self.reload(),
            }
        }
    }

    /// Reads the configuration again. What needs a restart is said; a fault changes nothing.
    fn reload(&mut self) {
        notify::reloading();
        match config::load(self.options.file.as_deref(), &super::variables()) {
            Ok(loaded) => {
                logging::set_levels(&loaded.config);
                self.config.log_level = loaded.config.log_level;
                tracing::info!("log levels were read again; other keys need a restart");
            }
            Err(faults) => {
                for fault in faults {
                    tracing::error!(fault, "configuration not reloaded");
                }
            }
        }
        notify::ready();
    }
}

/// Whether what is on the disk does not fit together.
fn is_broken(error: &jaco_raft::Error) -> bool {
    use jaco_raft::Error;
    matches!(error, Error::StorageCorrupt { .. } | Error::StorageIncomplete { .. })
}

/// The signals a daemon listens to.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}
