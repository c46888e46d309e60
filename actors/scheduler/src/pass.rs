//! One pass: one look at one state, and the steps that follow from it.
//!
//! Deployments are visited by name; within one, what is no longer wanted goes first, then each
//! service after those it depends on. Nothing here waits: what must happen later is a time at
//! which to look again.

use crate::board::Board;
use crate::depends;
use crate::memory::{Memory, Timers};
use crate::releases;
use crate::service::shared;
use jaco_kit_core::{Mono, Now};
use jaco_model::command::{Rollback, Step};
use jaco_model::entity::{Deployment, RevisionRecord, RevisionStatus, Rollout, RolloutState};
use jaco_model::{DeploymentName, ServiceName, WallMs};
use jaco_state::{ServiceKey, State};
use std::collections::{BTreeMap, BTreeSet};

/// What one pass decided.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) steps: Vec<Step>,
    pub(crate) rollbacks: Vec<Rollback>,
    /// Deployments that are not yet as wanted, and when to look again without being told.
    pub(crate) unsettled: BTreeMap<DeploymentName, Option<Mono>>,
}

/// Visits the named deployments.
pub(crate) fn plan(
    state: &State,
    memory: &mut Memory,
    now: Now,
    names: &BTreeSet<DeploymentName>,
) -> Plan {
    let mut pass = Pass::new(state, memory, now);
    let mut unsettled = BTreeMap::new();
    for name in names {
        pass.visit(name);
        if pass.unsettled || pass.wake.is_some() {
            unsettled.insert(name.clone(), pass.wake);
        }
    }
    Plan { steps: pass.steps, rollbacks: pass.rollbacks, unsettled }
}

/// A pass at work.
#[derive(Debug)]
pub(crate) struct Pass<'a> {
    pub(crate) state: &'a State,
    pub(crate) memory: &'a mut Memory,
    pub(crate) now: Now,
    pub(crate) rollbacks: Vec<Rollback>,
    /// The visited deployment's timers, before and after.
    pub(crate) before: Timers,
    pub(crate) timers: Timers,
    /// Whether the visited deployment is not yet as wanted.
    pub(crate) unsettled: bool,
    wake: Option<Mono>,
    steps: Vec<Step>,
    rollouts: BTreeMap<ServiceKey, Rollout>,
    board: Option<Board<'a>>,
}

impl<'a> Pass<'a> {
    fn new(state: &'a State, memory: &'a mut Memory, now: Now) -> Pass<'a> {
        Pass {
            state,
            memory,
            now,
            rollbacks: Vec::new(),
            before: Timers::default(),
            timers: Timers::default(),
            unsettled: false,
            wake: None,
            steps: Vec::new(),
            rollouts: BTreeMap::new(),
            board: None,
        }
    }

    fn visit(&mut self, name: &DeploymentName) {
        self.before = self.memory.take(name);
        self.timers = Timers::default();
        (self.unsettled, self.wake) = (false, None);
        let Some(deployment) = self.state.deployments.get(name).map(shared) else {
            self.memory.forget(name);
            return;
        };
        if deployment.deleting.is_some() {
            self.delete(deployment);
        } else if let Some(record) = self.state.current(name).map(shared) {
            self.visit_revision(deployment, record);
        }
        let timers = std::mem::take(&mut self.timers);
        self.memory.put(name, timers);
    }

    fn visit_revision(&mut self, deployment: &'a Deployment, record: &'a RevisionRecord) {
        self.remove_services(deployment, record);
        for spec in depends::in_order(&record.spec) {
            self.visit_service(deployment, record, spec);
        }
        self.settle(deployment, record);
    }

    /// A revision that failed is the active one again once all of its rollouts completed.
    fn settle(&mut self, deployment: &Deployment, record: &RevisionRecord) {
        let completed = |service: &ServiceName| {
            let rollout = self.rollout(&(deployment.name.clone(), service.clone()));
            rollout.is_some_and(|r| r.to == record.number && r.state == RolloutState::Completed)
        };
        if record.status == RevisionStatus::Failed && record.spec.services.keys().all(completed) {
            self.settle_revision(record, deployment, RevisionStatus::Active);
        }
    }

    /// Writes how a revision ended.
    pub(crate) fn settle_revision(
        &mut self,
        record: &RevisionRecord,
        deployment: &Deployment,
        status: RevisionStatus,
    ) {
        let step = Step::SettleRevision {
            deployment: deployment.name.clone(),
            revision: record.number,
            status,
        };
        if record.status != status && !self.steps.contains(&step) {
            self.push(step);
        }
    }

    /// The last rollout of a service, as this pass leaves it.
    pub(crate) fn rollout(&self, key: &ServiceKey) -> Option<&Rollout> {
        self.rollouts.get(key).or_else(|| self.state.rollouts.get(key).map(shared))
    }

    /// How many steps there are so far.
    pub(crate) fn n_steps(&self) -> usize {
        self.steps.len()
    }

    /// Writes a rollout unless it is as it was. It goes before the steps that it leads to, so that
    /// a batch that is cut in two never has instances older than their rollout.
    pub(crate) fn set_rollout(&mut self, place: usize, rollout: Rollout) {
        let key = (rollout.deployment.clone(), rollout.service.clone());
        if self.rollout(&key) != Some(&rollout) {
            self.unsettled = true;
            self.steps.insert(place, Step::SetRollout { rollout: rollout.clone() });
            self.rollouts.insert(key, rollout);
        }
    }

    pub(crate) fn board(&mut self) -> &mut Board<'a> {
        let (state, at) = (self.state, self.stamp());
        self.board.get_or_insert_with(|| Board::build(state, at))
    }

    pub(crate) fn push(&mut self, step: Step) {
        self.unsettled = true;
        self.steps.push(step);
    }

    /// Looks again at `at`, without being told.
    pub(crate) fn look_again(&mut self, at: Mono) {
        self.unsettled = true;
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }

    /// The stamp that a command sent now would have.
    pub(crate) fn stamp(&self) -> WallMs {
        releases::stamp(self.state, self.now)
    }

    /// Cluster time of the state: no later command is stamped earlier.
    pub(crate) fn cluster_time(&self) -> WallMs {
        self.state.cluster_time()
    }
}
