//! Whether what a service depends on is there, judged over the whole cluster.

use super::{target_hash, wanted_count};
use crate::State;
use jaco_model::entity::{Desired, Instance, InstanceState};
use jaco_model::spec::{Condition, Dependency};
use jaco_model::{DeploymentName, ErrorCode, Fault};
use std::sync::Arc;

/// Whether a dependency within a deployment holds now; else `depends_on_unmet`, which names the
/// dependency, the condition and the state it is in.
///
/// A dependency with 0 replicas never satisfies, and an ended replica has started.
pub fn dependency_met(
    state: &State,
    deployment: &DeploymentName,
    dependency: &Dependency,
) -> Result<(), Fault> {
    let spec = state.current(deployment).and_then(|r| r.spec.services.get(&dependency.service));
    let (Some(deployment), Some(spec)) = (state.deployments.get(deployment), spec) else {
        return if dependency.required { Err(unmet(dependency, "absent")) } else { Ok(()) };
    };
    let wanted = wanted_count(state, deployment, spec);
    let slots = state.replicas_of(&(deployment.name.clone(), spec.name.clone()));
    let instances = slots.flat_map(|replica| state.instances_of(&replica.id));
    let instances: Vec<_> = instances.filter(|i| i.desired == Desired::Run).collect();
    let holds = match dependency.condition {
        Condition::ServiceStarted => any_in(&instances, has_started),
        Condition::ServiceHealthy => any_in(&instances, InstanceState::is_ready),
        Condition::ServiceCompletedSuccessfully => {
            let target = target_hash(state, &deployment.name, &spec.name);
            n_completed(&instances, target) >= wanted.max(1) as usize
        }
    };
    let failed = |instance: &&Arc<Instance>| instance.status.state == InstanceState::Failed;
    let given_up = !instances.is_empty() && instances.iter().all(failed);
    if holds || (given_up && !dependency.required) {
        return Ok(());
    }
    let best = instances.iter().map(|instance| instance.status.state).min_by_key(|s| rank(*s));
    Err(unmet(dependency, best.unwrap_or(InstanceState::Pending).as_str()))
}

/// Replicas that ended well with what the current revision runs.
fn n_completed(instances: &[&Arc<Instance>], target: Option<&str>) -> usize {
    let ended = instances.iter().filter(|instance| {
        instance.status.state == InstanceState::Completed
            && Some(instance.spec_hash.as_str()) == target
    });
    ended.count()
}

fn any_in(instances: &[&Arc<Instance>], holds: impl Fn(InstanceState) -> bool) -> bool {
    instances.iter().any(|instance| holds(instance.status.state))
}

fn has_started(state: InstanceState) -> bool {
    matches!(state, InstanceState::Running | InstanceState::Degraded | InstanceState::Completed)
}

/// Which of several states to show: the most hopeful one.
fn rank(state: InstanceState) -> u8 {
    match state {
        InstanceState::Running | InstanceState::Completed => 0,
        InstanceState::Degraded | InstanceState::Updating => 1,
        InstanceState::Starting => 2,
        InstanceState::Pulling => 3,
        InstanceState::Pending => 4,
        InstanceState::Draining | InstanceState::Lost => 5,
        InstanceState::Failed | InstanceState::Stopped => 6,
    }
}

fn unmet(dependency: &Dependency, state: &str) -> Fault {
    let service = &dependency.service;
    let (condition, wish) = match dependency.condition {
        Condition::ServiceStarted => ("service_started", "to start"),
        Condition::ServiceHealthy => ("service_healthy", "to be healthy"),
        Condition::ServiceCompletedSuccessfully => {
            ("service_completed_successfully", "to complete")
        }
    };
    Fault::new(ErrorCode::DependsOnUnmet, format!("waits for \"{service}\" {wish} ({state})"))
        .with("depends_on", service)
        .with("condition", condition)
        .with("state", state)
}
