//! From an instance and its revision to plans with every engine name resolved.

use crate::bridge::Terms;
use crate::{BridgePlan, ContainerPlan, Endpoint, NetworkPlan, PlannedMount, VolumePlan};
use jaco_model::entity::{ImagePin, Instance, RevisionRecord, Slot};
use jaco_model::name;
use jaco_model::spec::{
    ContainerSpec, DeploymentSpec, Mount, MountKind, NetworkAttachment, NetworkMode, PortMode,
    PortSpec, ServiceSpec,
};
use jaco_model::{ClusterId, DeploymentName};
use jaco_state::State;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// Containers whose namespaces a container shares, by engine id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shared {
    /// Network namespace.
    pub(crate) network: Option<String>,
    /// IPC namespace.
    pub(crate) ipc: Option<String>,
    /// PID namespace.
    pub(crate) pid: Option<String>,
}

/// What a container is made with besides its spec.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fittings {
    /// Namespaces of others.
    pub(crate) shared: Shared,
    /// Its address by the engine's network name.
    pub(crate) addresses: BTreeMap<String, Ipv4Addr>,
    /// Its `/etc/resolv.conf`.
    pub(crate) resolv_conf: Option<String>,
}

/// The container of an instance.
pub(crate) fn container(
    cluster: &ClusterId,
    state: &State,
    instance: &Instance,
    record: &RevisionRecord,
    service: &ServiceSpec,
    fittings: Fittings,
) -> ContainerPlan {
    let spec = &service.container;
    let Fittings { shared, addresses, resolv_conf } = fittings;
    ContainerPlan {
        instance: instance.id.clone(),
        image: image_name(&instance.image),
        spec: record.spec.clone(),
        service: instance.service.clone(),
        labels: container_labels(cluster, state, instance, spec),
        mounts: planned_mounts(instance, &record.spec, spec),
        endpoints: endpoints(instance, &record.spec, spec, &addresses),
        network_of: shared.network,
        ipc_of: shared.ipc,
        pid_of: shared.pid,
        resolv_conf,
        publish: published(service),
    }
}

/// The networks of an instance. One whose scope has no block here is left to the engine: it was
/// placed before there was an address plan.
pub(crate) fn networks(
    cluster: &ClusterId,
    state: &State,
    instance: &Instance,
    spec: &DeploymentSpec,
    container: &ContainerSpec,
    terms: &Terms,
) -> Vec<NetworkPlan> {
    let plan = |key: &String| {
        let scope = spec.scope_of(key);
        let owner = &scope.deployment;
        // An external network is made as its owner wants it, whoever comes first.
        let owned = state.current(owner).and_then(|record| record.spec.networks.get(scope.key()));
        let wanted = owned.or_else(|| spec.networks.get(scope.key())).cloned().unwrap_or_default();
        let mut labels = wanted.labels;
        labels.extend(own_labels(cluster, owner, "jaco.network", scope.key()));
        let settled = state.scope(&scope).zip(state.block(&scope, &instance.node));
        let bridge = settled.map(|(record, block)| terms.bridge(record, block, wanted.internal));
        if let Some(bridge) = &bridge {
            labels.insert(BridgePlan::SUBNET_LABEL.to_owned(), bridge.subnet.to_string());
            labels.insert(BridgePlan::REVISION_LABEL.to_owned(), bridge.revision.clone());
        }
        let internal = terms.closed_by_engine(wanted.internal);
        NetworkPlan { name: scope.engine_name(), labels, internal, bridge }
    };
    attached(container).map(plan).collect()
}

/// The named volumes of an instance with their compose keys.
pub(crate) fn volumes(
    cluster: &ClusterId,
    instance: &Instance,
    spec: &DeploymentSpec,
    container: &ContainerSpec,
) -> Vec<(String, VolumePlan)> {
    let mut plans = BTreeMap::new();
    for mount in &container.mounts {
        let MountKind::Volume { volume: key, .. } = &mount.kind else { continue };
        let wanted = spec.volumes.get(key).cloned().unwrap_or_default();
        let mut labels = wanted.labels.clone();
        labels.extend(own_labels(cluster, &instance.deployment, "jaco.volume", key));
        let plan = VolumePlan {
            name: volume_name(instance, spec, key),
            external: wanted.external,
            driver: wanted.driver,
            driver_opts: wanted.driver_opts,
            labels,
        };
        plans.insert(key.clone(), plan);
    }
    plans.into_iter().collect()
}

/// The engine's name of each network of an instance, by compose key.
pub(crate) fn network_names(
    spec: &DeploymentSpec,
    container: &ContainerSpec,
) -> BTreeMap<String, String> {
    let named = |key: &String| (key.clone(), spec.scope_of(key).engine_name());
    attached(container).map(named).collect()
}

pub(crate) fn attached(container: &ContainerSpec) -> impl Iterator<Item = &String> {
    let joins = container.network_mode == NetworkMode::Networks;
    container.networks.iter().filter(move |_| joins).map(|attachment| &attachment.network)
}

fn volume_name(instance: &Instance, spec: &DeploymentSpec, key: &str) -> String {
    let Some(volume) = spec.volumes.get(key) else {
        return name::volume_name(&instance.deployment, key);
    };
    if volume.per_replica {
        return format!("{}_{}", volume.name, slot_text(&instance.slot));
    }
    volume.name.clone()
}

fn slot_text(slot: &Slot) -> String {
    match slot {
        Slot::Index(index) => index.to_string(),
        Slot::Node(node) => node.to_string(),
    }
}

/// `name@digest`, or the image's id when only the engine knows it.
fn image_name(pin: &ImagePin) -> String {
    if pin.local {
        return pin.digest.clone();
    }
    let name = pin.reference.split('@').next().unwrap_or_default();
    let base = name.rfind('/').map_or(0, |slash| slash + 1);
    let end = name[base..].find(':').map_or(name.len(), |colon| base + colon);
    format!("{}@{}", &name[..end], pin.digest)
}

fn own_labels(
    cluster: &ClusterId,
    deployment: &DeploymentName,
    kind: &str,
    key: &str,
) -> BTreeMap<String, String> {
    [
        ("jaco.cluster_id", cluster.to_string()),
        ("jaco.deployment", deployment.to_string()),
        (kind, key.to_owned()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into()
}

fn container_labels(
    cluster: &ClusterId,
    state: &State,
    instance: &Instance,
    spec: &ContainerSpec,
) -> BTreeMap<String, String> {
    let mut labels = spec.labels.clone();
    let ours = [
        ("jaco.cluster_id", cluster.to_string()),
        ("jaco.deployment", instance.deployment.to_string()),
        ("jaco.service", instance.service.to_string()),
        ("jaco.replica_id", instance.id.replica.to_string()),
        ("jaco.replica_index", slot_text(&instance.slot)),
        ("jaco.generation", instance.id.generation.0.to_string()),
        ("jaco.revision", instance.revision.to_string()),
        ("jaco.raft_index", state.applied_index.to_string()),
        ("jaco.spec_hash", instance.spec_hash.clone()),
    ];
    labels.extend(ours.map(|(key, value)| (key.to_owned(), value)));
    labels
}

fn planned_mounts(
    instance: &Instance,
    spec: &DeploymentSpec,
    container: &ContainerSpec,
) -> Vec<PlannedMount> {
    let plan = |mount: &Mount| PlannedMount {
        mount: mount.clone(),
        volume: mounted_volume(instance, spec, mount),
    };
    container.mounts.iter().map(plan).collect()
}

/// The engine's name of the named volume behind a mount.
pub(crate) fn mounted_volume(
    instance: &Instance,
    spec: &DeploymentSpec,
    mount: &Mount,
) -> Option<String> {
    match &mount.kind {
        MountKind::Volume { volume, .. } => Some(volume_name(instance, spec, volume)),
        MountKind::Anonymous
        | MountKind::Bind { .. }
        | MountKind::Tmpfs { .. }
        | MountKind::Image { .. } => None,
    }
}

fn endpoints(
    instance: &Instance,
    spec: &DeploymentSpec,
    container: &ContainerSpec,
    addresses: &BTreeMap<String, Ipv4Addr>,
) -> Vec<Endpoint> {
    if container.network_mode != NetworkMode::Networks {
        return Vec::new();
    }
    let plan = |(position, attachment): (usize, &NetworkAttachment)| {
        let mut aliases = vec![instance.service.to_string(), instance.id.replica.to_string()];
        aliases.extend(attachment.aliases.iter().cloned());
        aliases.sort();
        aliases.dedup();
        let first = container.mac_address.clone().filter(|_| position == 0);
        let network = spec.scope_of(&attachment.network).engine_name();
        Endpoint {
            address: addresses.get(&network).copied(),
            network,
            aliases,
            mac_address: attachment.mac_address.clone().or(first),
            gw_priority: attachment.gw_priority,
            interface_name: attachment.interface_name.clone(),
        }
    };
    container.networks.iter().enumerate().map(plan).collect()
}

/// Ports that Docker publishes: those of mode `host`. The others are listeners of the daemon.
fn published(service: &ServiceSpec) -> Vec<PortSpec> {
    if service.container.network_mode != NetworkMode::Networks {
        return Vec::new();
    }
    let by_docker = |port: &&PortSpec| port.published.is_some() && port.mode == PortMode::Host;
    service.ports.iter().filter(by_docker).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_named_by_digest() {
        let pin = |reference: &str, local| ImagePin {
            reference: reference.to_owned(),
            digest: "sha256:d".to_owned(),
            local,
        };
        for (reference, name) in [
            ("web", "web@sha256:d"),
            ("web:1.2", "web@sha256:d"),
            ("registry.test:5000/a/web:1.2", "registry.test:5000/a/web@sha256:d"),
            ("registry.test:5000/web", "registry.test:5000/web@sha256:d"),
            ("web:1@sha256:e", "web@sha256:d"),
        ] {
            assert_eq!(image_name(&pin(reference, false)), name);
        }
        assert_eq!(image_name(&pin("web:1", true)), "sha256:d");
    }
}
