//! Commands on their way into the log: here, or through the leader.

use crate::entry::{decode, encode};
use crate::member::{Member, deliver};
use crate::permit;
use crate::step::{Answer, Delivery, Io, Step, Ticket};
use jaco_kit_core::{Now, OpId};
use jaco_model::command::{Command, Envelope};
use jaco_model::{ErrorCode, Fault, Identity, NodeId, RequestId, WallMs};
use jaco_raft_core::Refusal;

/// Who waits for a proposal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Scheduler(OpId),
    Runtime(OpId),
    Liveness(OpId),
    Acme(OpId),
    /// The end of a removal, which is looked at again with every change.
    Forget(NodeId),
    /// A line of the audit log: nobody waits, and one that is lost stands in the log of the host.
    Witness,
    /// A call, of the API or of a peer.
    Call(Ticket),
}

impl Member {
    /// A command of the API.
    pub fn submit(&mut self, now: Now, ticket: Ticket, envelope: &Envelope) -> Vec<Step> {
        self.propose(now, Origin::Call(ticket), envelope)
    }

    /// A command that another member hands over because it does not lead. It gets the time of this
    /// member: the clock of one node must not move that of the cluster, or what expires with it.
    pub fn forwarded(&mut self, now: Now, from: &NodeId, ticket: Ticket, data: &[u8]) -> Vec<Step> {
        match self.check_forwarded(from, data) {
            Ok(envelope) => {
                let envelope = Envelope { at: WallMs(now.wall.0), ..envelope };
                self.propose(now, Origin::Call(ticket), &envelope)
            }
            Err(fault) => self.answer(Origin::Call(ticket), 0, Err(fault)),
        }
    }

    fn check_forwarded(&self, from: &NodeId, data: &[u8]) -> Result<Envelope, Fault> {
        let envelope = decode(data).map_err(|error| {
            let message = format!("a forwarded command does not decode: {error}");
            Fault::new(ErrorCode::VersionSkew, message)
        })?;
        permit::check(from, &envelope)?;
        if self.leads { Ok(envelope) } else { Err(self.no_leader()) }
    }

    /// How a command ended that was handed to the leader.
    pub fn forward_answered(
        &mut self,
        op: OpId,
        outcome: Result<(u64, Answer), Fault>,
    ) -> Vec<Step> {
        let Some(origin) = self.pending.remove(&op) else { return Vec::new() };
        match outcome {
            // Whoever asked here must be able to read here what was written there.
            Ok((index, result)) if index > self.state.applied_index => {
                self.behind.entry(index).or_default().push((origin, result));
                Vec::new()
            }
            Ok((index, result)) => self.answer(origin, index, result),
            Err(fault) => self.answer(origin, 0, Err(fault)),
        }
    }

    /// A command of this process: stamped and named here.
    pub(crate) fn propose_own(&mut self, now: Now, origin: Origin, command: Command) -> Vec<Step> {
        let serial = self.ops.next_id().0;
        let envelope = Envelope {
            request_id: RequestId(u128::from(self.session) << 64 | u128::from(serial)),
            at: WallMs(now.wall.0),
            identity: Identity::from(permit::SYSTEM),
            os_user: None,
            command,
        };
        self.propose(now, origin, &envelope)
    }

    fn propose(&mut self, now: Now, origin: Origin, envelope: &Envelope) -> Vec<Step> {
        let data = match encode(envelope) {
            Ok(data) => data,
            Err(error) => {
                let message = format!("the command does not encode: {error}");
                return self.answer(origin, 0, Err(Fault::new(ErrorCode::Internal, message)));
            }
        };
        if self.leads {
            return self.deliver_proposal(origin, data);
        }
        match self.leader_elsewhere() {
            Some(to) => {
                let op = self.ops.next_id();
                self.pending.insert(op, origin);
                vec![Step::Io(Io::Forward { op, to, data })]
            }
            None => {
                let fault = self.leaderless(now);
                self.answer(origin, 0, Err(fault))
            }
        }
    }

    fn deliver_proposal(&mut self, origin: Origin, data: Vec<u8>) -> Vec<Step> {
        let op = self.ops.next_id();
        self.pending.insert(op, origin);
        vec![deliver(Delivery::Raft(jaco_raft_core::Input::Propose { op, data }))]
    }

    /// A proposal that was not committed, or of which nobody knows.
    pub(crate) fn failed(&mut self, now: Now, op: OpId, why: Refusal) -> Vec<Step> {
        if self.reads.contains_key(&op) {
            let fault = self.refusal(why);
            return self.read_failed(now, op, fault);
        }
        let Some(origin) = self.pending.remove(&op) else { return Vec::new() };
        let fault = self.refusal(why);
        self.answer(origin, 0, Err(fault))
    }

    fn refusal(&self, why: Refusal) -> Fault {
        match why {
            Refusal::NotLeader { .. } => self.no_leader(),
            Refusal::Overloaded => {
                Fault::new(ErrorCode::TooManyRequests, "too many changes wait to be written")
                    .with("retry_after", 1)
            }
            Refusal::Size => {
                Fault::new(ErrorCode::LimitExceeded, "the change is larger than one log entry")
            }
            Refusal::Membership => {
                Fault::new(ErrorCode::Conflict, "another change of the members is under way")
                    .with("operation", "membership")
            }
            Refusal::Unknown => {
                Fault::new(ErrorCode::NoLeader, "it is not known whether the change was written")
                    .with("outcome", "unknown")
                    .with("retry_after", 1)
            }
        }
    }

    /// This member does not lead; it says who does, if it knows.
    pub(crate) fn no_leader(&self) -> Fault {
        let fault =
            Fault::new(ErrorCode::NoLeader, "an election is under way").with("retry_after", 1);
        match self.leader.and_then(|id| self.node_of(id)) {
            Some(node) => fault.with("leader", node),
            None => fault,
        }
    }

    /// Nobody leads: an election, or after a while a majority that cannot be reached.
    pub(crate) fn leaderless(&self, now: Now) -> Fault {
        let since = self.leaderless_since.unwrap_or(now.mono);
        if now.mono.since(since) < QUORUM_LOST_AFTER {
            return self.no_leader();
        }
        let voters = self.state.nodes.values().filter(|node| node.voter).count();
        let reachable = self
            .state
            .nodes
            .values()
            .filter(|node| node.voter && !self.suspects.contains(&node.id))
            .count();
        let needed = voters / 2 + 1;
        let message =
            format!("this side reaches {reachable} of {voters} voters; {needed} are needed");
        Fault::new(ErrorCode::QuorumLost, message)
            .with("reachable", reachable)
            .with("needed", needed)
            .with("hint", "bring the missing nodes back; running containers are not affected")
    }

    /// Hands the outcome of a command to whoever waits for it.
    pub(crate) fn answer(&mut self, origin: Origin, index: u64, answer: Answer) -> Vec<Step> {
        let result = |answer: Answer| answer.map(|_| ());
        vec![match origin {
            Origin::Scheduler(op) => {
                let result = result(answer);
                deliver(Delivery::Scheduler(jaco_scheduler::Input::Proposed { op, result }))
            }
            Origin::Runtime(op) => {
                let result = result(answer);
                deliver(Delivery::Runtime(jaco_runtime_core::Input::Proposed { op, result }))
            }
            Origin::Liveness(op) => {
                let result = result(answer);
                deliver(Delivery::Liveness(jaco_liveness_core::Input::Proposed { op, result }))
            }
            Origin::Acme(op) => {
                let result = result(answer);
                deliver(Delivery::Acme(jaco_ingress_core::acme::Input::Proposed { op, result }))
            }
            Origin::Forget(node) => {
                self.forgetting.remove(&node);
                return Vec::new();
            }
            Origin::Witness => return Vec::new(),
            Origin::Call(ticket) => Step::Io(Io::Answer { ticket, index, answer }),
        }]
    }
}

/// How long nobody leads until it is no election any more.
const QUORUM_LOST_AFTER: std::time::Duration = std::time::Duration::from_secs(10);
