//! [`Scheduler`]: when a pass runs, and what becomes of its proposals.
//!
//! Changes are gathered for 50 ms, at most for 1 s. A pass starts only when everything proposed
//! before was answered and the state has moved on, so that no decision is taken twice. Without
//! anything unsettled there is no timer but that of addresses that nobody uses any more: an idle
//! cluster neither wakes nor writes.

use crate::memory::Memory;
use crate::pass::{Plan, plan};
use crate::releases::Releases;
use crate::{Dirty, Effect, Input};
use jaco_kit_core::{Backoff, Core, Mono, Now, OpId, OpIds};
use jaco_model::command::Command;
use jaco_model::entity::Ipam;
use jaco_model::{DeploymentName, Fault, Revision};
use jaco_state::State;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Quiet time after a change before a pass looks at it, and the longest wait in a steady stream.
const DEBOUNCE: Duration = Duration::from_millis(50);
const DEBOUNCE_MAX: Duration = Duration::from_secs(1);

/// How often unsettled deployments are looked at without being told.
const SAFETY_TICK: Duration = Duration::from_secs(30);

/// Steps in one command; a larger pass goes on once the first part is applied.
const STEPS_MAX: usize = 500;

/// Waits after a refused proposal.
const RETRY_FIRST: Duration = Duration::from_millis(250);
const RETRY_LIMIT: Duration = Duration::from_secs(10);

/// Decides what runs where. Only the leader's one acts.
#[derive(Debug)]
pub struct Scheduler {
    leader: bool,
    state: Arc<State>,
    memory: Memory,
    dirty: Dirty,
    /// The first change that no pass has seen, and when to look at it.
    trigger: Option<Trigger>,
    /// Unsettled deployments and when to look again.
    unsettled: BTreeMap<DeploymentName, Option<Mono>>,
    releases: Releases,
    looked_at: Mono,
    in_flight: BTreeMap<OpId, Proposal>,
    /// The applied index that the state must have passed before the next pass.
    seen_index: Option<u64>,
    ops: OpIds,
    backoff: Backoff,
}

#[derive(Clone, Copy, Debug)]
struct Trigger {
    first: Mono,
    due: Mono,
}

/// What an answer is about.
#[derive(Clone, Debug)]
enum Proposal {
    Addresses,
    Schedule,
    Rollback { deployment: DeploymentName, from: Option<Revision> },
}

impl Scheduler {
    /// A scheduler that leads nothing yet. `seed` spreads the retries of refused proposals.
    pub fn new(seed: u64) -> Scheduler {
        Scheduler {
            leader: false,
            state: Arc::new(State::default()),
            memory: Memory::default(),
            dirty: Dirty::All,
            trigger: None,
            unsettled: BTreeMap::new(),
            releases: Releases::default(),
            looked_at: Mono(0),
            in_flight: BTreeMap::new(),
            seen_index: None,
            ops: OpIds::default(),
            backoff: Backoff::new(RETRY_FIRST, RETRY_LIMIT, seed),
        }
    }

    fn trigger(&mut self, now: Now) {
        let first = self.trigger.map_or(now.mono, |trigger| trigger.first);
        let due = now.mono.plus(DEBOUNCE).min(first.plus(DEBOUNCE_MAX));
        self.trigger = Some(Trigger { first, due });
    }

    fn trigger_at(&mut self, now: Now, due: Mono) {
        self.trigger = Some(Trigger { first: now.mono, due });
    }

    /// Everything but the state starts over: another leader may have decided meanwhile.
    fn lead(&mut self, now: Now, leader: bool) {
        if leader == self.leader {
            return;
        }
        self.leader = leader;
        self.memory = Memory::default();
        self.dirty = Dirty::All;
        self.unsettled.clear();
        self.in_flight.clear();
        self.seen_index = None;
        self.backoff.reset();
        self.trigger = None;
        self.releases = Releases::default();
        self.releases.look(&self.state, now);
        if leader {
            self.trigger(now);
        }
    }

    fn proposed(&mut self, now: Now, op: OpId, result: Result<(), Fault>) {
        let Some(proposal) = self.in_flight.remove(&op) else { return };
        let Err(fault) = result else {
            self.backoff.reset();
            return;
        };
        if let Proposal::Rollback { deployment, from: Some(from) } = proposal
            && !fault.code.is_retryable()
        {
            self.memory.refuse(deployment, from, fault);
        }
        // Nothing was applied, so no change of the state will call for the next pass.
        self.seen_index = None;
        let delay = self.backoff.next_delay();
        self.trigger_at(now, now.mono.plus(delay));
    }

    fn is_due(&self, now: Now) -> bool {
        self.deadline().is_some_and(|deadline| deadline <= now.mono)
    }

    fn pass(&mut self, now: Now) -> Vec<Effect> {
        let state = Arc::clone(&self.state);
        let names = self.names(&state);
        self.trigger = None;
        self.looked_at = now.mono;
        self.dirty = Dirty::Deployments(BTreeSet::new());
        let plan = plan(&state, &mut self.memory, now, &names);
        let Plan { mut steps, rollbacks, unsettled } = plan;
        for name in &names {
            self.unsettled.remove(name);
        }
        self.unsettled.extend(unsettled);
        if steps.len() > STEPS_MAX {
            steps.truncate(STEPS_MAX);
            self.dirty = Dirty::Deployments(names);
        }
        let room = STEPS_MAX.saturating_sub(steps.len());
        steps.extend(self.releases.due(&state, now, room));
        let mut effects = Vec::new();
        if state.cluster.as_ref().is_some_and(|cluster| cluster.ipam.is_none()) {
            let command = Command::EstablishAddresses(Ipam::default());
            effects.push(self.propose(Proposal::Addresses, command));
        }
        if !steps.is_empty() {
            let command = Command::Schedule { based_on: state.applied_index, steps };
            effects.push(self.propose(Proposal::Schedule, command));
        }
        for rollback in rollbacks {
            let (deployment, from) = (rollback.deployment.clone(), rollback.expected_revision);
            let proposal = Proposal::Rollback { deployment, from };
            effects.push(self.propose(proposal, Command::Rollback(rollback)));
        }
        if !effects.is_empty() {
            self.seen_index = Some(state.applied_index);
        }
        effects
    }

    fn propose(&mut self, proposal: Proposal, command: Command) -> Effect {
        let op = self.ops.next_id();
        self.in_flight.insert(op, proposal);
        Effect::Propose { op, command }
    }

    /// What changed, and what waits: room that one deployment leaves another may take.
    fn names(&self, state: &State) -> BTreeSet<DeploymentName> {
        match &self.dirty {
            Dirty::All => state.deployments.keys().cloned().collect(),
            Dirty::Deployments(dirty) => {
                dirty.iter().chain(self.unsettled.keys()).cloned().collect()
            }
        }
    }

    fn mark(&mut self, dirty: Dirty) {
        match (&mut self.dirty, dirty) {
            (Dirty::All, _) => {}
            (known, Dirty::All) => *known = Dirty::All,
            (Dirty::Deployments(known), Dirty::Deployments(more)) => known.extend(more),
        }
    }
}

impl Core for Scheduler {
    type Input = Input;
    type Effect = Effect;

    fn step(&mut self, now: Now, input: Input) -> Vec<Effect> {
        match input {
            Input::StateChanged { state, dirty } => {
                self.state = state;
                self.mark(dirty);
                self.releases.look(&self.state, now);
                if self.leader {
                    self.trigger(now);
                }
            }
            Input::Leadership(leader) => self.lead(now, leader),
            Input::Proposed { op, result } => self.proposed(now, op, result),
        }
        if self.is_due(now) { self.pass(now) } else { Vec::new() }
    }

    fn wake(&mut self, now: Now) -> Vec<Effect> {
        if self.is_due(now) { self.pass(now) } else { Vec::new() }
    }

    fn deadline(&self) -> Option<Mono> {
        if !self.leader || !self.in_flight.is_empty() {
            return None;
        }
        let tick = self.looked_at.plus(SAFETY_TICK);
        if self.seen_index.is_some_and(|seen| self.state.applied_index <= seen) {
            // What was decided is on its way into the state.
            return Some(tick);
        }
        let tick = (!self.unsettled.is_empty()).then_some(tick);
        let timers = self.unsettled.values().flatten().copied();
        let timers = timers.chain(tick).chain(self.releases.next());
        timers.chain(self.trigger.map(|trigger| trigger.due)).min()
    }

    fn check_invariants(&self) {
        debug_assert!(self.leader || self.in_flight.is_empty(), "a follower proposed something");
    }
}
