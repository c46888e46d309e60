//! How a deployment is doing.

use super::instances::{fulfils, is_up_to_date, shown_instance};
use super::wanted_count;
use crate::State;
use jaco_model::entity::{Deployment, InstanceState, Replica, Rollout, RolloutState};
use jaco_model::spec::ServiceSpec;
use jaco_model::{Fault, ServiceName};
use std::collections::BTreeMap;
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusOfDeployment {
    /// How it is doing.
    pub status: DeploymentStatus,
    /// Why it is not `active`: `reason` (a code), `message`, and `service` or `replica`.
    pub details: BTreeMap<String, String>,
    /// Wanted replicas of all services.
    pub wanted: u32,
    /// Replicas that serve or have ended well, of all services of the current revision.
    pub running: u32,
    /// The services of the current revision, by name.
    pub services: Vec<ServiceCount>,
}

/// One service in numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceCount {
    /// Its name.
    pub name: ServiceName,
    /// Replicas it should have.
    pub wanted: u32,
    /// Replicas that serve or have ended well.
    pub running: u32,
    /// Those of them that run what the current revision wants.
    pub updated: u32,
    /// Replicas that have failed and are not tried again by themselves.
    pub failed: u32,
}

/// How a deployment is doing.
pub fn deployment_status(state: &State, deployment: &Deployment) -> StatusOfDeployment {
    let specs = state.current(&deployment.name).into_iter().flat_map(|r| r.spec.services.values());
    let services: Vec<ServiceCount> = specs.map(|spec| count(state, deployment, spec)).collect();
    let (status, details) = judge(state, deployment, &services);
    let sum =
        |number: fn(&ServiceCount) -> u32| services.iter().map(number).fold(0, u32::saturating_add);
    let (wanted, running) = (sum(|service| service.wanted), sum(|service| service.running));
    StatusOfDeployment { status, details, wanted, running, services }
}

fn count(state: &State, deployment: &Deployment, spec: &ServiceSpec) -> ServiceCount {
    let wanted = wanted_count(state, deployment, spec);
    let name = spec.name.clone();
    let mut count = ServiceCount { name, wanted, running: 0, updated: 0, failed: 0 };
    for replica in slots(state, deployment, &spec.name) {
        let Some(instance) = shown_instance(state, replica) else { continue };
        if fulfils(instance) {
            count.running += 1;
            count.updated += u32::from(is_up_to_date(state, replica, instance));
        }
        count.failed += u32::from(instance.status.state == InstanceState::Failed);
    }
    count
}

fn slots<'a>(
    state: &'a State,
    deployment: &Deployment,
    service: &ServiceName,
) -> impl Iterator<Item = &'a Arc<Replica>> + use<'a> {
    state.replicas_of(&(deployment.name.clone(), service.clone()))
}

/// The status and why. A rollout of an earlier revision says nothing about this one.
fn judge(
    state: &State,
    deployment: &Deployment,
    services: &[ServiceCount],
) -> (DeploymentStatus, BTreeMap<String, String>) {
    if deployment.deleting.is_some() {
        return (DeploymentStatus::Deleting, BTreeMap::new());
    }
    let key = |service: &ServiceCount| (deployment.name.clone(), service.name.clone());
    let rollouts = services.iter().filter_map(|service| state.rollouts.get(&key(service)));
    let rollouts: Vec<&Arc<Rollout>> = rollouts.filter(|r| r.to == deployment.revision).collect();
    if let Some(paused) = rollouts.iter().find(|r| r.state == RolloutState::Paused) {
        let details =
            paused.reason.as_ref().map(|fault| details(fault, "service", &paused.service));
        return (DeploymentStatus::Paused, details.unwrap_or_default());
    }
    let in_progress: Vec<_> =
        rollouts.iter().filter(|r| r.state == RolloutState::InProgress).collect();
    // Between an apply and its first step there is no rollout yet, but something to be replaced.
    let outdated = services.iter().any(|service| service.updated < service.running);
    if outdated || in_progress.iter().any(|rollout| rollout.from.is_some()) {
        return (DeploymentStatus::Updating, BTreeMap::new());
    }
    let missing = || services.iter().filter(|service| service.running < service.wanted);
    if missing().next().is_none() {
        return (DeploymentStatus::Active, BTreeMap::new());
    }
    let reason = missing().find_map(|service| reason(state, deployment, &service.name));
    let serves_nothing = missing().any(|service| service.running == 0);
    // While a deployment starts for the first time, it has never served in full.
    let status = match in_progress.is_empty() && !serves_nothing {
        true => DeploymentStatus::Degraded,
        false => DeploymentStatus::Pending,
    };
    (status, reason.unwrap_or_default())
}

/// What the first replica of a service that does not serve says about it.
fn reason(
    state: &State,
    deployment: &Deployment,
    service: &ServiceName,
) -> Option<BTreeMap<String, String>> {
    slots(state, deployment, service).find_map(|replica| {
        let shown = shown_instance(state, replica);
        if shown.is_some_and(|instance| fulfils(instance)) {
            return None;
        }
        let fault = shown.and_then(|instance| instance.status.fault.as_ref());
        let fault = fault.or(replica.waiting.as_ref())?;
        Some(details(fault, "replica", &replica.id))
    })
}

fn details(fault: &Fault, kind: &str, name: impl std::fmt::Display) -> BTreeMap<String, String> {
    let pairs = [
        ("reason", fault.code.to_string()),
        ("message", fault.message.clone()),
        (kind, name.to_string()),
    ];
    pairs.map(|(key, value)| (key.to_owned(), value)).into()
}
