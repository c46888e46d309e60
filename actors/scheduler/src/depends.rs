//! What services of one deployment wait for: order, gates, and replicas that live together.

use crate::need;
use crate::pass::Pass;
use crate::service::shared;
use jaco_model::entity::{Deployment, Desired, Instance, RevisionRecord, RolloutState, Slot};
use jaco_model::spec::{DeploymentSpec, ServiceSpec};
use jaco_model::{Fault, ServiceName, WallMs};
use jaco_state::State;
use std::collections::BTreeSet;

/// The services that must roll before this one.
fn before(spec: &ServiceSpec) -> impl Iterator<Item = &ServiceName> {
    spec.depends_on.iter().map(|dependency| &dependency.service).chain(need::joined(spec))
}

/// All services, each after those it depends on; equal ones by name. A cycle, which no apply lets
/// through, comes last by name.
pub(crate) fn in_order(deployment: &DeploymentSpec) -> Vec<&ServiceSpec> {
    let mut rest: Vec<&ServiceSpec> = deployment.services.values().collect();
    let mut waiting: BTreeSet<&ServiceName> = deployment.services.keys().collect();
    let mut ordered = Vec::new();
    loop {
        let (ready, blocked): (Vec<_>, Vec<_>) =
            rest.into_iter().partition(|spec| !before(spec).any(|name| waiting.contains(name)));
        if ready.is_empty() {
            ordered.extend(blocked);
            return ordered;
        }
        for spec in &ready {
            waiting.remove(&spec.name);
        }
        ordered.extend(ready);
        rest = blocked;
    }
}

/// Whether `service` of `deployment` must be gone before `other` is stopped.
pub(crate) fn needs(
    deployment: &DeploymentSpec,
    service: &ServiceName,
    other: &ServiceName,
) -> bool {
    let spec = deployment.services.get(service);
    spec.is_some_and(|spec| before(spec).any(|name| name == other))
}

/// Whether all services that this one depends on run the current revision, so that its own
/// replacements may begin.
pub(crate) fn level_reached(
    pass: &Pass<'_>,
    deployment: &Deployment,
    record: &RevisionRecord,
    spec: &ServiceSpec,
) -> bool {
    let rolled = |name: &ServiceName| {
        let rollout = pass.rollout(&(deployment.name.clone(), name.clone()));
        rollout.is_some_and(|r| r.to == record.number && r.state == RolloutState::Completed)
    };
    let optional = |name: &ServiceName| {
        spec.depends_on.iter().any(|dependency| dependency.service == *name && !dependency.required)
    };
    before(spec)
        .all(|name| !record.spec.services.contains_key(name) || optional(name) || rolled(name))
}

/// The first dependency that holds new replicas back, as the reason of a waiting slot.
pub(crate) fn unmet(state: &State, deployment: &Deployment, spec: &ServiceSpec) -> Option<Fault> {
    let mut dependencies = spec.depends_on.iter();
    dependencies.find_map(|d| jaco_state::dependency_met(state, &deployment.name, d).err())
}

/// When a dependency with `restart: true` was last replaced by an operator's action; instances
/// placed before that are replaced as well.
pub(crate) fn restarting_dependency(
    pass: &Pass<'_>,
    deployment: &Deployment,
    record: &RevisionRecord,
    spec: &ServiceSpec,
) -> Option<WallMs> {
    let tied = spec.depends_on.iter().filter(|dependency| dependency.restart);
    tied.filter_map(|dependency| {
        let rollout = pass.rollout(&(deployment.name.clone(), dependency.service.clone()))?;
        let replaced = rollout.to == record.number
            && rollout.state == RolloutState::Completed
            && rollout.from.is_some()
            && rollout.total > 0;
        replaced.then_some(rollout.started_at)
    })
    .max()
}

/// When the replica whose namespaces this slot joins last changed; what was placed before that
/// holds on to a namespace that is gone.
pub(crate) fn joined_since(
    state: &State,
    deployment: &Deployment,
    spec: &ServiceSpec,
    slot: &Slot,
) -> Option<WallMs> {
    let hosts = need::joined(spec).into_iter().filter_map(|host| {
        let instance = beside(state, deployment, host, slot)?;
        // An instance placed together with its host has the same stamp and is as it should be.
        Some(WallMs(instance.created_at.0.saturating_sub(1)))
    });
    hosts.max()
}

/// The instance of another service in the slot of the same number or node, if it is meant to stay.
pub(crate) fn beside<'a>(
    state: &'a State,
    deployment: &Deployment,
    service: &ServiceName,
    slot: &Slot,
) -> Option<&'a Instance> {
    let key = (deployment.name.clone(), service.clone());
    let replica = state.replicas_of(&key).find(|replica| replica.slot == *slot)?;
    let instances = state.instances_of(&replica.id).map(shared);
    instances.filter(|instance| instance.desired == Desired::Run).last()
}
