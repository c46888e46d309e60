//! What a raft member is told.

use std::sync::Arc;
use std::time::Duration;

use jaco_kit_core::OpId;
use raft::eraftpb::Message;

use crate::durable::Position;

/// Facts and requests for [`crate::RaftCore`].
#[derive(Clone, Debug)]
pub enum Input {
    /// Replicate these bytes; answered by a `Committed` entry or a `Failed` effect with `op`.
    Propose {
        /// Names the proposal in the answer.
        op: OpId,
        /// The command, not empty.
        data: Vec<u8>,
    },
    /// Change the member list by one; answered as a proposal.
    ChangeMembers {
        /// Names the proposal in the answer.
        op: OpId,
        /// The change.
        change: MemberChange,
    },
    /// The batch `seq` is durable, or writing it failed and the disk is no longer trusted.
    Persisted {
        /// [`crate::Batch::seq`].
        seq: u64,
        /// The error as text: it is for people only.
        result: Result<(), String>,
    },
    /// A message from a peer whose identity the transport has verified as `message.from`.
    PeerMessage(Box<Message>),
    /// A message to this peer could not be sent.
    PeerUnreachable {
        /// Its raft id.
        peer: u64,
    },
    /// A snapshot message to this peer ended, also by a broken connection: the acknowledgement may
    /// be lost with it, and the peer hears nothing more until this comes.
    SnapshotReported {
        /// Its raft id.
        peer: u64,
        /// Whether the peer acknowledged installing it.
        installed: bool,
    },
    /// The state at the asked position, encoded as a snapshot file.
    SnapshotTaken {
        /// As in the effect `TakeSnapshot`.
        at: Position,
        /// The bytes of the file.
        data: Arc<Vec<u8>>,
    },
    /// The state at the asked position could not be encoded.
    SnapshotFailed {
        /// As in the effect `TakeSnapshot`.
        at: Position,
    },
    /// The file of the newest snapshot was read, or `None` if it could not be.
    SnapshotLoaded {
        /// As in the effect `LoadSnapshot`.
        at: Position,
        /// The bytes of the file.
        data: Option<Arc<Vec<u8>>>,
    },
    /// Who belongs to the cluster, whenever that changes; a leader makes the member list follow.
    Roster(Roster),
    /// Asks for an index whose state contains every write acknowledged before now; answered by
    /// `ReadReady` once this member has applied it, or by `Failed`. Only a leader can tell.
    ReadIndex {
        /// Names the read in the answer; never used twice.
        op: OpId,
    },
    /// This member is about to stop: it hands over if it leads and somebody can take over. The
    /// outcome shows as `RoleChanged`, if there is one.
    TransferLeadership,
}

impl Input {
    /// The proposal or read that is answered by name.
    pub(crate) fn op(&self) -> Option<OpId> {
        match self {
            Input::Propose { op, .. }
            | Input::ChangeMembers { op, .. }
            | Input::ReadIndex { op } => Some(*op),
            _ => None,
        }
    }
}

/// Who belongs to the cluster, by the replicated state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    /// Everybody, in any order; raft ids and names are unique.
    pub members: Vec<RosterMember>,
    /// How long a voter is down before another member takes its vote.
    pub voter_replace_after: Duration,
}

/// One member of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RosterMember {
    /// Its raft id.
    pub raft_id: u64,
    /// Its host name; decides between equals.
    pub name: String,
    /// Where it stands; voters are spread over zones. Empty is a zone like any other.
    pub zone: String,
    /// What it may do.
    pub standing: Standing,
}

/// What a member of the roster may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Receives, and may not vote yet.
    Joining,
    /// May vote.
    Ready,
    /// Nobody hears it.
    Down,
    /// Is about to be taken out of the cluster.
    Leaving,
}

/// One change of the member list, by raft id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberChange {
    /// Add as a follower that does not vote, or take the vote from a voter.
    AddLearner(u64),
    /// Add with a vote, or give one to a learner.
    AddVoter(u64),
    /// Take out of the cluster.
    Remove(u64),
}

impl MemberChange {
    /// The raft id it is about.
    pub fn raft_id(self) -> u64 {
        match self {
            MemberChange::AddLearner(id)
            | MemberChange::AddVoter(id)
            | MemberChange::Remove(id) => id,
        }
    }
}
