//! Inputs into the raft node: checked here, since the library forwards, drops or panics instead.

use std::sync::Arc;

use jaco_kit_core::OpId;
use raft::eraftpb::Message;
use raft::{SnapshotStatus, StateRole};

use super::RaftCore;
use crate::batch::SnapshotFile;
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
            Input::Roster(roster) => self.watch.set_roster(self.now.mono, roster),
            Input::ReadIndex { op } => self.read_index(op, out),
            Input::TransferLeadership => self.hand_over(),
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
        } else if self.node.raft.lead_transferee.is_some() {
            // Somebody else is about to lead.
            Refusal::NotLeader { leader: None }
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
            Refusal::Membership
        } else if self.propose_members(change) {
            return self.track(op);
        } else {
            Refusal::Overloaded
        };
        out.push(Effect::Failed { op, why: refusal });
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
        if self.node.raft.state == StateRole::Leader && self.node.raft.prs().get(from).is_some() {
            self.watch.hear(self.now.mono, from);
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
