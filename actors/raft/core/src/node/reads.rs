//! Linearizable reads: a majority confirms the leadership, the state machine catches up, then the
//! answer goes out.

use jaco_kit_core::OpId;
use raft::{ReadState, StateRole};

use super::RaftCore;
use crate::effect::{Effect, Refusal};
#[cfg(feature = "seeded-bugs")]
use crate::seeded::SeededBug;

impl RaftCore {
    pub(super) fn read_index(&mut self, op: OpId, out: &mut Vec<Effect>) {
        let why = if self.node.raft.state != StateRole::Leader {
            Refusal::NotLeader { leader: self.status.leader }
        } else if self.reads.len() >= self.config.limits.queue_len_max {
            Refusal::Overloaded
        } else {
            return self.reads.insert(self.now.mono, op);
        };
        out.push(Effect::Failed { op, why });
    }

    /// Asks what is open. Before this leader has committed an entry of its term it does not know
    /// what is committed, and the library drops the question: it waits.
    pub(super) fn ask_reads(&mut self) {
        #[cfg(feature = "seeded-bugs")]
        if self.has_bug(SeededBug::LeaseReads) && self.node.raft.in_lease() {
            let committed = self.node.raft.raft_log.committed;
            for context in self.reads.ask(self.node.raft.term) {
                self.reads.confirm(&context, committed);
            }
            return;
        }
        let raft = &self.node.raft;
        if raft.state == StateRole::Leader && raft.commit_to_current_term() {
            for context in self.reads.ask(raft.term) {
                self.node.read_index(context);
            }
        }
    }

    pub(super) fn confirm_reads(&mut self, states: Vec<ReadState>) {
        for ReadState { index, request_ctx } in states {
            self.reads.confirm(&request_ctx, index);
        }
    }

    /// Answers those that the effects so far bring the state machine to.
    pub(super) fn answer_reads(&mut self, out: &mut Vec<Effect>) {
        let answered = self.reads.answer(self.applied.index);
        out.extend(answered.into_iter().map(|(op, index)| Effect::ReadReady { op, index }));
    }

    /// Ends those that have waited for too long.
    pub(super) fn expire_reads(&mut self, out: &mut Vec<Effect>) {
        let why = Refusal::Unknown;
        out.extend(self.reads.pass(self.now.mono).into_iter().map(|op| Effect::Failed { op, why }));
    }
}
