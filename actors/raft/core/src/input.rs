//! What a raft member is told.

use std::sync::Arc;

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
