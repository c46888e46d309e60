//! Whether a revision has been reached: what `jaco apply` waits for.

use super::instances::{fulfils, is_up_to_date};
use super::wanted_count;
use crate::State;
use jaco_model::entity::{Desired, Instance, Replica, Rollout, RolloutState};
use jaco_model::{DeploymentName, Revision, ServiceName};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Whether a revision is the current one and every wanted replica serves it, none serves anything
/// else, and no rollout is under way. Old instances may still drain.
pub fn is_converged(state: &State, deployment: &DeploymentName, revision: Revision) -> bool {
    let Some(record) = state.current(deployment) else { return false };
    let leaving = state.deployments.get(deployment).is_none_or(|d| d.deleting.is_some());
    if leaving || record.number != revision {
        return false;
    }
    let mut services: BTreeSet<ServiceName> = record.spec.services.keys().cloned().collect();
    services.extend(state.services_with_replicas(deployment));
    services.into_iter().all(|service| is_service_converged(state, deployment, service, revision))
}

fn is_service_converged(
    state: &State,
    name: &DeploymentName,
    service: ServiceName,
    revision: Revision,
) -> bool {
    let spec = state.current(name).and_then(|record| record.spec.services.get(&service));
    let wanted = match (state.deployments.get(name), spec) {
        (Some(deployment), Some(spec)) => wanted_count(state, deployment, spec) as usize,
        (None, _) | (_, None) => 0,
    };
    let key = (name.clone(), service);
    let slots = state.replicas_of(&key);
    let instances = slots.flat_map(|slot| state.instances_of(&slot.id).map(move |i| (slot, i)));
    let running: Vec<_> = instances.filter(|(_, i)| i.desired == Desired::Run).collect();
    let good = |(slot, instance): &(&Arc<Replica>, &Arc<Instance>)| {
        let restarted = instance.status.in_place_done >= instance.in_place;
        fulfils(instance) && restarted && is_up_to_date(state, slot, instance)
    };
    running.len() == wanted
        && running.iter().all(good)
        && !state.rollouts.get(&key).is_some_and(|rollout| holds_back(rollout, revision))
}

/// Whether a rollout still has to prove `revision`, or has failed to.
fn holds_back(rollout: &Rollout, revision: Revision) -> bool {
    match rollout.state {
        RolloutState::InProgress => true,
        RolloutState::Paused | RolloutState::Aborted => rollout.to == revision,
        RolloutState::Completed => false,
    }
}
