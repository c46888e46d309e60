//! The leader makes the member list follow the roster, one change at a time.

use std::collections::BTreeMap;

use raft::{ProgressState, StateRole};

use super::RaftCore;
use crate::convert::change_to_pb;
use crate::input::MemberChange;
use crate::membership::watch::Reach;
use crate::membership::{Plan, plan, successor};

/// A member this many entries behind the commit index will have them in a moment.
const LAG_MAX: u64 = 64;

impl RaftCore {
    /// Takes the next step towards the roster if it is time to look. A change under way ends with
    /// its application, which asks for the next look.
    pub(super) fn steer_members(&mut self) {
        let leads = self.node.raft.state == StateRole::Leader;
        if !leads || !self.watch.is_due() || self.node.raft.has_pending_conf() {
            return;
        }
        let now = self.now.mono;
        let may_act = self.watch.begin_look(now);
        let reach = self.reach();
        self.watch.sample(now, &reach);
        let view = self.watch.view(now, self.config.raft_id, &self.members, &reach);
        match plan(&view) {
            Plan::Settled => self.watch.settle(),
            Plan::Change(change) if may_act => {
                if !self.propose_members(change) {
                    self.watch.wait(now);
                }
            }
            Plan::HandOver(to) if may_act => {
                self.node.transfer_leader(to);
                self.watch.note_hand_over(now);
            }
            Plan::Wait | Plan::Change(_) | Plan::HandOver(_) => self.watch.wait(now),
        }
    }

    /// Notes at each tick who is caught up, while somebody waits for it.
    pub(super) fn sample_members(&mut self) {
        if self.node.raft.state == StateRole::Leader && self.watch.is_unsettled() {
            let reach = self.reach();
            self.watch.sample(self.now.mono, &reach);
        }
    }

    /// Hands leadership to the voter that can take over soonest, if there is one.
    pub(super) fn hand_over(&mut self) {
        if self.node.raft.state != StateRole::Leader {
            return;
        }
        let reach = self.reach();
        let now = self.now.mono;
        let view = self.watch.view(now, self.config.raft_id, &self.members, &reach);
        if let Some(to) = successor(&view) {
            self.node.transfer_leader(to);
            self.watch.note_hand_over(now);
        }
    }

    /// Proposes a change of the member list; `false` if it was not taken.
    pub(super) fn propose_members(&mut self, change: MemberChange) -> bool {
        self.is_possible(change)
            && self.node.propose_conf_change(Vec::new(), change_to_pb(change)).is_ok()
    }

    /// Whether the library takes the change: it would replace one that comes too early by an empty
    /// entry, and panic when some others are applied.
    pub(super) fn is_possible(&self, change: MemberChange) -> bool {
        let takes_vote = match change {
            MemberChange::AddVoter(_) => false,
            MemberChange::AddLearner(id) | MemberChange::Remove(id) => {
                self.members.voters == [id] || id == self.config.raft_id
            }
        };
        change.raft_id() != 0 && !self.node.raft.has_pending_conf() && !takes_vote
    }

    /// A leader that just took the vote from itself, by a change that another leader proposed. The
    /// library would go on leading and panic at the next commit.
    pub(super) fn step_down_without_vote(&mut self) {
        let raft = &mut self.node.raft;
        if raft.state == StateRole::Leader && !raft.promotable() {
            raft.become_follower(raft.term, raft::INVALID_ID);
        }
    }

    /// Progress of everybody in the list but this leader.
    pub(super) fn reach(&self) -> BTreeMap<u64, Reach> {
        let log = &self.node.raft.raft_log;
        let last = log.last_index();
        let of = |id: &u64| {
            let progress = self.node.raft.prs().get(*id)?;
            // With nothing left to send, the library leaves a member in the probing state.
            let is_in_touch = match progress.state {
                ProgressState::Replicate => true,
                ProgressState::Probe => progress.matched == last,
                ProgressState::Snapshot => false,
            };
            let is_close = is_in_touch && progress.matched + LAG_MAX >= log.committed;
            Some((*id, Reach { matched: progress.matched, is_close }))
        };
        let all = self.members.voters.iter().chain(&self.members.learners);
        all.filter(|id| **id != self.config.raft_id).filter_map(of).collect()
    }
}
