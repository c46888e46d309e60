//! What the wiring asks of its host.

use jaco_kit_core::OpId;
use jaco_model::command::Reply;
use jaco_model::event::Event;
use jaco_model::{Fault, NodeId, WallMs};
use jaco_raft_core::{Batch, Members, Position, eraftpb};
use jaco_state::State;
use std::collections::BTreeSet;
use std::sync::Arc;

/// One thing to do, in order.
#[derive(Debug)]
pub enum Step {
    /// Put an input into a core's mailbox.
    Deliver(Box<Delivery>),
    /// Something only a driver can do.
    Io(Io),
}

/// An input and the core it is for.
#[derive(Debug)]
pub enum Delivery {
    /// For the raft core.
    Raft(jaco_raft_core::Input),
    /// For the scheduler.
    Scheduler(jaco_scheduler::Input),
    /// For the runtime core.
    Runtime(jaco_runtime_core::Input),
    /// For the liveness core.
    Liveness(jaco_liveness_core::Input),
    /// For the mesh's core.
    Netmesh(jaco_netmesh_core::Input),
    /// For the packet filter's core.
    Firewall(jaco_firewall_core::Input),
    /// For the names' core.
    Dns(jaco_dns_core::Input),
    /// For the front door's core.
    Ingress(jaco_ingress_core::Input),
    /// For the core of certificates.
    Acme(jaco_ingress_core::acme::Input),
}

/// Names one call, of the API or of a peer, until it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// How a command ended.
pub type Answer = Result<Reply, Fault>;

/// A member as the transport between members knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Identity, as in its certificate.
    pub node: NodeId,
    /// Id in the raft group.
    pub raft_id: u64,
    /// Host and port of its peer port; empty while it has not said.
    pub address: String,
    /// Serials of the certificates it may show. `None` while this member is not up to date: a peer
    /// may have got a new certificate meanwhile, and must not be shut out for it.
    pub serials: Option<Vec<String>>,
}

/// What only a driver can do.
#[derive(Debug)]
pub enum Io {
    /// Make the batch durable, then tell the raft core.
    Persist(Arc<Batch>),
    /// Send to peers.
    Send(Vec<eraftpb::Message>),
    /// Encode the state as a snapshot file, then tell the raft core. May take long: the state is
    /// a copy of its own.
    EncodeSnapshot {
        /// The last entry the state contains.
        at: Position,
        /// The member list at that entry.
        members: Members,
        /// The state.
        state: Arc<State>,
    },
    /// Read the newest snapshot file, then tell the raft core.
    LoadSnapshot(Position),
    /// Carry out an order of the runtime core.
    Runtime(jaco_runtime_core::Effect),
    /// Carry out an order of the mesh's core.
    Netmesh(jaco_netmesh_core::Effect),
    /// Carry out an order of the packet filter's core.
    Firewall(jaco_firewall_core::Effect),
    /// Carry out an order of the names' core.
    Dns(jaco_dns_core::Effect),
    /// Carry out an order of the front door's core.
    Ingress(jaco_ingress_core::Effect),
    /// Ask a certificate authority or about a name, then tell the core of certificates.
    Acme {
        /// Names it in the answer.
        op: OpId,
        /// Cluster time.
        at: WallMs,
        /// What to ask.
        call: jaco_ingress_core::acme::Call,
    },
    /// Answer a call that brought a command.
    Answer {
        /// Which call.
        ticket: Ticket,
        /// Where the answer stands in the log; 0 when nothing was written.
        index: u64,
        /// Its answer.
        answer: Answer,
    },
    /// Answer a call that asked how far the log is: the state shown here holds everything that was
    /// acknowledged anywhere before the question.
    AnswerRead {
        /// Which call.
        ticket: Ticket,
        /// The index that is applied.
        result: Result<u64, Fault>,
    },
    /// Hand a command to the leader, then tell `Member::forward_answered`.
    Forward {
        /// Names it in the answer.
        op: OpId,
        /// The leader.
        to: NodeId,
        /// The bytes of the log entry.
        data: Vec<u8>,
    },
    /// Ask the leader how far the log is, then tell `Member::read_answered`.
    AskRead {
        /// Names it in the answer.
        op: OpId,
        /// The leader.
        to: NodeId,
    },
    /// Probe a peer, then tell the liveness core.
    Probe {
        /// Names it in the answer.
        op: OpId,
        /// Whom.
        to: NodeId,
        /// What to say.
        word: jaco_liveness_core::Word,
    },
    /// Tell a member that it was removed, as far as it can be reached. Ended by `told_removed`.
    TellRemoved(NodeId),
    /// Show whom routing should avoid.
    PublishSuspects(BTreeSet<NodeId>),
    /// Speak to these members and to nobody else.
    Peers(Vec<Peer>),
    /// Show the new state to everyone who watches.
    Publish {
        /// The state.
        state: Arc<State>,
        /// What changed.
        events: Vec<Event>,
    },
    /// Show who leads.
    PublishLeader(Option<NodeId>),
    /// Note that a peer sent what no correct member sends.
    Violation {
        /// Its raft id.
        from: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// The states of members differ at one index of the log, which nothing but a bug can cause. A
    /// member in the minority must stop serving, and begin again from the others.
    Diverged {
        /// Where.
        index: u64,
        /// Members that have the state of this one, itself among them.
        same: usize,
        /// Members that agree on another.
        against: usize,
        /// Whether those are more than half of all.
        is_minority: bool,
    },
    /// Stop: the durable state can no longer be trusted or understood.
    Fatal(Error),
}

/// Why a member must stop.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The raft core gave up.
    #[error("raft stopped")]
    Raft(#[source] jaco_raft_core::Error),
    /// A committed entry or a snapshot does not decode.
    #[error("cannot decode what the log holds at index {index}")]
    Decode {
        /// Which entry.
        index: u64,
        /// What the decoder said.
        #[source]
        source: jaco_wire::Error,
    },
    /// Most members have another state.
    #[error("most members have another state at index {index}")]
    Diverged {
        /// Where it was found.
        index: u64,
    },
    /// A snapshot does not hold a state.
    #[error("cannot read the state in the snapshot at index {index}")]
    Snapshot {
        /// The last entry it contains.
        index: u64,
        /// What the reader said.
        #[source]
        source: jaco_state::SnapshotError,
    },
}
