//! One machine: its clock, disk and engine, and the daemon that may run on it.

use crate::clock::Clock;
use crate::disk::Disk;
use crate::engine::Engine;
use crate::event::{Attempt, Event, HostId, Life, OpenCall, Order};
use crate::kernel::Kernel;
use crate::queue::{Key, Micros};
use crate::random::Random;
use jaco_dns_core::{DnsCore, Zones};
use jaco_firewall_core::FirewallCore;
use jaco_ingress_core::IngressCore;
use jaco_ingress_core::acme::AcmeCore;
use jaco_kit_core::OpId;
use jaco_liveness_core::LivenessCore;
use jaco_model::{NodeId, NodeName};
use jaco_netmesh_core::{MeshView, NetmeshCore};
use jaco_raft_core::RaftCore;
use jaco_runtime_core::RuntimeCore;
use jaco_scheduler::Scheduler;
use jaco_state::State;
use jaco_wiring::{Delivery, Member, Peer, Ticket};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// What a host is to the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// In no cluster.
    Spare,
    /// Asks to join, or to join again after its disk was lost.
    Joining,
    /// Has a data directory of a member.
    Member,
}

/// One machine.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) id: HostId,
    pub(crate) name: NodeName,
    pub(crate) clock: Clock,
    pub(crate) standing: Standing,
    /// Who it is, by its certificate.
    pub(crate) node: Option<NodeId>,
    pub(crate) disk: Option<Disk>,
    /// The members that it last knew, or that the answer to its join named: node and raft id.
    pub(crate) known_peers: Vec<(NodeId, u64)>,
    /// Counts starts and ends of the daemon.
    pub(crate) life: u64,
    pub(crate) process: Option<Box<Process>>,
    /// Until when the daemon is stopped, as by SIGSTOP or a busy processor.
    pub(crate) paused_until: Option<Micros>,
    /// What waits for the stopped daemon.
    pub(crate) parked: VecDeque<Event>,
    pub(crate) is_slow: bool,
    pub(crate) engine: Engine,
    pub(crate) kernel: Kernel,
    /// Counts restarts and hangs of the engine.
    pub(crate) engine_serial: u64,
    /// Counts connections to the engine.
    pub(crate) connection: u64,
    /// The daemon takes its engine for dead.
    pub(crate) is_disconnected: bool,
    /// Orders that a hung engine has not carried out.
    pub(crate) hung: Vec<Order>,
}

impl Host {
    pub(crate) fn new(id: HostId, clock: Clock) -> Host {
        Host {
            id,
            name: NodeName::new(format!("host-{}", id.0)),
            clock,
            standing: Standing::Spare,
            node: None,
            disk: None,
            known_peers: Vec::new(),
            life: 0,
            process: None,
            paused_until: None,
            parked: VecDeque::new(),
            is_slow: false,
            engine: Engine::new(),
            kernel: Kernel::new(),
            engine_serial: 0,
            connection: 0,
            is_disconnected: false,
            hung: Vec::new(),
        }
    }

    /// The present life of its daemon.
    pub(crate) fn alive(&self) -> Life {
        Life { host: self.id, number: self.life }
    }

    /// The running daemon.
    pub(crate) fn running(&self) -> Option<&Process> {
        self.process.as_deref()
    }
}

/// Who waits for the answer to a call that this daemon serves.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Caller {
    Client(Attempt),
    Peer { life: Life, op: OpId },
}

/// One running daemon.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) me: NodeId,
    pub(crate) raft_id: u64,
    pub(crate) member: Member,
    pub(crate) raft: RaftCore,
    pub(crate) scheduler: Scheduler,
    pub(crate) runtime: RuntimeCore,
    pub(crate) liveness: LivenessCore,
    pub(crate) firewall: FirewallCore,
    pub(crate) dns: DnsCore,
    pub(crate) ingress: IngressCore,
    pub(crate) acme: AcmeCore,
    pub(crate) netmesh: NetmeshCore,
    /// What the mesh's core said of it last.
    pub(crate) mesh: Arc<MeshView>,
    /// What containers are answered from.
    pub(crate) zones: Arc<Zones>,
    pub(crate) mail: Mail,
    /// What readers see; `None` until the daemon has caught up.
    pub(crate) published: Option<Arc<State>>,
    pub(crate) leader: Option<NodeId>,
    /// The members by its own log.
    pub(crate) roster: Vec<Peer>,
    /// The members as others told it.
    pub(crate) hearsay: Hearsay,
    /// Whom the transport speaks to, with their raft ids.
    pub(crate) peers: BTreeMap<NodeId, u64>,
    pub(crate) callers: BTreeMap<Ticket, Caller>,
    pub(crate) last_ticket: u64,
    pub(crate) calls: BTreeMap<OpId, OpenCall>,
    pub(crate) alarm: Option<Key>,
    /// Snapshot messages on their way to peers, by raft id; the newest number counts.
    pub(crate) snapshots_out: BTreeMap<u64, u64>,
    pub(crate) snapshot_serial: u64,
    /// The snapshot message that is being installed: who waits to hear of it, and its index.
    pub(crate) snapshot_in: Option<(Life, u64, u64)>,
    /// Inputs so far.
    pub(crate) steps: u64,
}

impl Process {
    pub(crate) fn ticket(&mut self, caller: Caller) -> Ticket {
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        self.callers.insert(ticket, caller);
        ticket
    }
}

/// The members as somebody knows them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hearsay {
    /// Where its log stands; 0 for what a file says.
    pub(crate) applied_index: u64,
    /// Node and raft id of everybody.
    pub(crate) peers: Vec<(NodeId, u64)>,
}

/// The mailboxes of the cores. Each is in order; which one is next is chance, as with actors that
/// share a thread.
#[derive(Debug, Default)]
pub(crate) struct Mail {
    boxes: [VecDeque<Delivery>; 9],
}

impl Mail {
    pub(crate) fn push(&mut self, delivery: Delivery) {
        let at = match delivery {
            Delivery::Raft(_) => 0,
            Delivery::Scheduler(_) => 1,
            Delivery::Runtime(_) => 2,
            Delivery::Liveness(_) => 3,
            Delivery::Firewall(_) => 4,
            Delivery::Dns(_) => 5,
            Delivery::Netmesh(_) => 6,
            Delivery::Ingress(_) => 7,
            Delivery::Acme(_) => 8,
        };
        self.boxes[at].push_back(delivery);
    }

    pub(crate) fn pop(&mut self, random: &mut Random) -> Option<Delivery> {
        let full: Vec<usize> = (0..9).filter(|at| !self.boxes[*at].is_empty()).collect();
        let at = if full.len() == 1 { full.first().copied() } else { random.pick(&full) };
        self.boxes[at?].pop_front()
    }
}
