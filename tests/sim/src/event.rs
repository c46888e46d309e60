//! Everything that can happen at one moment.

use crate::host::Hearsay;
use crate::queue::Key;
use crate::world::Petition;
use jaco_kit_core::OpId;
use jaco_liveness_core::Word;
use jaco_model::{Fault, NodeId};
use jaco_raft_core::eraftpb::Message;
use jaco_runtime_core::Effect;
use jaco_wiring::{Answer, Delivery};

/// A machine, by its place in the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HostId(pub(crate) usize);

impl HostId {
    /// Where others reach it (RFC 5737 §3).
    pub(crate) fn address(self) -> std::net::Ipv4Addr {
        std::net::Ipv4Addr::new(192, 0, 2, u8::try_from(self.0 + 1).unwrap_or(u8::MAX))
    }

    /// As a number for the trace.
    pub(crate) fn number(self) -> u64 {
        self.0 as u64
    }
}

/// One start of a daemon on one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Life {
    pub(crate) host: HostId,
    pub(crate) number: u64,
}

/// A request of a client or an operator, until it is answered for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AskId(pub(crate) u64);

/// One attempt of a request; answers to earlier attempts are not waited for any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attempt {
    pub(crate) ask: AskId,
    pub(crate) number: u32,
}

/// What one daemon asks of another.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    /// Propose this entry.
    Forward(Vec<u8>),
    /// How far is the log?
    Read,
    /// Who are the members?
    Members,
    /// Are you there?
    Probe(Word),
}

/// How a call ended.
#[derive(Clone, Debug)]
pub(crate) enum Return {
    Forwarded(Result<(u64, Answer), Fault>),
    Read(Result<u64, Fault>),
    Members(Hearsay),
    Probed(Word),
    ProbeFailed,
}

/// An order on its way to the engine.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) life: Life,
    /// The connection it was sent over.
    pub(crate) connection: u64,
    pub(crate) effect: Effect,
}

/// What a client hears.
#[derive(Clone, Debug)]
pub(crate) enum Heard {
    /// The answer to a command and where it stands in the log.
    Command(Answer),
    /// What a linearizable read saw: revision and value, if there is the deployment.
    Read(Result<Option<(u64, u64)>, Fault>),
}

/// One thing that happens.
#[derive(Debug)]
pub(crate) enum Event {
    /// A timer of a daemon.
    Alarm(Life),
    /// A daemon starts, unless it was started meanwhile.
    Boot(Life),
    /// A paused daemon goes on, unless it is paused for longer.
    Resume(HostId),
    /// The disk is done with the batch on its way.
    Durable(Life),
    /// An input for a core.
    Tell(Life, Box<Delivery>),
    /// A message arrives.
    Raft { from: HostId, to: HostId, message: Box<Message> },
    /// A snapshot message to a peer ends.
    SnapshotEnd { life: Life, peer: u64, serial: u64, installed: bool },
    /// A call arrives.
    Call { from: Life, to: HostId, op: OpId, call: Call },
    /// A call is answered.
    Return { from: HostId, life: Life, op: OpId, answer: Box<Return> },
    /// A call takes too long.
    Expire { life: Life, op: OpId },
    /// An engine carries out an order.
    Engine(Box<Order>),
    /// A kernel carries out an order of a daemon's packet filter.
    Kernel(Life, Box<jaco_firewall_core::Effect>),
    /// A kernel carries out an order of a daemon's mesh.
    Tunnel(Life, Box<jaco_netmesh_core::Effect>),
    /// A daemon has reached its engine.
    EngineReached { life: Life, connection: u64 },
    /// The state of an engine changes by itself.
    EngineTurn { host: HostId, serial: u64, turn: Turn },
    /// A node hears that it was removed.
    Removed { life: Life, by: HostId },
    /// A leader has told a node that it was removed, or gave up.
    Told(Life, NodeId),
    /// A daemon may look for its cluster.
    Seek(Life),
    /// A client or operator sends an attempt.
    Ask(Attempt),
    /// An attempt arrives.
    AskArrives { attempt: Attempt, host: HostId },
    /// The answer to an attempt arrives.
    AskHears { attempt: Attempt, heard: Box<Heard> },
    /// An attempt takes too long.
    AskExpires(Attempt),
    /// A client may do something.
    Client(usize),
    /// A request of a daemon arrives at the certificate authority.
    Petition(Life, Box<Petition>),
    /// The next fault.
    Fault,
    /// A fault of a host ends by itself.
    Recover(HostId, Recovery),
    /// The end of a planned stop.
    Stopped(Life),
    /// The world is looked at.
    Look,
}

/// What an engine does by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It was hung or down.
    Up,
    /// The daemon notices that it hangs.
    Noticed,
}

/// What a host recovers from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recovery {
    /// Space on the disk.
    Space,
    /// A fast disk.
    Speed,
}

impl Event {
    /// The daemon that it is for, when a stopped one would not notice before it goes on.
    pub(crate) fn daemon(&self) -> Option<HostId> {
        match self {
            Event::Alarm(life)
            | Event::Tell(life, _)
            | Event::EngineReached { life, .. }
            | Event::SnapshotEnd { life, .. }
            | Event::Return { life, .. }
            | Event::Expire { life, .. }
            | Event::Told(life, _)
            | Event::Seek(life)
            | Event::Removed { life, .. } => Some(life.host),
            Event::Raft { to, .. } | Event::Call { to, .. } => Some(*to),
            Event::AskArrives { host, .. } => Some(*host),
            Event::Boot(_)
            | Event::Resume(_)
            | Event::Durable(_)
            | Event::Engine(_)
            | Event::Kernel(..)
            | Event::Tunnel(..)
            | Event::EngineTurn { .. }
            | Event::Ask(_)
            | Event::AskHears { .. }
            | Event::AskExpires(_)
            | Event::Client(_)
            | Event::Petition(..)
            | Event::Fault
            | Event::Recover(..)
            | Event::Stopped(_)
            | Event::Look => None,
        }
    }

    /// The one start of a daemon that it is for.
    pub(crate) fn life(&self) -> Option<Life> {
        match self {
            Event::Alarm(life)
            | Event::Boot(life)
            | Event::Durable(life)
            | Event::Tell(life, _)
            | Event::Kernel(life, _)
            | Event::Tunnel(life, _)
            | Event::EngineReached { life, .. }
            | Event::SnapshotEnd { life, .. }
            | Event::Return { life, .. }
            | Event::Expire { life, .. }
            | Event::Stopped(life)
            | Event::Told(life, _)
            | Event::Seek(life)
            | Event::Removed { life, .. } => Some(*life),
            _ => None,
        }
    }
}

/// An open call of a daemon.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OpenCall {
    /// Its time-out.
    pub(crate) expires: Key,
    pub(crate) is_read: bool,
}
