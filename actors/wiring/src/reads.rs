//! Reads that see everything acknowledged before them, and the catching up after a start.
//!
//! Both ask the leader how far the log is and wait until as much is applied here.

use crate::member::{Member, deliver};
use crate::step::{Delivery, Io, Step, Ticket};
use jaco_kit_core::{Mono, Now, OpId};
use jaco_model::{Fault, NodeId};
use std::time::Duration;

/// Who asks how far the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    /// A call, of the API or of a peer.
    Call(Ticket),
    /// This member, which shows nothing old after a start.
    CatchUp,
}

/// How much a member knows again of what it knew before it was restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CatchUp {
    /// Nothing is shown before that index is applied.
    Until(u64),
    /// Nothing is shown before a leader has said how far the log is.
    Asking {
        /// Whether the question is under way.
        asked: bool,
        /// When to ask again, or to give up waiting for a leader.
        at: Mono,
    },
    /// The state holds what was acknowledged.
    Done,
}

/// Pause after a question that failed.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// How long a start waits for a leader. Then the state of this node's own log is shown, as one that
/// may be old: what it wants is started, what it does not know is left alone.
pub(crate) const LEADER_WAIT: Duration = Duration::from_secs(30);

/// Tells those who remove what a state does not know whether what they are shown may be older than
/// what was acknowledged.
fn doubted(is_doubted: bool) -> [Step; 2] {
    [
        deliver(Delivery::Runtime(jaco_runtime_core::Input::Doubted(is_doubted))),
        deliver(Delivery::Netmesh(jaco_netmesh_core::Input::Doubted(is_doubted))),
    ]
}

impl Member {
    /// A read of the API that must see everything acknowledged before it. Answered by `AnswerRead`.
    pub fn read(&mut self, now: Now, ticket: Ticket) -> Vec<Step> {
        self.ask(now, Reader::Call(ticket))
    }

    /// The same question of another member, which takes this one for the leader.
    pub fn read_forwarded(&mut self, ticket: Ticket) -> Vec<Step> {
        if self.leads {
            return self.ask_raft(Reader::Call(ticket));
        }
        let result = Err(self.no_leader());
        vec![Step::Io(Io::AnswerRead { ticket, result })]
    }

    /// What the leader said.
    pub fn read_answered(&mut self, now: Now, op: OpId, result: Result<u64, Fault>) -> Vec<Step> {
        match result {
            Ok(index) => self.read_ready(op, index),
            Err(fault) => self.read_failed(now, op, fault),
        }
    }

    fn ask(&mut self, now: Now, reader: Reader) -> Vec<Step> {
        if self.leads {
            return self.ask_raft(reader);
        }
        let Some(to) = self.leader_elsewhere() else {
            let fault = self.leaderless(now);
            return self.read_refused(now, reader, fault);
        };
        let op = self.ops.next_id();
        self.reads.insert(op, reader);
        vec![Step::Io(Io::AskRead { op, to })]
    }

    fn ask_raft(&mut self, reader: Reader) -> Vec<Step> {
        let op = self.ops.next_id();
        self.reads.insert(op, reader);
        vec![deliver(Delivery::Raft(jaco_raft_core::Input::ReadIndex { op }))]
    }

    /// The raft core of the leader answered: everything acknowledged before is applied here. The
    /// index is that of the last entry that says anything, since others never show elsewhere.
    pub(crate) fn read_led(&mut self, op: OpId) -> Vec<Step> {
        self.read_ready(op, self.state.applied_index)
    }

    /// The log was at `index` after the question.
    fn read_ready(&mut self, op: OpId, index: u64) -> Vec<Step> {
        match self.reads.remove(&op) {
            Some(Reader::CatchUp) => self.catch_up_until(index),
            Some(Reader::Call(ticket)) if index > self.state.applied_index => {
                self.late_reads.entry(index).or_default().push(ticket);
                Vec::new()
            }
            Some(Reader::Call(ticket)) => {
                vec![Step::Io(Io::AnswerRead { ticket, result: Ok(index) })]
            }
            None => Vec::new(),
        }
    }

    pub(crate) fn read_failed(&mut self, now: Now, op: OpId, fault: Fault) -> Vec<Step> {
        match self.reads.remove(&op) {
            Some(reader) => self.read_refused(now, reader, fault),
            None => Vec::new(),
        }
    }

    fn read_refused(&mut self, now: Now, reader: Reader, fault: Fault) -> Vec<Step> {
        match reader {
            Reader::Call(ticket) => {
                vec![Step::Io(Io::AnswerRead { ticket, result: Err(fault) })]
            }
            Reader::CatchUp => {
                if let CatchUp::Asking { asked, at } = &mut self.catch_up {
                    (*asked, *at) = (false, now.mono.plus(ASK_AGAIN));
                }
                Vec::new()
            }
        }
    }

    /// Asks on behalf of the start, when there is somebody to ask.
    pub(crate) fn ask_to_catch_up(&mut self, now: Now) -> Vec<Step> {
        let CatchUp::Asking { asked: false, .. } = self.catch_up else { return Vec::new() };
        if self.leader.is_none() {
            return Vec::new();
        }
        self.catch_up = CatchUp::Asking { asked: true, at: now.mono.plus(LEADER_WAIT) };
        self.ask(now, Reader::CatchUp)
    }

    /// When to call [`Member::wake`].
    pub fn deadline(&self) -> Option<Mono> {
        match self.catch_up {
            CatchUp::Asking { at, .. } => Some(at),
            CatchUp::Until(_) | CatchUp::Done => None,
        }
    }

    /// Called once [`Member::deadline`] has passed.
    pub fn wake(&mut self, now: Now) -> Vec<Step> {
        let CatchUp::Asking { at, .. } = self.catch_up else { return Vec::new() };
        if now.mono < at {
            return Vec::new();
        }
        self.catch_up = CatchUp::Asking { asked: false, at: now.mono.plus(ASK_AGAIN) };
        let waited = self.leader.is_none() && now.mono.since(self.started) >= LEADER_WAIT;
        // A newcomer has nothing of its own to show.
        if waited && self.state.cluster.is_some() && !self.is_doubted {
            self.is_doubted = true;
            let mut steps = Vec::from(doubted(true));
            steps.extend(self.show());
            return steps;
        }
        self.ask_to_catch_up(now)
    }

    fn catch_up_until(&mut self, index: u64) -> Vec<Step> {
        self.catch_up = CatchUp::Until(index);
        self.settle_catch_up()
    }

    /// Shows the state for the first time once it is recent enough.
    pub(crate) fn settle_catch_up(&mut self) -> Vec<Step> {
        match self.catch_up {
            CatchUp::Until(index) if self.state.applied_index >= index => {
                self.catch_up = CatchUp::Done;
                let was_doubted = std::mem::take(&mut self.is_doubted);
                let mut steps: Vec<Step> =
                    was_doubted.then(|| doubted(false)).into_iter().flatten().collect();
                steps.extend(self.show());
                steps
            }
            CatchUp::Until(_) | CatchUp::Asking { .. } | CatchUp::Done => Vec::new(),
        }
    }

    /// Answers the reads that waited for what is applied now.
    pub(crate) fn settle_reads(&mut self) -> Vec<Step> {
        let later = self.late_reads.split_off(&self.state.applied_index.saturating_add(1));
        let due = std::mem::replace(&mut self.late_reads, later);
        due.into_iter()
            .flat_map(|(index, tickets)| tickets.into_iter().map(move |ticket| (index, ticket)))
            .map(|(index, ticket)| Step::Io(Io::AnswerRead { ticket, result: Ok(index) }))
            .collect()
    }

    /// The leader, when it is another member.
    pub(crate) fn leader_elsewhere(&self) -> Option<NodeId> {
        let id = self.leader.filter(|id| *id != self.me.raft_id)?;
        self.node_of(id).cloned()
    }
}
