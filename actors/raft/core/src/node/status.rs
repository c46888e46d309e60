//! What a member tells about itself.

use std::fmt;

use raft::{RawNode, StateRole};

use super::RaftCore;
use crate::durable::{DurableLog, Members, Position};
use crate::effect::{MemberProgress, Role, Status};
use crate::log::Log;
#[cfg(feature = "seeded-bugs")]
use crate::seeded::SeededBug;

impl RaftCore {
    /// Role, term and leader as last reported.
    pub fn status(&self) -> Status {
        self.status
    }

    /// The member list in force: that of the last applied entry.
    pub fn members(&self) -> &Members {
        &self.members
    }

    /// The last applied entry.
    pub fn applied(&self) -> Position {
        self.applied
    }

    /// The last entry that this member knows to be committed.
    pub fn commit_index(&self) -> u64 {
        self.node.raft.raft_log.committed
    }

    /// What this member knows to be durable.
    pub fn durable(&self) -> &DurableLog {
        self.node.raft.raft_log.store().durable()
    }

    /// How far everybody in the list is, voters first; empty unless this member leads, since only
    /// a leader knows.
    pub fn progress(&self) -> Vec<MemberProgress> {
        if self.status.role != Role::Leader {
            return Vec::new();
        }
        let (reach, now) = (self.reach(), self.now.mono);
        let of = |raft_id: u64, is_voter: bool| {
            let is_self = raft_id == self.config.raft_id;
            let own = self.node.raft.raft_log.persisted;
            let matched = if is_self { own } else { reach.get(&raft_id).map_or(0, |r| r.matched) };
            let is_active = is_self || self.watch.is_heard(now, raft_id);
            MemberProgress { raft_id, matched, is_active, is_voter }
        };
        let voters = self.members.voters.iter().map(|id| of(*id, true));
        voters.chain(self.members.learners.iter().map(|id| of(*id, false))).collect()
    }

    #[cfg(feature = "seeded-bugs")]
    pub(super) fn has_bug(&self, bug: SeededBug) -> bool {
        self.config.seeded_bug == Some(bug)
    }
}

impl fmt::Debug for RaftCore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RaftCore")
            .field("raft_id", &self.config.raft_id)
            .field("status", &self.status)
            .field("members", &self.members)
            .field("applied", &self.applied)
            .finish_non_exhaustive()
    }
}

pub(super) fn status_of(node: &RawNode<Log>) -> Status {
    let role = match node.raft.state {
        StateRole::Follower => Role::Follower,
        StateRole::PreCandidate => Role::PreCandidate,
        StateRole::Candidate => Role::Candidate,
        StateRole::Leader => Role::Leader,
    };
    let leader = Some(node.raft.leader_id).filter(|id| *id != raft::INVALID_ID);
    Status { role, term: node.raft.term, leader }
}
