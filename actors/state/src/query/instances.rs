//! What a replica should run, and which of its instances stands for it.

use crate::State;
use jaco_model::entity::{Desired, Instance, InstanceState, Replica};
use jaco_model::{DeploymentName, ServiceName};
use std::sync::Arc;

/// The hash of what a service's replicas should run; `None` for a removed service.
pub fn target_hash<'a>(
    state: &'a State,
    deployment: &DeploymentName,
    service: &ServiceName,
) -> Option<&'a str> {
    state.current(deployment)?.hashes.get(service).map(String::as_str)
}

/// Whether an instance runs what the current revision and its slot's last restart want.
pub fn is_up_to_date(state: &State, replica: &Replica, instance: &Instance) -> bool {
    target_hash(state, &replica.deployment, &replica.service) == Some(instance.spec_hash.as_str())
        && instance.restart_nonce == replica.restart_nonce
}

/// The instance that stands for a slot: a wanted one before one on its way out, a ready one before
/// others, and then the newest. `None` for an empty slot.
pub fn shown_instance<'a>(state: &'a State, replica: &Replica) -> Option<&'a Arc<Instance>> {
    state.instances_of(&replica.id).max_by_key(|instance| {
        let wanted = instance.desired == Desired::Run;
        (wanted, instance.status.state.is_ready(), instance.id.generation)
    })
}

/// Whether an instance does what it is wanted for: it serves, or has ended well.
pub(super) fn fulfils(instance: &Instance) -> bool {
    let done = matches!(instance.status.state, InstanceState::Running | InstanceState::Completed);
    instance.desired == Desired::Run && done
}
