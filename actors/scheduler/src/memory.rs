//! What the scheduler remembers between passes: when it first saw something, nothing more.
//!
//! All of it is lost with the leader. The next one starts the same timers from what it sees, so a
//! limit may be reached later, never wrongly.

use crate::judge::Phase;
use jaco_kit_core::Mono;
use jaco_model::entity::Instance;
use jaco_model::{DeploymentName, Fault, InstanceId, Revision, ServiceName};
use std::collections::BTreeMap;

/// Timers of all deployments.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory {
    of: BTreeMap<DeploymentName, Timers>,
    refused: BTreeMap<DeploymentName, (Revision, Fault)>,
}

/// Timers of one deployment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timers {
    watched: BTreeMap<InstanceId, Watch>,
    steps: BTreeMap<ServiceName, (u32, Mono)>,
}

/// Since when an instance is in the part of its start that it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Watch {
    phase: Phase,
    restarts: u32,
    pub(crate) since: Mono,
}

impl Memory {
    /// Takes a deployment's timers out for a visit.
    pub(crate) fn take(&mut self, deployment: &DeploymentName) -> Timers {
        self.of.remove(deployment).unwrap_or_default()
    }

    /// Puts back those that the visit used.
    pub(crate) fn put(&mut self, deployment: &DeploymentName, timers: Timers) {
        if !timers.watched.is_empty() || !timers.steps.is_empty() {
            self.of.insert(deployment.clone(), timers);
        }
    }

    /// Remembers that a rollback was refused, so that its rollout is paused instead.
    pub(crate) fn refuse(&mut self, deployment: DeploymentName, revision: Revision, fault: Fault) {
        self.refused.insert(deployment, (revision, fault));
    }

    /// Why a rollback from this revision was refused.
    pub(crate) fn refusal(
        &self,
        deployment: &DeploymentName,
        revision: Revision,
    ) -> Option<&Fault> {
        let (refused, fault) = self.refused.get(deployment)?;
        (*refused == revision).then_some(fault)
    }

    /// Forgets deployments that are gone.
    pub(crate) fn forget(&mut self, deployment: &DeploymentName) {
        self.of.remove(deployment);
        self.refused.remove(deployment);
    }
}

impl Timers {
    /// Since when the instance is in its phase, carried over from the last visit.
    pub(crate) fn watch(&mut self, before: &Timers, instance: &Instance, now: Mono) -> Watch {
        let phase = Phase::of(&instance.status);
        let restarts = instance.status.restarts;
        let known = before.watched.get(&instance.id).copied();
        let same = known.filter(|watch| watch.phase == phase && watch.restarts == restarts);
        let watch = same.unwrap_or(Watch { phase, restarts, since: now });
        self.watched.insert(instance.id.clone(), watch);
        watch
    }

    /// When the number of finished steps of a service last changed.
    pub(crate) fn last_step(
        &mut self,
        before: &Timers,
        service: &ServiceName,
        done: u32,
        now: Mono,
    ) -> Mono {
        let known = before.steps.get(service).copied().filter(|(known, _)| *known == done);
        let (_, since) = *self.steps.entry(service.clone()).or_insert(known.unwrap_or((done, now)));
        since
    }
}
