//! One daemon's state machine, its proposals in flight, and the table of who talks to whom.

use crate::entry::{decode, encode};
use crate::snapshot::decode_state;
use crate::step::{Answer, Delivery, Error, Io, Step, Ticket};
use jaco_kit_core::{Now, OpId, OpIds};
use jaco_model::command::{Command, Envelope};
use jaco_model::event::Event;
use jaco_model::{ErrorCode, Fault, Identity, NodeId, RequestId, WallMs};
use jaco_raft_core::{Committed, Payload, Refusal, Role, Status};
use jaco_scheduler::Dirty;
use jaco_state::{Applied, State};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Who this member is.
#[derive(Clone, Debug)]
pub struct Me {
    /// Identity in the replicated state.
    pub node: NodeId,
    /// Identity in the raft group.
    pub raft_id: u64,
}

/// The pure middle of one daemon.
#[derive(Debug)]
pub struct Member {
    me: Me,
    state: State,
    ops: OpIds,
    pending: BTreeMap<OpId, Origin>,
    /// Upper half of the request ids of this process's own commands; random per start.
    session: u64,
    leads: bool,
    /// The last entry that was durable at the start. An older state must not be shown to anybody:
    /// a reader would miss what was acknowledged, the runtime would take newer containers for
    /// orphans.
    catch_up_to: u64,
}

/// Who waits for a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Scheduler(OpId),
    Runtime(OpId),
    Api(Ticket),
}

impl Member {
    /// A member whose state is that of its newest snapshot, and whose log holds commands up to
    /// `catch_up_to`. `session` is random per start.
    pub fn new(me: Me, state: State, catch_up_to: u64, session: u64) -> Member {
        let (ops, pending) = (OpIds::default(), BTreeMap::new());
        Member { me, state, ops, pending, session, leads: false, catch_up_to }
    }

    /// Whether the state holds everything that was durable at the start.
    pub fn has_caught_up(&self) -> bool {
        self.state.applied_index >= self.catch_up_to
    }

    /// The state as of the last applied entry.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Shows the state as it is; nothing while it is older than what was known before the start.
    pub fn show(&self) -> Vec<Step> {
        self.publish(vec![Event::ClusterChanged])
    }

    /// Asserts the invariants of the state machine.
    pub fn check_invariants(&self) {
        debug_assert!(self.state.check().is_ok(), "{:?}", self.state.check());
    }

    /// A command of the API.
    pub fn submit(&mut self, ticket: Ticket, envelope: &Envelope) -> Vec<Step> {
        self.propose(Origin::Api(ticket), envelope)
    }

    /// An effect of the scheduler.
    pub fn from_scheduler(&mut self, now: Now, effect: jaco_scheduler::Effect) -> Vec<Step> {
        let jaco_scheduler::Effect::Propose { op, command } = effect;
        self.propose_own(now, Origin::Scheduler(op), command)
    }

    /// An effect of the runtime core.
    pub fn from_runtime(&mut self, now: Now, effect: jaco_runtime_core::Effect) -> Vec<Step> {
        match effect {
            jaco_runtime_core::Effect::Propose { op, command } => {
                self.propose_own(now, Origin::Runtime(op), command)
            }
            other => vec![Step::Io(Io::Runtime(other))],
        }
    }

    /// An effect of the raft core.
    pub fn from_raft(&mut self, effect: jaco_raft_core::Effect) -> Vec<Step> {
        use jaco_raft_core::Effect;
        match effect {
            Effect::Persist(batch) => vec![Step::Io(Io::Persist(batch))],
            Effect::Send(messages) => vec![Step::Io(Io::Send(messages))],
            Effect::Restore { at, data, .. } => self.restore(at.index, &data),
            Effect::Apply(entries) => self.apply(entries),
            Effect::TakeSnapshot { at, members } => {
                let state = Arc::new(self.state.clone());
                vec![Step::Io(Io::EncodeSnapshot { at, members, state })]
            }
            Effect::LoadSnapshot(at) => vec![Step::Io(Io::LoadSnapshot(at))],
            Effect::Failed { op, why } => self.failed(op, why).into_iter().collect(),
            Effect::RoleChanged(status) => self.role_changed(status),
            Effect::PeerViolation { from, what } => vec![Step::Io(Io::Violation { from, what })],
            Effect::Fatal(error) => vec![Step::Io(Io::Fatal(Error::Raft(error)))],
        }
    }

    /// A command of this process: stamped and named here.
    fn propose_own(&mut self, now: Now, origin: Origin, command: Command) -> Vec<Step> {
        let serial = self.ops.next_id().0;
        let envelope = Envelope {
            request_id: RequestId(u128::from(self.session) << 64 | u128::from(serial)),
            at: WallMs(now.wall.0),
            identity: Identity::from("system"),
            os_user: None,
            command,
        };
        self.propose(origin, &envelope)
    }

    fn propose(&mut self, origin: Origin, envelope: &Envelope) -> Vec<Step> {
        match encode(envelope) {
            Ok(data) => {
                let op = self.ops.next_id();
                self.pending.insert(op, origin);
                vec![deliver(Delivery::Raft(jaco_raft_core::Input::Propose { op, data }))]
            }
            Err(error) => {
                let message = format!("the command does not encode: {error}");
                vec![answer(origin, Err(Fault::new(ErrorCode::Internal, message)))]
            }
        }
    }

    /// A proposal that was not committed, or of which nobody knows.
    fn failed(&mut self, op: OpId, why: Refusal) -> Option<Step> {
        let origin = self.pending.remove(&op)?;
        Some(answer(origin, Err(self.refusal(why))))
    }

    fn refusal(&self, why: Refusal) -> Fault {
        match why {
            Refusal::NotLeader { leader } => {
                let fault = Fault::new(ErrorCode::NoLeader, "an election is under way")
                    .with("retry_after", 1);
                match leader.and_then(|id| self.node_of(id)) {
                    Some(node) => fault.with("leader", node),
                    None => fault,
                }
            }
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

    fn node_of(&self, raft_id: u64) -> Option<&NodeId> {
        self.state.nodes.values().find(|node| node.raft_id == raft_id).map(|node| &node.id)
    }

    fn role_changed(&mut self, status: Status) -> Vec<Step> {
        let mut steps = Vec::new();
        let leads = status.role == Role::Leader;
        if leads != self.leads {
            self.leads = leads;
            let input = jaco_scheduler::Input::Leadership(leads);
            steps.push(deliver(Delivery::Scheduler(input)));
        }
        let leader = match status.leader {
            Some(id) if id == self.me.raft_id => Some(self.me.node.clone()),
            Some(id) => self.node_of(id).cloned(),
            None => None,
        };
        steps.push(Step::Io(Io::PublishLeader(leader)));
        steps
    }

    /// Replaces the whole state by a snapshot of the leader.
    fn restore(&mut self, index: u64, data: &[u8]) -> Vec<Step> {
        match decode_state(index, data) {
            Ok(state) => {
                self.state = state;
                self.catch_up_to = 0;
                self.publish(vec![Event::ClusterChanged])
            }
            Err(error) => vec![Step::Io(Io::Fatal(error))],
        }
    }

    /// Applies committed entries in order, answers those that wait, and shows the new state.
    fn apply(&mut self, entries: Vec<Committed>) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut events = Vec::new();
        for Committed { index, op, payload, .. } in entries {
            let Payload::Command(data) = payload else {
                self.state.applied_index = index;
                continue;
            };
            let envelope = match decode(&data) {
                Ok(envelope) => envelope,
                Err(source) => {
                    steps.push(Step::Io(Io::Fatal(Error::Decode { index, source })));
                    return steps;
                }
            };
            let is_replayed = !self.has_caught_up();
            let Applied { result, events: changed } =
                jaco_state::apply(&mut self.state, index, &envelope);
            // What is replayed was news in an earlier life.
            events.extend(changed.into_iter().filter(|_| !is_replayed));
            if is_replayed && self.has_caught_up() {
                events.push(Event::ClusterChanged);
            }
            if let Some(origin) = op.and_then(|op| self.pending.remove(&op)) {
                steps.push(answer(origin, result));
            }
        }
        // Whoever asked sees the new state before the answer.
        let mut all = self.publish(events);
        all.append(&mut steps);
        all
    }

    fn publish(&self, events: Vec<Event>) -> Vec<Step> {
        if !self.has_caught_up() {
            return Vec::new();
        }
        let state = Arc::new(self.state.clone());
        let dirty = dirty(&events);
        vec![
            Step::Io(Io::Publish { state: state.clone(), events }),
            deliver(Delivery::Scheduler(jaco_scheduler::Input::StateChanged {
                state: state.clone(),
                dirty,
            })),
            deliver(Delivery::Runtime(jaco_runtime_core::Input::StateChanged(state))),
        ]
    }
}

fn deliver(delivery: Delivery) -> Step {
    Step::Deliver(Box::new(delivery))
}

/// The outcome of a proposal, for whoever waits for it.
fn answer(origin: Origin, answer: Answer) -> Step {
    match origin {
        Origin::Scheduler(op) => deliver(Delivery::Scheduler(jaco_scheduler::Input::Proposed {
            op,
            result: answer.map(|_| ()),
        })),
        Origin::Runtime(op) => deliver(Delivery::Runtime(jaco_runtime_core::Input::Proposed {
            op,
            result: answer.map(|_| ()),
        })),
        Origin::Api(ticket) => Step::Io(Io::Answer { ticket, answer }),
    }
}

/// Which deployments the scheduler must look at again.
fn dirty(events: &[Event]) -> Dirty {
    let mut deployments = BTreeSet::new();
    for event in events {
        match event {
            Event::ClusterChanged | Event::NodeChanged(_) => return Dirty::All,
            Event::DeploymentChanged(name) => {
                deployments.insert(name.clone());
            }
            // Both come together with a change of their deployment.
            Event::InstanceChanged { .. } | Event::Audited(_) | Event::Dropped { .. } => {}
        }
    }
    Dirty::Deployments(deployments)
}
