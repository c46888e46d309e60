//! One daemon's state machine, its proposals in flight, and the table of who talks to whom.

use crate::certificates::Certificates;
use crate::diverge::Checkpoints;
use crate::entry::decode;
use crate::overlay::Overlay;
use crate::propose::Origin;
use crate::reads::{CatchUp, LEADER_WAIT, Reader};
use crate::snapshot::decode_state;
use crate::step::{Answer, Delivery, Error, Io, Step, Ticket};
use jaco_kit_core::{Mono, Now, OpId, OpIds};
use jaco_model::NodeId;
use jaco_model::event::Event;
use jaco_raft_core::{Committed, Members, Payload, Role, Status};
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

/// What a member knows at its start.
#[derive(Debug)]
pub struct Start {
    /// The state of its newest snapshot; the default for a newcomer.
    pub state: State,
    /// The member list of that snapshot.
    pub members: Members,
    /// The last entry of its log that says something.
    pub last_index: u64,
    /// Whether nobody else votes, by its whole log and not by the snapshot alone.
    pub is_only_voter: bool,
    /// Random per start.
    pub session: u64,
}

/// The pure middle of one daemon.
#[derive(Debug)]
pub struct Member {
    pub(crate) me: Me,
    pub(crate) state: State,
    /// The member list of the raft group at the last applied entry.
    pub(crate) members: Members,
    pub(crate) ops: OpIds,
    pub(crate) pending: BTreeMap<OpId, Origin>,
    /// Answers of the leader that wait until their entry is applied here, by its index.
    pub(crate) behind: BTreeMap<u64, Vec<(Origin, Answer)>>,
    pub(crate) reads: BTreeMap<OpId, Reader>,
    /// Reads that wait until as much is applied here, by index.
    pub(crate) late_reads: BTreeMap<u64, Vec<Ticket>>,
    /// Upper half of the request ids of this process's own commands.
    pub(crate) session: u64,
    pub(crate) leads: bool,
    /// The leader's raft id.
    pub(crate) leader: Option<u64>,
    pub(crate) leaderless_since: Option<Mono>,
    /// An older state must not be shown to anybody: a reader would miss what was acknowledged, the
    /// runtime would take newer containers for orphans.
    pub(crate) catch_up: CatchUp,
    /// The state is shown although it may be older than what was acknowledged.
    pub(crate) is_doubted: bool,
    pub(crate) started: Mono,
    pub(crate) suspects: BTreeSet<NodeId>,
    /// Removals whose end is being written.
    pub(crate) forgetting: BTreeSet<NodeId>,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) certificates: Certificates,
    pub(crate) overlay: Overlay,
}

impl Member {
    /// A member that goes on from what its disk holds.
    ///
    /// A sole voter knows by itself what was acknowledged: its whole log. Others ask the leader.
    pub fn new(now: Now, me: Me, start: Start) -> Member {
        let Start { state, members, last_index, is_only_voter, session } = start;
        let catch_up = if is_only_voter {
            CatchUp::Until(last_index)
        } else {
            CatchUp::Asking { asked: false, at: now.mono.plus(LEADER_WAIT) }
        };
        Member {
            me,
            state,
            members,
            ops: OpIds::default(),
            pending: BTreeMap::new(),
            behind: BTreeMap::new(),
            reads: BTreeMap::new(),
            late_reads: BTreeMap::new(),
            session,
            leads: false,
            leader: None,
            leaderless_since: Some(now.mono),
            catch_up,
            is_doubted: false,
            started: now.mono,
            suspects: BTreeSet::new(),
            forgetting: BTreeSet::new(),
            checkpoints: Checkpoints::default(),
            certificates: Certificates::default(),
            overlay: Overlay::default(),
        }
    }

    /// Whether the state is shown: it holds everything that was acknowledged before the start, or
    /// nobody could say for long what that is.
    pub fn has_caught_up(&self) -> bool {
        if self.is_doubted {
            return true;
        }
        match self.catch_up {
            CatchUp::Until(index) => self.state.applied_index >= index,
            CatchUp::Asking { .. } => false,
            CatchUp::Done => true,
        }
    }

    /// The state as of the last applied entry.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The member list of the raft group as of the last applied entry.
    pub fn members(&self) -> &Members {
        &self.members
    }

    /// Shows the state as it is; the transport and raft also learn the members of a state that is
    /// too old for everyone else, since they are the way to a newer one. Says who leads, too, for a
    /// core that was just built.
    pub fn show(&mut self) -> Vec<Step> {
        let mut steps = vec![
            deliver(Delivery::Scheduler(jaco_scheduler::Input::Leadership(self.leads))),
            deliver(Delivery::Liveness(jaco_liveness_core::Input::Leadership(self.leads))),
            deliver(Delivery::Liveness(jaco_liveness_core::Input::Applied(
                self.state.applied_index,
            ))),
        ];
        steps.extend(self.show_mesh());
        steps.extend(self.show_isolation());
        steps.extend(self.show_seats());
        steps.push(self.show_term());
        steps.extend(self.publish(vec![Event::ClusterChanged]));
        if !self.state.nodes.is_empty() {
            steps.extend(self.show_members());
        }
        steps
    }

    /// Asserts the invariants of the state machine.
    pub fn check_invariants(&self) {
        debug_assert!(self.state.check().is_ok(), "{:?}", self.state.check());
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
            jaco_runtime_core::Effect::Seated(seats) => self.seated(seats),
            other => vec![Step::Io(Io::Runtime(other))],
        }
    }

    /// An effect of the liveness core.
    pub fn from_liveness(&mut self, now: Now, effect: jaco_liveness_core::Effect) -> Vec<Step> {
        match effect {
            jaco_liveness_core::Effect::Probe { op, peer, word } => {
                vec![Step::Io(Io::Probe { op, to: peer, word: self.with_checkpoint(word) })]
            }
            jaco_liveness_core::Effect::Suspects(suspects) => {
                self.suspects.clone_from(&suspects);
                let suspected = jaco_netmesh_core::Input::Suspected(suspects.clone());
                let silent = jaco_dns_core::Input::Suspects(suspects.clone());
                let avoided = jaco_ingress_core::Input::Suspects(suspects.clone());
                vec![
                    deliver(Delivery::Netmesh(suspected)),
                    deliver(Delivery::Dns(silent)),
                    deliver(Delivery::Ingress(avoided)),
                    Step::Io(Io::PublishSuspects(suspects)),
                ]
            }
            jaco_liveness_core::Effect::Propose { op, command } => {
                self.propose_own(now, Origin::Liveness(op), command)
            }
        }
    }

    /// An effect of the raft core.
    pub fn from_raft(&mut self, now: Now, effect: jaco_raft_core::Effect) -> Vec<Step> {
        use jaco_raft_core::Effect;
        match effect {
            Effect::Persist(batch) => vec![Step::Io(Io::Persist(batch))],
            Effect::Send(messages) => vec![Step::Io(Io::Send(messages))],
            Effect::Restore { at, members, data } => self.restore(at.index, members, &data),
            Effect::Apply(entries) => self.apply(now, entries),
            Effect::TakeSnapshot { at, members } => {
                let state = Arc::new(self.state.clone());
                vec![Step::Io(Io::EncodeSnapshot { at, members, state })]
            }
            Effect::LoadSnapshot(at) => vec![Step::Io(Io::LoadSnapshot(at))],
            Effect::Failed { op, why } => self.failed(now, op, why),
            Effect::ReadReady { op, .. } => {
                let mut steps = self.read_led(op);
                // It may have been the question of a leader that was just started.
                steps.extend(self.forget_removed(now));
                steps
            }
            Effect::RoleChanged(status) => self.role_changed(now, status),
            Effect::PeerViolation { from, what } => vec![Step::Io(Io::Violation { from, what })],
            Effect::Fatal(error) => vec![Step::Io(Io::Fatal(Error::Raft(error)))],
        }
    }

    pub(crate) fn node_of(&self, raft_id: u64) -> Option<&NodeId> {
        self.state.nodes.values().find(|node| node.raft_id == raft_id).map(|node| &node.id)
    }

    fn role_changed(&mut self, now: Now, status: Status) -> Vec<Step> {
        let mut steps = Vec::new();
        let leads = status.role == Role::Leader;
        if leads != self.leads {
            self.leads = leads;
            let input = jaco_scheduler::Input::Leadership(leads);
            steps.push(deliver(Delivery::Scheduler(input)));
            let input = jaco_liveness_core::Input::Leadership(leads);
            steps.push(deliver(Delivery::Liveness(input)));
        }
        steps.extend(self.led_in(leads.then_some(status.term)));
        if status.leader != self.leader {
            self.leader = status.leader;
            self.leaderless_since = status.leader.is_none().then_some(now.mono);
        }
        steps.extend(self.ask_to_catch_up(now));
        steps.extend(self.forget_removed(now));
        steps.push(self.publish_leader());
        steps
    }

    fn publish_leader(&self) -> Step {
        let leader = match self.leader {
            Some(id) if id == self.me.raft_id => Some(self.me.node.clone()),
            Some(id) => self.node_of(id).cloned(),
            None => None,
        };
        Step::Io(Io::PublishLeader(leader))
    }

    /// Replaces the whole state by a snapshot of the leader.
    fn restore(&mut self, index: u64, members: Members, data: &[u8]) -> Vec<Step> {
        match decode_state(index, data) {
            Ok(state) => {
                self.state = state;
                self.members = members;
                let mut steps = self.settle_catch_up();
                if steps.is_empty() {
                    steps = self.show();
                }
                // The leader may have been a number without a name until now.
                steps.push(self.publish_leader());
                steps.extend(self.settle_waiting());
                steps
            }
            Err(error) => vec![Step::Io(Io::Fatal(error))],
        }
    }

    /// Applies committed entries in order, answers those that wait, and shows the new state.
    fn apply(&mut self, now: Now, entries: Vec<Committed>) -> Vec<Step> {
        let mut answers = Vec::new();
        let mut events = Vec::new();
        let was_shown = self.has_caught_up();
        for Committed { index, op, payload, .. } in entries {
            self.checkpoint_before(index);
            let data = match payload {
                Payload::Command(data) => data,
                Payload::Members(members) => {
                    events.extend(jaco_state::apply_members(
                        &mut self.state,
                        index,
                        &members.voters,
                    ));
                    self.members = members;
                    self.checkpoint_after(index);
                    continue;
                }
            };
            let envelope = match decode(&data) {
                Ok(envelope) => envelope,
                Err(source) => {
                    return vec![Step::Io(Io::Fatal(Error::Decode { index, source }))];
                }
            };
            let Applied { result, events: changed } =
                jaco_state::apply(&mut self.state, index, &envelope);
            events.extend(changed);
            self.checkpoint_after(index);
            if let Some(origin) = op.and_then(|op| self.pending.remove(&op)) {
                answers.extend(self.answer(origin, index, result));
            }
        }
        let mut steps = self.show_members_after(&events);
        // What is replayed was news in an earlier life; it is shown once, as a whole.
        if was_shown {
            steps.extend(self.publish(events));
        }
        steps.extend(self.settle_catch_up());
        if self.state.nodes.len() > 1 {
            let index = self.state.applied_index;
            steps.push(deliver(Delivery::Liveness(jaco_liveness_core::Input::Applied(index))));
        }
        // Whoever asked sees the new state before the answer.
        steps.append(&mut answers);
        steps.extend(self.settle_waiting());
        steps.extend(self.forget_removed(now));
        steps
    }

    /// Answers those who waited for what is applied now.
    fn settle_waiting(&mut self) -> Vec<Step> {
        let later = self.behind.split_off(&self.state.applied_index.saturating_add(1));
        let due = std::mem::replace(&mut self.behind, later);
        let mut steps = Vec::new();
        for (index, answers) in due {
            for (origin, result) in answers {
                steps.extend(self.answer(origin, index, result));
            }
        }
        steps.extend(self.settle_reads());
        steps
    }

    /// Tells of the members when `events` concern them, also while the state is too old to be shown
    /// to anybody else: without its peers it would stay so.
    fn show_members_after(&self, events: &[Event]) -> Vec<Step> {
        let concerned = events
            .iter()
            .any(|event| matches!(event, Event::ClusterChanged | Event::NodeChanged(_)));
        // A node on its way out leaves once its last instance has.
        let drains = self.state.nodes.values().any(|node| node.leaving.is_some());
        if concerned || drains { self.show_members() } else { Vec::new() }
    }

    fn publish(&mut self, events: Vec<Event>) -> Vec<Step> {
        if !self.has_caught_up() {
            return Vec::new();
        }
        let state = Arc::new(self.state.clone());
        let dirty = dirty(&events);
        let network = self.show_network(&state, &events);
        let mut steps = vec![
            Step::Io(Io::Publish { state: state.clone(), events }),
            deliver(Delivery::Scheduler(jaco_scheduler::Input::StateChanged {
                state: state.clone(),
                dirty,
            })),
            deliver(Delivery::Runtime(jaco_runtime_core::Input::StateChanged(state))),
        ];
        steps.extend(network);
        steps
    }
}

pub(crate) fn deliver(delivery: Delivery) -> Step {
    Step::Deliver(Box::new(delivery))
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
            Event::InstanceChanged { .. }
            | Event::CertificateChanged { .. }
            | Event::Audited(_)
            | Event::Dropped { .. } => {}
        }
    }
    Dirty::Deployments(deployments)
}
