//! What the wiring asks of its host.

use jaco_model::command::Reply;
use jaco_model::event::Event;
use jaco_model::{Fault, NodeId};
use jaco_raft_core::{Batch, Members, Position, eraftpb};
use jaco_state::State;
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
}

/// Names one proposal of the API until it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// How a proposal of the API ended.
pub type Answer = Result<Reply, Fault>;

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
    /// Answer a call of the API.
    Answer {
        /// Which call.
        ticket: Ticket,
        /// Its answer.
        answer: Answer,
    },
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
