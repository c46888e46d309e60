//! From a data directory to a running member: the only place where everything is put together.

use crate::daemon::address::{self, Addresses};
use crate::daemon::cluster::PeerRecord;
use crate::daemon::config::Config;
use crate::daemon::hub::{
    Boards, Hub, Links, LivenessDriver, Parts, RaftDriver, RuntimeDriver, SchedulerDriver,
};
use crate::daemon::identity::RosterFile;
use crate::daemon::network::{self, Network, PeerRequest, Surroundings};
use crate::daemon::overlay::Site;
use crate::daemon::passed::Passed;
use crate::daemon::persist::{Deliver as DeliverRaft, Disk};
use actix::Actor;
use ipnet::Ipv4Net;
use jaco_api::Membership;
use jaco_kit::{Critical, Deliver, Perform, Seeds, Shell, Supervisor};
use jaco_kit_core::Core;
use jaco_liveness_core::LivenessCore;
use jaco_model::entity::Capacity;
use jaco_model::{ClusterId, NodeId};
use jaco_netmesh_core::InUse;
use jaco_peers::NodeFiles;
use jaco_raft::{HostDisk, Loaded, Marker, Persister, Store};
use jaco_raft_core::RaftCore;
use jaco_runtime::{Driver, DriverHandle, EngineConfig};
use jaco_runtime_core::{Host, RuntimeCore, Settings};
use jaco_scheduler::Scheduler;
use jaco_state::State;
use jaco_wiring::{Me, Member, Start, decode_state};
use std::fmt;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;

/// A member could not be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The durable state cannot be used.
    #[error("cannot use the data directory")]
    Store(#[from] jaco_raft::Error),
    /// The raft core refuses what the store holds.
    #[error("cannot start raft")]
    Raft(#[from] jaco_raft_core::Error),
    /// The snapshot does not hold a state.
    #[error("cannot read the state")]
    State(#[from] jaco_wiring::Error),
    /// Certificates cannot be made or read.
    #[error("cannot use this node's certificate")]
    Identity(#[from] jaco_peers::Error),
    /// The node's ports cannot be opened.
    #[error("cannot open this node's ports")]
    Network(#[from] network::Error),
    /// The cluster's addresses are somebody else's.
    #[error("the address pool {pool} overlaps {other}")]
    Pool {
        /// Which pool.
        pool: Ipv4Net,
        /// What else uses its addresses on this host.
        other: InUse,
    },
    /// The operating system refuses a thread or randomness.
    #[error("the operating system refuses a resource")]
    System(#[from] io::Error),
}

/// The mailbox of a shell that may not exist yet, for threads that outlive shells.
pub(crate) type Mailbox<I> = Arc<Mutex<Option<actix::Recipient<Deliver<I>>>>>;

/// Puts an input into a mailbox from any thread; waits when it is full.
pub(crate) fn post<I: Send + 'static>(mailbox: &Mailbox<I>, input: I) {
    let address = mailbox.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let Some(address) = address else { return };
    let mut message = Deliver(input);
    // A mailbox of thousands is full only while its thread is stuck; waiting is all one can do.
    while let Err(actix::dev::SendError::Full(back)) = address.try_send(message) {
        message = back;
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

/// As [`post`], but drops what finds the mailbox full.
pub(crate) fn offer<I: Send + 'static>(mailbox: &Mailbox<I>, input: I) {
    let address = mailbox.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if address.is_some_and(|address| address.try_send(Deliver(input)).is_err()) {
        tracing::debug!("a full mailbox dropped an input");
    }
}

/// Names the shell behind a mailbox.
pub(crate) fn fill<I: Send + 'static>(mailbox: &Mailbox<I>, address: actix::Recipient<Deliver<I>>) {
    *mailbox.lock().unwrap_or_else(PoisonError::into_inner) = Some(address);
}

/// Opens the data directory, made if it is missing; `None` when no cluster was begun there.
pub(crate) fn open(config: &Config) -> Result<Option<(Store, Loaded)>, Error> {
    std::fs::DirBuilder::new().recursive(true).mode(0o711).create(&config.data_dir)?;
    Ok(Store::open(Arc::new(HostDisk), &config.data_dir)?)
}

/// What a member is started with besides its data directory.
pub(crate) struct Frame<'a> {
    pub(crate) config: &'a Config,
    pub(crate) supervisor: &'a Supervisor,
    pub(crate) boards: &'a Boards,
    pub(crate) engine: &'a Arc<OnceLock<DriverHandle>>,
    /// Where peers' requests go.
    pub(crate) requests: &'a mpsc::Sender<PeerRequest>,
    /// Whether it opens ports at all.
    pub(crate) listens: bool,
}

/// A running member.
pub(crate) struct Running {
    pub(crate) hub: Hub,
    /// `None` while it has no certificate, or no address to listen on.
    pub(crate) network: Option<Network>,
    /// What opening ports later needs.
    pub(crate) around: Surroundings,
    pub(crate) marker: Marker,
}

impl Running {
    /// Opens the ports of a member that has a certificate.
    pub(crate) fn open_ports(
        &mut self,
        config: &Config,
        addresses: &Addresses,
    ) -> Result<(), Error> {
        let Some(files) = NodeFiles::read(&config.data_dir)? else { return Ok(()) };
        let known = RosterFile::of(&config.data_dir).read();
        let network = Network::start(addresses, &self.marker, &files, &known, &self.around)?;
        self.hub.introduce(addresses, known);
        self.hub.connect(network.peers.clone());
        self.hub.seek();
        self.network = Some(network);
        Ok(())
    }
}

/// Where this node listens; `None` when it does not, for a reason that is logged.
pub(crate) fn addresses(config: &Config) -> Option<Addresses> {
    let found = address::resolve(&config.listen_addr, &config.cluster_addr, &config.advertise_addr);
    match found {
        Ok(addresses) => Some(addresses),
        Err(error) => {
            tracing::warn!(%error, "no ports for other members");
            None
        }
    }
}

/// Starts the member that a data directory holds.
pub(crate) fn start(
    frame: &Frame<'_>,
    (store, loaded): (Store, Loaded),
    passed: Passed,
) -> Result<Running, Error> {
    let Frame { config, supervisor, boards, engine: engine_slot, requests, listens } = frame;
    let raft_mailbox: Mailbox<jaco_raft_core::Input> = Mailbox::default();
    let runtime_mailbox: Mailbox<jaco_runtime_core::Input> = Mailbox::default();
    let addresses = if *listens { addresses(config) } else { None };

    let node = NodeId::new(loaded.marker.node_id.clone());
    let cluster = ClusterId::new(crate::daemon::init::uuid_text(loaded.marker.cluster_id));
    let start = Start {
        state: first_state(&loaded)?,
        members: loaded.durable.snapshot.members.clone(),
        last_index: loaded.durable.last_command_index(),
        is_only_voter: loaded.durable.is_only_voter(loaded.marker.raft_id),
        session: Seeds.seed()?,
    };
    let marker = loaded.marker.clone();
    let me = Me { node: node.clone(), raft_id: loaded.marker.raft_id };
    let mut raft_config = jaco_raft_core::Config::new(me.raft_id, Seeds.seed()?);
    raft_config.tick = Duration::from_millis(config.raft_tick);
    let raft = RaftCore::new(raft_config, loaded.durable)?;

    let deliver_raft: DeliverRaft = {
        let mailbox = raft_mailbox.clone();
        Arc::new(move |input| post(&mailbox, input))
    };
    let deliver = deliver_raft.clone();
    let persister = Persister::spawn(store, move |input| deliver(input))?;
    let disk = Disk::new(persister, deliver_raft)?;
    let engine_config = EngineConfig {
        docker_host: config.docker_host.clone(),
        files: config.data_dir.join("files"),
    };
    let mailbox = runtime_mailbox.clone();
    let engine = Driver::spawn(engine_config, &cluster, move |input| post(&mailbox, input));
    // Set once: a daemon becomes a member once in its life.
    let _ = engine_slot.set(engine.clone());

    boards.membership.send_replace(Membership::CatchingUp);
    let hub = Hub::new(Parts {
        me: node.clone(),
        member: Member::new(supervisor.clock().now(), me, start),
        disk,
        engine,
        boards: (*boards).clone(),
        clock: supervisor.clock(),
        roster_file: listens.then(|| RosterFile::of(&config.data_dir)),
    });
    let around = Surroundings {
        raft: raft_mailbox.clone(),
        requests: (*requests).clone(),
        engine: (*engine_slot).clone(),
    };
    let mut running = Running { hub: hub.clone(), network: None, around, marker };
    if let Some(addresses) = &addresses {
        running.open_ports(config, addresses)?;
    }

    let host = host(config, node.clone(), cluster, addresses.as_ref());
    start_scheduler(&hub, supervisor, Seeds.seed()?);
    let cluster = host.cluster.clone();
    start_runtime(&hub, supervisor, host, &runtime_mailbox, Seeds.seed()?);
    start_liveness(&hub, supervisor, node.clone(), Seeds.seed()?);
    let site = Site { config, supervisor, hub: &hub, node, cluster, listens: *listens };
    site.start(passed)?;
    start_raft(&hub, supervisor, raft, &raft_mailbox);
    hub.show_state();
    Ok(running)
}

/// The state to begin with; that of nobody for a newcomer.
fn first_state(loaded: &Loaded) -> Result<State, Error> {
    match loaded.durable.snapshot.at.index {
        0 => Ok(State::default()),
        index => Ok(decode_state(index, &loaded.snapshot)?),
    }
}

/// Where this node's peers were when it last knew.
pub(crate) fn known_peers(config: &Config, me: &str) -> Vec<PeerRecord> {
    let known = RosterFile::of(&config.data_dir).read();
    known.into_iter().filter(|peer| peer.node.as_str() != me).collect()
}

/// Exit code of a daemon whose durable state is in doubt (`EX_IOERR`).
const EXIT_STORAGE: u8 = 74;

fn start_raft(
    hub: &Hub,
    supervisor: &Supervisor,
    core: RaftCore,
    mailbox: &Mailbox<jaco_raft_core::Input>,
) {
    supervisor.supervise("raft", Critical::Exit(EXIT_STORAGE));
    let address = Shell::new("raft", core, RaftDriver(hub.clone()), supervisor).start();
    fill(mailbox, address.clone().recipient());
    hub.link(|links| links.raft = Some(address.recipient()));
}

/// Starts a shell and keeps it: when it ends a new one is built and shown where things stand. At
/// the start `start` shows all of them once. What such a core remembers it sees again, in the
/// state, the engine, the kernel or the answers of others.
pub(crate) fn keep<C, P>(
    hub: &Hub,
    supervisor: &Supervisor,
    name: &'static str,
    make: impl Fn() -> (C, P) + 'static,
    link: impl Fn(&mut Links, actix::Recipient<Deliver<C::Input>>) + 'static,
) where
    C: Core + Unpin + 'static,
    C::Input: fmt::Debug + Send + Unpin,
    P: Perform<C::Effect> + Unpin,
{
    let factory = {
        let (hub, supervisor) = (hub.clone(), supervisor.clone());
        move || {
            let (core, driver) = make();
            let address = Shell::new(name, core, driver, &supervisor).start().recipient();
            hub.link(|links| link(links, address));
        }
    };
    factory();
    let hub = hub.clone();
    let rebuild = Critical::Rebuild(Box::new(move || {
        factory();
        hub.show_state();
    }));
    supervisor.supervise(name, rebuild);
}

fn start_scheduler(hub: &Hub, supervisor: &Supervisor, seed: u64) {
    let driver = hub.clone();
    let make = move || (Scheduler::new(seed), SchedulerDriver(driver.clone()));
    keep(hub, supervisor, "scheduler", make, |links, at| links.scheduler = Some(at));
}

fn start_liveness(hub: &Hub, supervisor: &Supervisor, node: NodeId, seed: u64) {
    let driver = hub.clone();
    let make = move || {
        let settings = jaco_liveness_core::Settings::default();
        (LivenessCore::new(node.clone(), settings, seed), LivenessDriver(driver.clone()))
    };
    keep(hub, supervisor, "liveness", make, |links, at| links.liveness = Some(at));
}

fn start_runtime(
    hub: &Hub,
    supervisor: &Supervisor,
    host: Host,
    mailbox: &Mailbox<jaco_runtime_core::Input>,
    seed: u64,
) {
    let (driver, mailbox) = (hub.clone(), mailbox.clone());
    let make = move || {
        let settings = Settings { needs_isolation: true, has_dns: true, ..Settings::default() };
        (RuntimeCore::new(host.clone(), settings, seed), RuntimeDriver(driver.clone()))
    };
    keep(hub, supervisor, "runtime", make, move |links, at| {
        fill(&mailbox, at.clone());
        links.runtime = Some(at);
    });
}

/// What this node knows about itself without asking anybody.
fn host(config: &Config, node: NodeId, cluster: ClusterId, addresses: Option<&Addresses>) -> Host {
    // Whole thousandths of a core; the range was checked with the configuration.
    let cpu_milli = (config.reserved.cpus * 1_000.0).round() as u64;
    Host {
        node,
        cluster,
        address: addresses.map(|at| at.public_peer.clone()).unwrap_or_default(),
        api_address: addresses.map(|at| at.public_api.clone()).unwrap_or_default(),
        version: crate::version::VERSION.to_owned(),
        reserved: Capacity {
            cpu_milli,
            memory: reserved_memory(config.reserved.memory),
            ..Capacity::default()
        },
        labels: config.node_labels.clone(),
    }
}

/// The configured amount, or the larger of 256 MiB and 5 % of the host's memory.
fn reserved_memory(configured: u64) -> u64 {
    if configured > 0 {
        return configured;
    }
    let info = rustix::system::sysinfo();
    let total = u64::from(info.mem_unit).saturating_mul(info.totalram as u64);
    (total / 20).max(256 * 1024 * 1024)
}
