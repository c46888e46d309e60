//! How a deployment is doing, and whether a revision has been reached.

use crate::{ReplicaView, State};
use jaco_model::entity::{Deployment, Desired, InstanceState, Rollout, RolloutState};
use jaco_model::spec::ServiceSpec;
use jaco_model::{DeploymentName, Fault, Revision, ServiceName};
use std::sync::Arc;

/// How a deployment is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeploymentStatus {
    /// Something cannot be placed or started.
    Pending,
    /// Every wanted replica is running, or has ended well.
    Active,
    /// A new revision is replacing the old one.
    Updating,
    /// Serving with fewer replicas than wanted.
    Degraded,
    /// A rollout failed and waits for an operator.
    Paused,
    /// It is being removed.
    Deleting,
}

impl DeploymentStatus {
    /// The status as it is written in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            DeploymentStatus::Pending => "pending",
            DeploymentStatus::Active => "active",
            DeploymentStatus::Updating => "updating",
            DeploymentStatus::Degraded => "degraded",
            DeploymentStatus::Paused => "paused",
            DeploymentStatus::Deleting => "deleting",
        }
    }
}

/// A deployment's status with what it was computed from.
#[derive(Clone, Debug, PartialEq)]
pub struct DeploymentView {
    /// The deployment.
    pub deployment: Arc<Deployment>,
    /// How it is doing.
    pub status: DeploymentStatus,
    /// Why it is not `active`, when something says why.
    pub reason: Option<Fault>,
    /// The current revision's services and removed ones that still have replicas, by name.
    pub services: Vec<ServiceView>,
}

/// One service in numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceView {
    /// Its name.
    pub name: ServiceName,
    /// Replicas it should have; 0 for a removed service.
    pub wanted: u32,
    /// Slots whose instance is ready, or has ended well.
    pub running: u32,
    /// Those of them that run what the current revision wants.
    pub updated: u32,
    /// Slots whose instance has failed and is not tried again by itself.
    pub failed: u32,
    /// The last rollout.
    pub rollout: Option<Arc<Rollout>>,
    /// Its slots, by id.
    pub replicas: Vec<ReplicaView>,
}

impl State {
    /// How a deployment is doing; `None` when there is no such deployment.
    pub fn deployment_view(&self, name: &DeploymentName) -> Option<DeploymentView> {
        let deployment = self.deployments.get(name)?.clone();
        let spec = self.current(name).map(|record| record.spec.clone());
        let current = spec.iter().flat_map(|spec| spec.services.keys().cloned());
        let mut names: Vec<ServiceName> =
            current.chain(self.services_with_replicas(name)).collect();
        names.sort();
        names.dedup();
        let services = names.into_iter().map(|service| {
            let wanted = spec.as_ref().and_then(|spec| spec.services.get(&service));
            self.service_view(name, service, wanted)
        });
        let services: Vec<ServiceView> = services.collect();
        let (status, reason) = judge(&deployment, &services);
        Some(DeploymentView { deployment, status, reason, services })
    }

    fn service_view(
        &self,
        deployment: &DeploymentName,
        name: ServiceName,
        spec: Option<&ServiceSpec>,
    ) -> ServiceView {
        let key = (deployment.clone(), name.clone());
        let replicas = self.replica_views(&key);
        let count = |counts: fn(&ReplicaView) -> bool| {
            u32::try_from(replicas.iter().filter(|view| counts(view)).count()).unwrap_or(u32::MAX)
        };
        ServiceView {
            wanted: spec.map_or(0, |spec| self.wanted_count(deployment, spec)),
            running: count(serves),
            updated: count(|view| serves(view) && view.up_to_date),
            failed: count(|view| view.state == InstanceState::Failed),
            rollout: self.rollouts.get(&key).cloned(),
            name,
            replicas,
        }
    }

    /// How many replicas a service should have now; for a global one, its eligible nodes.
    pub fn wanted_count(&self, deployment: &DeploymentName, service: &ServiceSpec) -> u32 {
        let deployment = self.deployments.get(deployment);
        let number = deployment.and_then(|deployment| self.wanted_replicas(deployment, service));
        number.unwrap_or_else(|| {
            u32::try_from(self.eligible_nodes(&service.placement).count()).unwrap_or(u32::MAX)
        })
    }

    /// The hash of what a service's replicas should run.
    pub fn target_hash(&self, deployment: &DeploymentName, service: &ServiceName) -> Option<&str> {
        self.current(deployment)?.hashes.get(service).map(String::as_str)
    }

    /// Whether a revision is the current one and has been reached: every wanted replica serves it,
    /// none serves anything else, and no rollout is under way. Old instances may still drain.
    pub fn is_converged(&self, deployment: &DeploymentName, revision: Revision) -> bool {
        let Some(view) = self.deployment_view(deployment) else { return false };
        let is_wanted = view.deployment.revision == revision && view.deployment.deleting.is_none();
        is_wanted
            && view.services.iter().all(|service| self.is_service_converged(service, revision))
    }

    fn is_service_converged(&self, service: &ServiceView, revision: Revision) -> bool {
        let run = |view: &ReplicaView| {
            let wanted = view.instances.iter().filter(|instance| instance.desired == Desired::Run);
            wanted.map(|i| self.is_up_to_date(&view.replica, i)).collect::<Vec<bool>>()
        };
        let instances: Vec<bool> = service.replicas.iter().flat_map(run).collect();
        let n_wanted = service.wanted as usize;
        // A removed service may keep its slots until they are drained, but nothing that runs.
        service.updated == service.wanted
            && instances.len() == n_wanted
            && instances.iter().all(|up_to_date| *up_to_date)
            && !service.rollout.as_ref().is_some_and(|rollout| holds_back(rollout, revision))
    }
}

/// Whether a rollout still has to prove `revision`, or has failed to.
fn holds_back(rollout: &Rollout, revision: Revision) -> bool {
    match rollout.state {
        RolloutState::InProgress => true,
        RolloutState::Paused | RolloutState::Aborted => rollout.to == revision,
        RolloutState::Completed => false,
    }
}

fn serves(view: &ReplicaView) -> bool {
    let shown = view.shown.as_ref();
    shown.is_some_and(|instance| instance.desired == Desired::Run)
        && matches!(view.state, InstanceState::Running | InstanceState::Completed)
}

/// The status and why. An ended rollout of an earlier revision says nothing about this one.
fn judge(deployment: &Deployment, services: &[ServiceView]) -> (DeploymentStatus, Option<Fault>) {
    if deployment.deleting.is_some() {
        return (DeploymentStatus::Deleting, None);
    }
    let rollouts = services.iter().filter_map(|service| service.rollout.as_ref());
    let rollouts: Vec<_> = rollouts.filter(|r| r.to == deployment.revision).collect();
    if let Some(paused) = rollouts.iter().find(|r| r.state == RolloutState::Paused) {
        return (DeploymentStatus::Paused, paused.reason.clone());
    }
    let under_way = |first: bool| {
        rollouts.iter().any(|r| r.state == RolloutState::InProgress && r.from.is_none() == first)
    };
    if under_way(false) {
        return (DeploymentStatus::Updating, None);
    }
    let missing = || services.iter().filter(|service| service.running < service.wanted);
    if missing().next().is_none() {
        return (DeploymentStatus::Active, None);
    }
    let views = missing().flat_map(|service| &service.replicas).filter(|view| !serves(view));
    let reason = views.filter_map(|view| view.fault.clone()).next();
    let serves_nothing = missing().any(|service| service.running == 0);
    if under_way(true) || serves_nothing {
        return (DeploymentStatus::Pending, reason);
    }
    (DeploymentStatus::Degraded, reason)
}
