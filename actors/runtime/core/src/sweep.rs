//! Which networks and volumes are needed, wanted away, or not yet known to the state.

use crate::plan;
use crate::resources::Resources;
use crate::task::{Phase, Task};
use jaco_model::command::VolumeReport;
use jaco_model::entity::Scope;
use jaco_model::{InstanceId, NodeId};
use jaco_state::State;
use std::collections::{BTreeMap, BTreeSet};

/// Engine names of the networks that an instance here uses, or a deployment still declares. One
/// with a subnet of the address plan stays only as long as this node has that block.
pub(crate) fn needed_networks(
    tasks: &BTreeMap<InstanceId, Task>,
    state: &State,
    node: &NodeId,
    planned: &BTreeSet<String>,
) -> BTreeSet<String> {
    let used = present(tasks).flat_map(Task::resource_names);
    let alive = state.deployments.values().filter(|deployment| deployment.deleting.is_none());
    let declared = alive.filter_map(|deployment| state.current(&deployment.name)).flat_map(|r| {
        let spec = r.spec.clone();
        let keys: Vec<String> = spec.networks.keys().cloned().collect();
        keys.into_iter().map(move |key| spec.scope_of(&key))
    });
    let stays = |scope: &Scope| {
        !planned.contains(&scope.engine_name()) || state.block(scope, node).is_some()
    };
    used.chain(declared.filter(stays).map(|scope| scope.engine_name())).collect()
}

/// Notes which stopped containers are bound to networks that were replaced.
pub(crate) fn strand(tasks: &mut BTreeMap<InstanceId, Task>, replaced: &BTreeSet<String>) {
    for task in tasks.values_mut().filter(|_| !replaced.is_empty()) {
        let is_bound = task.resource_names().iter().any(|name| replaced.contains(name));
        task.stranded |= is_bound && task.container.is_some();
    }
}

/// Volumes that the user wants removed and no container here uses any more.
pub(crate) fn unwanted_volumes(
    tasks: &BTreeMap<InstanceId, Task>,
    state: &State,
    node: &NodeId,
) -> Vec<String> {
    let removing = removing(state, node);
    if removing.is_empty() {
        return Vec::new();
    }
    let used: BTreeSet<String> = present(tasks).flat_map(Task::resource_names).collect();
    removing.into_keys().filter(|name| !used.contains(name)).collect()
}

/// Volumes that were made or removed here and that the state does not show so.
pub(crate) fn unreported_volumes(
    tasks: &BTreeMap<InstanceId, Task>,
    state: &State,
    node: &NodeId,
    resources: &Resources,
) -> BTreeMap<String, VolumeReport> {
    let mut reports: BTreeMap<String, VolumeReport> = removing(state, node)
        .into_iter()
        .filter(|(name, _)| resources.lacks_volume(name))
        .collect();
    for task in present(tasks).filter(|task| task.listed) {
        let (spec, container) = (&task.record.spec, &task.service.container);
        for mount in &container.mounts {
            let Some(name) = plan::mounted_volume(&task.instance, spec, mount) else { continue };
            let jaco_model::spec::MountKind::Volume { volume: key, .. } = &mount.kind else {
                continue;
            };
            let wanted = spec.volumes.get(key).cloned().unwrap_or_default();
            let known = state.volumes.contains_key(&(name.clone(), node.clone()));
            if known || wanted.external || !resources.has_volume(&name) {
                continue;
            }
            let report = VolumeReport {
                name: name.clone(),
                deployment: task.instance.deployment.clone(),
                key: key.clone(),
                driver: wanted.driver,
                present: true,
            };
            reports.insert(name, report);
        }
    }
    reports
}

fn removing(state: &State, node: &NodeId) -> BTreeMap<String, VolumeReport> {
    let here = state.volumes.values().filter(|volume| volume.removing && volume.node == *node);
    let report = |volume: &std::sync::Arc<jaco_model::entity::Volume>| VolumeReport {
        name: volume.name.clone(),
        deployment: volume.deployment.clone(),
        key: volume.key.clone(),
        driver: volume.driver.clone(),
        present: false,
    };
    here.map(|volume| (volume.name.clone(), report(volume))).collect()
}

fn present(tasks: &BTreeMap<InstanceId, Task>) -> impl Iterator<Item = &Task> {
    tasks.values().filter(|task| !matches!(task.phase, Phase::Gone))
}
