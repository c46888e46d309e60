//! From the replicated state to what names are made of.
//!
//! Only what shares a network with a container of this node is described: a node of a large
//! cluster makes no tables for deployments that it has nothing of.

use crate::describe::{Attachment, ContainerEntry, Description, PortName, ServiceEntry};
use jaco_model::entity::{Block, Instance, InstanceState, NodeStatus, Scope};
use jaco_model::spec::{DeploymentSpec, NetworkMode, PortSpec, ServiceSpec};
use jaco_model::{InstanceId, NodeId};
use jaco_state::State;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// What the node knows besides the state.
#[derive(Debug, Default)]
pub(crate) struct Extra {
    /// Nodes taken for dead.
    pub(crate) suspects: BTreeSet<NodeId>,
    /// Addresses of this node's containers by network key, before they are reported.
    pub(crate) seated: BTreeMap<InstanceId, BTreeMap<String, String>>,
}

/// The bridges of a node by gateway address. One that has lost its last container is taken down.
pub(crate) fn bridges(state: &State, me: &NodeId) -> BTreeMap<Ipv4Addr, String> {
    let used = state.blocks_on(me).filter(|(_, block)| block.idle_since.is_none());
    let named = |(scope, block): (&Scope, &Block)| {
        Some((block.gateway(), state.scope(scope)?.bridge.clone()))
    };
    used.filter_map(named).collect()
}

/// What this node's containers may know.
pub(crate) fn describe(state: &State, me: &NodeId, extra: &Extra, ttl: u32) -> Description {
    let mut local = BTreeSet::new();
    for instance in state.instances_on(me) {
        if let Some((spec, service)) = state.specs_of(instance) {
            local.extend(scopes_of(spec, service));
        }
    }
    let mut description = Description {
        pool: Some(state.pool()),
        ttl,
        deployments: state.deployments.keys().cloned().collect(),
        ..Description::default()
    };
    if local.is_empty() {
        return description;
    }
    for deployment in state.deployments.values() {
        let Some(record) = state.revision(&deployment.name, deployment.revision) else { continue };
        for service in record.spec.services.values() {
            let entry = service_entry(&record.spec, service);
            if entry.networks.keys().any(|scope| local.contains(scope)) {
                description.services.push(entry);
            }
        }
    }
    for instance in state.instances.values() {
        let Some((spec, service)) = state.specs_of(instance) else { continue };
        if !scopes_of(spec, service).iter().any(|scope| local.contains(scope)) {
            continue;
        }
        description.containers.push(container_entry(state, me, extra, instance, spec, service));
    }
    description
}

/// The service whose networks a service's containers are in.
fn seat_of<'s>(spec: &'s DeploymentSpec, service: &'s ServiceSpec) -> &'s ServiceSpec {
    match &service.container.network_mode {
        NetworkMode::Service(other) => spec.services.get(other).unwrap_or(service),
        _ => service,
    }
}

fn scopes_of(spec: &DeploymentSpec, service: &ServiceSpec) -> Vec<Scope> {
    spec.scopes_of(seat_of(spec, service))
}

/// Further names by network. A service in another's namespace has none of its own.
fn aliases_of(spec: &DeploymentSpec, service: &ServiceSpec) -> BTreeMap<Scope, Vec<String>> {
    let scopes = scopes_of(spec, service).into_iter();
    let mut aliases: BTreeMap<Scope, Vec<String>> =
        scopes.map(|scope| (scope, Vec::new())).collect();
    for attachment in &service.container.networks {
        if let Some(names) = aliases.get_mut(&spec.scope_of(&attachment.network)) {
            names.extend(attachment.aliases.iter().cloned());
        }
    }
    aliases
}

fn ports_of(ports: &[PortSpec]) -> Vec<PortName> {
    let named = |port: &PortSpec| {
        let name = port.name.clone()?;
        Some(PortName { name, protocol: port.protocol, port: port.target })
    };
    ports.iter().filter_map(named).collect()
}

fn service_entry(spec: &DeploymentSpec, service: &ServiceSpec) -> ServiceEntry {
    ServiceEntry {
        deployment: spec.name.clone(),
        name: service.name.to_string(),
        networks: aliases_of(spec, service),
        ports: ports_of(&service.ports),
    }
}

fn container_entry(
    state: &State,
    me: &NodeId,
    extra: &Extra,
    instance: &Instance,
    spec: &DeploymentSpec,
    service: &ServiceSpec,
) -> ContainerEntry {
    let is_local = instance.node == *me;
    let seated = extra.seated.get(&instance.id).filter(|_| is_local);
    let mut networks: BTreeMap<Scope, Attachment> = aliases_of(spec, service)
        .into_iter()
        .map(|(scope, aliases)| (scope, Attachment { address: None, aliases }))
        .collect();
    let host = match &service.container.network_mode {
        NetworkMode::Service(name) => state.host_of(instance, name),
        _ => None,
    };
    let reported = host.map_or(&instance.status.addresses, |host| &host.status.addresses);
    for (key, address) in reported.iter().chain(seated.into_iter().flatten()) {
        if let Some(attachment) = networks.get_mut(&spec.scope_of(key)) {
            attachment.address = address.parse().ok();
        }
    }
    let status = instance.status.state;
    let is_up = is_local || is_alive(state, &instance.node, &extra.suspects);
    ContainerEntry {
        replica: instance.id.replica.to_string(),
        deployment: instance.deployment.clone(),
        service: instance.service.to_string(),
        networks,
        ports: ports_of(&service.ports),
        is_running: is_up && status.has_process(),
        is_ready: is_up && status.is_ready(),
        is_local: is_local && (seated.is_some() || !has_ended(status)),
        is_lodger: matches!(service.container.network_mode, NetworkMode::Service(_)),
        forwarders: forwarders(&service.container.dns),
    }
}

/// Whether a node answers, as far as this one knows. A node speaks for itself, so its own
/// containers stay known to it whatever others think.
fn is_alive(state: &State, node: &NodeId, suspects: &BTreeSet<NodeId>) -> bool {
    let is_up = state.nodes.get(node).is_some_and(|node| node.status != NodeStatus::Down);
    is_up && !suspects.contains(node)
}

/// Whether a container asks nothing any more. Its address may have another owner.
fn has_ended(state: InstanceState) -> bool {
    use InstanceState::{Completed, Failed, Lost, Stopped};
    matches!(state, Completed | Failed | Lost | Stopped)
}

/// The addresses of `dns:`. What is none was refused when the file was applied.
fn forwarders(dns: &[String]) -> Vec<SocketAddr> {
    let read = |text: &String| {
        let address = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53));
        address.or_else(|_| text.parse::<SocketAddr>()).ok()
    };
    dns.iter().filter_map(read).collect()
}
