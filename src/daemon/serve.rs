//! The daemon's life: start, serve, stop.

use crate::daemon::backend::{DaemonBackend, REQUESTS_MAX, Request};
use crate::daemon::config::{self, Config};
use crate::daemon::hub::{Boards, Hub};
use crate::daemon::{boot, init, logging, notify, socket};
use jaco_api::Membership;
use jaco_kit::{Clock, Supervisor};
use jaco_model::view::InitView;
use jaco_model::{ErrorCode, Fault};
use jaco_runtime::DriverHandle;
use jaco_state::State;
use std::error::Error;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};

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
}

impl Options {
    /// A daemon that has its process to itself.
    pub(crate) fn alone(file: Option<PathBuf>) -> Options {
        Options { file, init: None, ready: None, stop: None, signals: true }
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
    hub: Option<Hub>,
}

async fn serve(
    config: Config,
    mut options: Options,
    supervisor: Supervisor,
) -> Result<u8, Box<dyn Error>> {
    let mut signals = Signals::new()?;
    let (requests, inbox) = mpsc::channel(REQUESTS_MAX);
    let boards = Boards {
        state: watch::Sender::new(Arc::new(State::default())),
        membership: watch::Sender::new(Membership::Uninitialized),
    };
    let engine = Arc::new(OnceLock::new());
    let stop = options.stop.take();
    let ready = options.ready.take();
    let backend = DaemonBackend::new(
        requests,
        boards.clone(),
        engine.clone(),
        supervisor.clock(),
        config.admission.bind_paths.clone(),
    );
    let mut daemon =
        Daemon { config, options, supervisor: supervisor.clone(), boards, engine, hub: None };
    daemon.boot()?;
    let listener = socket::listen(&daemon.config)?;
    let server = jaco_api::serve(Arc::new(backend), listener)?;
    let handle = server.handle();
    actix::spawn(server);
    notify::ready();
    tracing::info!(socket = %daemon.config.unix_socket.display(), "daemon is ready");
    if let Some(ready) = ready {
        // Whoever waited may have gone.
        let _ = ready.send(());
    }
    let watchdog = actix::spawn(notify::watchdog());
    let code = daemon.work(inbox, &mut signals, stop).await;
    notify::stopping();
    supervisor.shutting_down();
    watchdog.abort();
    handle.stop(true).await;
    tracing::info!("daemon has stopped");
    Ok(code)
}

impl Daemon {
    /// Starts the member that the data directory holds, or begins one if asked to.
    fn boot(&mut self) -> Result<(), boot::Error> {
        let store = match (boot::open(&self.config)?, &self.options.init) {
            (Some(store), _) => store,
            (None, Some(name)) => {
                init::begin(&self.config, &self.supervisor.clock(), Some(name.clone()))?.store
            }
            (None, None) => {
                tracing::info!("this node is not in a cluster yet; run `jaco cluster init`");
                return Ok(());
            }
        };
        self.hub =
            Some(boot::start(&self.config, store, &self.supervisor, &self.boards, &self.engine)?);
        Ok(())
    }

    /// Serves requests of the API's threads until something ends the daemon.
    async fn work(
        &mut self,
        mut inbox: mpsc::Receiver<Request>,
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
        let listens = self.options.signals;
        loop {
            tokio::select! {
                Some(request) = inbox.recv() => self.request(request),
                code = &mut broken => return code,
                () = &mut stopped => return 0,
                _ = signals.terminate.recv(), if listens => return 0,
                _ = signals.interrupt.recv(), if listens => return 0,
                _ = signals.hangup.recv(), if listens => self.reload(),
            }
        }
    }

    fn request(&mut self, request: Request) {
        match request {
            Request::Propose(envelope, answer) => match &self.hub {
                Some(hub) => hub.submit(&envelope, answer),
                None => {
                    let fault = Fault::new(
                        ErrorCode::ClusterUninitialized,
                        "this node is not in a cluster yet",
                    );
                    // A caller that went away does not want the answer any more.
                    let _ = answer.send(Err(fault.with("hint", "jaco cluster init")));
                }
            },
            Request::Init(name, answer) => {
                let _ = answer.send(self.init(name));
            }
        }
    }

    /// `cluster init` on this node.
    fn init(&mut self, name: Option<String>) -> Result<InitView, Fault> {
        if self.hub.is_some() {
            let state = self.boards.state.borrow().clone();
            let cluster = state.cluster.as_ref().map(|cluster| cluster.cluster_id.to_string());
            let message = "this node is in a cluster already";
            return Err(Fault::new(ErrorCode::ClusterAlreadyInitialized, message)
                .with("cluster_id", cluster.unwrap_or_default()));
        }
        let failed =
            |error: boot::Error| Fault::new(ErrorCode::StorageFailed, logging::chain(&error));
        let begun = init::begin(&self.config, &self.supervisor.clock(), name).map_err(failed)?;
        let hub =
            boot::start(&self.config, begun.store, &self.supervisor, &self.boards, &self.engine);
        self.hub = Some(hub.map_err(failed)?);
        Ok(begun.view)
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
