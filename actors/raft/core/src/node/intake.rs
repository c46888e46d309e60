//! Inputs into the raft node: checked here, since the library forwards, drops or panics instead.

use std::sync::Arc;

use jaco_kit_core::OpId;
use raft::eraftpb::Message;
use raft::{SnapshotStatus, StateRole};

use super::RaftCore;
use crate::batch::SnapshotFile;
use crate::convert::change_to_pb;
use crate::durable::Position;
use crate::effect::{Effect, Refusal};
use crate::filter;
use crate::input::{Input, MemberChange};

impl RaftCore {
    /// Feeds one input to the raft node.
    pub(super) fn take(&mut self, input: Input, out: &mut Vec<Effect>) {
        match input {
            Input::Propose { op, data } => self.propose(op, data, out),
            Input::ChangeMembers { op, change } => self.change_members(op, change, out),
            Input::PeerMessage(message) => self.take_message(*message, out),
            Input::PeerUnreachable { peer } => self.node.report_unreachable(peer),
            Input::SnapshotReported { peer, installed } => {
                let status =
                    if installed { SnapshotStatus::Finish } else { SnapshotStatus::Failure };
                self.node.report_snapshot(peer, status);
                self.node.mut_store().set_image(None);
            }
            Input::SnapshotTaken { at, data } => self.take_snapshot(at, data),
            Input::SnapshotFailed { at } => {
                if self.snapshots.end(at).is_some() {
                    self.snapshots.retry();
                }
            }
            Input::SnapshotLoaded { at, data } => {
                if self.snapshots.loading == Some(at) {
                    self.snapshots.loading = None;
                    let is_newest = self.durable().snapshot.at == at;
                    self.node.mut_store().set_image(data.filter(|_| is_newest));
                }
            }
            Input::ReadIndex { op } => {
                let why = Refusal::NotLeader { leader: self.status.leader };
                out.push(Effect::Failed { op, why });
            }
            Input::Roster(_) | Input::TransferLeadership => {}
            // Handled before the queue: it ends the wait that the queue is for.
            Input::Persisted { .. } => {}
        }
    }

    fn propose(&mut self, op: OpId, data: Vec<u8>, out: &mut Vec<Effect>) {
        let refusal = if data.is_empty() || data.len() > self.config.limits.command_max {
            Refusal::Size
        } else if self.node.raft.state != StateRole::Leader {
            // The library would forward it and say nothing of its fate.
            Refusal::NotLeader { leader: self.status.leader }
        } else if self.node.propose(Vec::new(), data).is_ok() {
            return self.track(op);
        } else {
            Refusal::Overloaded
        };
        out.push(Effect::Failed { op, why: refusal });
    }

    fn change_members(&mut self, op: OpId, change: MemberChange, out: &mut Vec<Effect>) {
        let refusal = if self.node.raft.state != StateRole::Leader {
            Refusal::NotLeader { leader: self.status.leader }
        } else if !self.is_possible(change) {
            // The library would replace it by an empty entry, or panic when it is applied.
            Refusal::Membership
        } else if self.node.propose_conf_change(Vec::new(), change_to_pb(change)).is_ok() {
            return self.track(op);
        } else {
            Refusal::Overloaded
        };
        out.push(Effect::Failed { op, why: refusal });
    }

    fn is_possible(&self, change: MemberChange) -> bool {
        let takes_vote = match change {
            MemberChange::AddVoter(_) => false,
            MemberChange::AddLearner(id) | MemberChange::Remove(id) => {
                self.members.voters == [id] || id == self.config.raft_id
            }
        };
        change.raft_id() != 0 && !self.node.raft.has_pending_conf() && !takes_vote
    }

    /// The leader has just appended the proposal as its last entry.
    fn track(&mut self, op: OpId) {
        let at =
            Position { index: self.node.raft.raft_log.last_index(), term: self.node.raft.term };
        self.proposals.insert(at, op);
    }

    fn take_message(&mut self, message: Message, out: &mut Vec<Effect>) {
        let from = message.from;
        if let Err(what) = filter::check(&message, &self.node.raft) {
            out.push(Effect::PeerViolation { from, what });
            return;
        }
        // The only error left is a response from somebody who is no longer a member.
        drop(self.node.step(message));
    }

    fn take_snapshot(&mut self, at: Position, data: Arc<Vec<u8>>) {
        if let Some(meta) = self.snapshots.end(at) {
            self.snapshots.taken = Some(SnapshotFile { meta, data });
        }
    }
}
