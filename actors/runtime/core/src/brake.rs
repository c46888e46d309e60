//! The common-cause brake: when most of a service is sick at once, the cause is likely elsewhere,
//! and restarting everything would only make it worse.

use crate::task::{Phase, Task};
use jaco_model::entity::InstanceState;
use jaco_model::{InstanceId, NodeId};
use jaco_state::{ServiceKey, State};
use std::collections::{BTreeMap, BTreeSet};

/// How many replicas of each braked service may be restarted for bad health now. A service that
/// is not listed has no limit.
pub(crate) fn allowances(
    tasks: &BTreeMap<InstanceId, Task>,
    state: &State,
    node: &NodeId,
) -> BTreeMap<ServiceKey, usize> {
    let key = |task: &Task| (task.instance.deployment.clone(), task.instance.service.clone());
    let degraded = |task: &&Task| matches!(task.phase, Phase::Degraded { .. });
    let services: BTreeSet<ServiceKey> = tasks.values().filter(degraded).map(key).collect();
    let allowance = |service: ServiceKey| {
        let own = || tasks.values().filter(|task| key(task) == service);
        let mending = own().filter(|task| task.mending).count();
        let sick = own().filter(|task| degraded(task) || task.mending).count();
        let replicas: Vec<_> = state.replicas_of(&service).collect();
        let elsewhere = replicas
            .iter()
            .flat_map(|replica| state.instances_of(&replica.id))
            .filter(|other| other.node != *node)
            .filter(|other| other.status.state == InstanceState::Degraded)
            .count();
        let total = replicas.len().max(1);
        let braked = (sick + elsewhere) * 2 > total;
        braked.then(|| (service, (total / 4).max(1).saturating_sub(mending)))
    };
    services.into_iter().filter_map(allowance).collect()
}
