//! What a raft member wants done.

use std::sync::Arc;

use jaco_kit_core::OpId;
use raft::eraftpb::Message;

use crate::batch::Batch;
use crate::durable::{Members, Position};
use crate::error::Error;

/// Orders of [`crate::RaftCore`]; run them in the order returned.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Make the batch durable as a whole, then answer `Persisted`. Only one is ever outstanding.
    Persist(Arc<Batch>),
    /// Send to peers; loss is tolerated.
    Send(Vec<Message>),
    /// Replace the state machine by this snapshot of the leader.
    Restore {
        /// The last entry it contains.
        at: Position,
        /// The member list at that entry.
        members: Members,
        /// The bytes of the snapshot file.
        data: Arc<Vec<u8>>,
    },
    /// Apply in order; each entry is committed and durable here.
    Apply(Vec<Committed>),
    /// Encode the state as it is after the effects before this one; answer `SnapshotTaken`.
    TakeSnapshot {
        /// The last entry the state contains.
        at: Position,
        /// The member list at that entry.
        members: Members,
    },
    /// Read the file of the newest durable snapshot for a peer; answer `SnapshotLoaded`.
    LoadSnapshot(Position),
    /// A proposal ended without a committed entry that this member can name, or a read without an
    /// answer.
    Failed {
        /// The proposal or read.
        op: OpId,
        /// Why.
        why: Refusal,
    },
    /// The answer to `ReadIndex`: this member led at some moment after the question, and the
    /// effects before this one bring the state machine to `index` or further.
    ReadReady {
        /// The read.
        op: OpId,
        /// Every write acknowledged before the question is at or before it.
        index: u64,
    },
    /// The role, term or known leader changed.
    RoleChanged(Status),
    /// A peer sent what no correct member sends; it was dropped.
    PeerViolation {
        /// Its raft id.
        from: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// This member must stop; it ignores every further input.
    Fatal(Error),
}

/// One committed entry that says something; the library's own empty entries are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Where it stands in the log.
    pub index: u64,
    /// The term of the leader that proposed it.
    pub term: u64,
    /// The proposal of this member that it answers.
    pub op: Option<OpId>,
    /// What it carries.
    pub payload: Payload,
}

/// What a committed entry carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// The bytes of a proposal.
    Command(Vec<u8>),
    /// The member list from this entry on.
    Members(Members),
}

/// Why a proposal ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// This member does not lead. Nothing was proposed.
    NotLeader {
        /// Who does, as a raft id, if known.
        leader: Option<u64>,
    },
    /// Too much is waiting already. Nothing was proposed.
    Overloaded,
    /// Empty, or over the largest command. Nothing was proposed.
    Size,
    /// Another membership change has not ended, or the id is not one. Nothing changed.
    Membership,
    /// Leadership or disk was lost meanwhile: the entry may or may not be committed. Retry with
    /// the same request id. Of a read: no majority answered in time.
    Unknown,
}

/// What this member is at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its part in the current term.
    pub role: Role,
    /// The current term.
    pub term: u64,
    /// The leader's raft id, if known.
    pub leader: Option<u64>,
}

/// How far a member is, as its leader knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberProgress {
    /// Who.
    pub raft_id: u64,
    /// The last index that it is known to hold durably; 0 if not known.
    pub matched: u64,
    /// The leader has heard it within an election timeout.
    pub is_active: bool,
    /// Whether it votes.
    pub is_voter: bool,
}

/// The part of a member in its term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Follows a leader, or waits for one.
    Follower,
    /// Asks whether it would win an election.
    PreCandidate,
    /// Asks for votes.
    Candidate,
    /// Proposes and replicates.
    Leader,
}
