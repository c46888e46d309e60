//! From a data directory to a running member: the only place where everything is put together.

use crate::daemon::config::Config;
use crate::daemon::hub::{Boards, Hub, Parts, RaftDriver, RuntimeDriver, SchedulerDriver};
use crate::daemon::persist::{Deliver as DeliverRaft, Disk};
use actix::Actor;
use jaco_api::Membership;
use jaco_kit::{Critical, Deliver, Seeds, Shell, Supervisor};
use jaco_model::entity::Capacity;
use jaco_model::{ClusterId, NodeId};
use jaco_raft::{HostDisk, Loaded, Persister, Store};
use jaco_raft_core::RaftCore;
use jaco_runtime::{Driver, DriverHandle, EngineConfig};
use jaco_runtime_core::{Host, RuntimeCore, Settings};
use jaco_scheduler::Scheduler;
use jaco_wiring::{Me, Member, decode_state};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

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
    /// The operating system refuses a thread or randomness.
    #[error("the operating system refuses a resource")]
    System(#[from] io::Error),
}

/// The mailbox of a shell that may not exist yet, for threads that outlive shells.
type Mailbox<I> = Arc<Mutex<Option<actix::Recipient<Deliver<I>>>>>;

/// Puts an input into a mailbox from any thread; waits when it is full.
fn post<I: Send + 'static>(mailbox: &Mailbox<I>, input: I) {
    let address = mailbox.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let Some(address) = address else { return };
    let mut message = Deliver(input);
    // A mailbox of thousands is full only while its thread is stuck; waiting is all one can do.
    while let Err(actix::dev::SendError::Full(back)) = address.try_send(message) {
        message = back;
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

fn fill<I: Send + 'static>(mailbox: &Mailbox<I>, address: actix::Recipient<Deliver<I>>) {
    *mailbox.lock().unwrap_or_else(PoisonError::into_inner) = Some(address);
}

/// Opens the data directory, made if it is missing; `None` when no cluster was begun there.
pub(crate) fn open(config: &Config) -> Result<Option<(Store, Loaded)>, Error> {
    std::fs::DirBuilder::new().recursive(true).mode(0o711).create(&config.data_dir)?;
    Ok(Store::open(Arc::new(HostDisk), &config.data_dir)?)
}

/// Starts the member that a data directory holds.
pub(crate) fn start(
    config: &Config,
    (store, loaded): (Store, Loaded),
    supervisor: &Supervisor,
    boards: &Boards,
    engine_slot: &Arc<OnceLock<DriverHandle>>,
) -> Result<Hub, Error> {
    let raft_mailbox: Mailbox<jaco_raft_core::Input> = Mailbox::default();
    let runtime_mailbox: Mailbox<jaco_runtime_core::Input> = Mailbox::default();

    let node = NodeId::new(loaded.marker.node_id.clone());
    let cluster = ClusterId::new(crate::daemon::init::uuid_text(loaded.marker.cluster_id));
    let state = decode_state(loaded.durable.snapshot.at.index, &loaded.snapshot)?;
    let me = Me { node: node.clone(), raft_id: loaded.marker.raft_id };
    let mut raft_config = jaco_raft_core::Config::new(me.raft_id, Seeds.seed()?);
    raft_config.tick = Duration::from_millis(config.raft_tick);
    let catch_up_to = loaded.durable.last_command_index();
    let raft = RaftCore::new(raft_config, loaded.durable)?;

    let deliver_raft: DeliverRaft = {
        let mailbox = raft_mailbox.clone();
        Arc::new(move |input| post(&mailbox, input))
    };
    let deliver = deliver_raft.clone();
    let persister = Persister::spawn(store, move |input| deliver(input))?;
    let disk = Disk::new(persister, deliver_raft)?;
    let engine_config = EngineConfig { docker_host: config.docker_host.clone() };
    let mailbox = runtime_mailbox.clone();
    let engine = Driver::spawn(engine_config, &cluster, move |input| post(&mailbox, input));
    // Set once: a daemon becomes a member once in its life.
    let _ = engine_slot.set(engine.clone());

    boards.membership.send_replace(Membership::CatchingUp);
    let hub = Hub::new(Parts {
        me: node.clone(),
        member: Member::new(me, state, catch_up_to, Seeds.seed()?),
        disk,
        engine,
        boards: boards.clone(),
        clock: supervisor.clock(),
    });

    let host = host(config, node, cluster);
    start_scheduler(&hub, supervisor, Seeds.seed()?);
    start_runtime(&hub, supervisor, host, &runtime_mailbox, Seeds.seed()?);
    hub.show_state();
    start_raft(&hub, supervisor, raft, &raft_mailbox);
    Ok(hub)
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

/// The scheduler remembers nothing that it cannot see again, so a broken one is simply rebuilt.
fn start_scheduler(hub: &Hub, supervisor: &Supervisor, seed: u64) {
    let factory = {
        let (hub, supervisor) = (hub.clone(), supervisor.clone());
        move || {
            let core = Scheduler::new(seed);
            let driver = SchedulerDriver(hub.clone());
            let address = Shell::new("scheduler", core, driver, &supervisor).start();
            hub.link(|links| links.scheduler = Some(address.recipient()));
        }
    };
    factory();
    supervisor.supervise("scheduler", rebuild(hub, factory));
}

/// The runtime's memory is what the engine and the state say, so a broken one is simply rebuilt.
fn start_runtime(
    hub: &Hub,
    supervisor: &Supervisor,
    host: Host,
    mailbox: &Mailbox<jaco_runtime_core::Input>,
    seed: u64,
) {
    let factory = {
        let (hub, supervisor, mailbox) = (hub.clone(), supervisor.clone(), mailbox.clone());
        move || {
            let core = RuntimeCore::new(host.clone(), Settings::default(), seed);
            let driver = RuntimeDriver(hub.clone());
            let address = Shell::new("runtime", core, driver, &supervisor).start();
            fill(&mailbox, address.clone().recipient());
            hub.link(|links| links.runtime = Some(address.recipient()));
        }
    };
    factory();
    supervisor.supervise("runtime", rebuild(hub, factory));
}

/// Builds again, and shows the new shell where things stand; at the start `start` shows it once.
fn rebuild(hub: &Hub, factory: impl Fn() + 'static) -> Critical {
    let hub = hub.clone();
    Critical::Rebuild(Box::new(move || {
        factory();
        hub.show_state();
    }))
}

/// What this node knows about itself without asking anybody.
fn host(config: &Config, node: NodeId, cluster: ClusterId) -> Host {
    // Whole thousandths of a core; the range was checked with the configuration.
    let cpu_milli = (config.reserved.cpus * 1_000.0).round() as u64;
    Host {
        node,
        cluster,
        address: String::new(),
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
