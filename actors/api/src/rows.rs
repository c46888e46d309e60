//! Rows of the tables: the replicated state in the API's words.

use crate::backend::Contacts;
use jaco_model::entity::{Instance, Node, Replica, Slot, Transition};
use jaco_model::spec::{PortSpec, Protocol, ServiceSpec};
use jaco_model::view::{
    CapacityView, MeshNodeView, NodeView, ReplicaRow, ReplicaStatusRow, TransitionView,
};
use jaco_model::{Fault, NodeId, WallMs};
use jaco_state::State;
use std::collections::BTreeMap;
use std::time::Duration;

/// A moment as RFC 3339.
pub(crate) fn stamp(at: WallMs) -> String {
    at.to_string()
}

/// A node's hostname; its id while the node is not known.
pub(crate) fn hostname(state: &State, node: &NodeId) -> String {
    state.nodes.get(node).map_or_else(|| node.to_string(), |node| node.name.to_string())
}

/// The index of a slot, for services that number their replicas.
fn index(slot: &Slot) -> Option<u32> {
    match slot {
        Slot::Index(index) => Some(*index),
        Slot::Node(_) => None,
    }
}

/// The fault of a row in its three columns.
fn reason(fault: Option<&Fault>) -> (Option<String>, Option<String>, BTreeMap<String, String>) {
    let code = fault.map(|fault| fault.code.to_string());
    let message = fault.map(|fault| fault.message.clone());
    (code, message, fault.map(|fault| fault.details.clone()).unwrap_or_default())
}

/// The `status` row of an instance.
pub(crate) fn instance_status(state: &State, instance: &Instance) -> ReplicaStatusRow {
    let status = &instance.status;
    let (code, message, details) = reason(status.fault.as_ref());
    ReplicaStatusRow {
        id: instance.id.replica.to_string(),
        state: status.state.as_str().to_owned(),
        host: hostname(state, &instance.node),
        container_id: status.container_id.clone().unwrap_or_default(),
        last_health_at: status.last_health_at.map(stamp),
        code,
        message,
        details,
        deployment: instance.deployment.to_string(),
        service: instance.service.to_string(),
        index: index(&instance.slot),
        generation: instance.id.generation.0,
        instance: instance.id.to_string(),
        ready: status.state.is_ready(),
        restart_count: status.restarts,
        ip: status.addresses.values().next().cloned(),
        since: stamp(status.since),
    }
}

/// The `status` row of a slot that has no instance.
pub(crate) fn waiting_status(replica: &Replica) -> ReplicaStatusRow {
    let (code, message, details) = reason(replica.waiting.as_ref());
    ReplicaStatusRow {
        id: replica.id.to_string(),
        state: "pending".to_owned(),
        code,
        message,
        details,
        deployment: replica.deployment.to_string(),
        service: replica.service.to_string(),
        index: index(&replica.slot),
        ..ReplicaStatusRow::default()
    }
}

/// The `ps` row of an instance.
pub(crate) fn instance_row(state: &State, instance: &Instance) -> ReplicaRow {
    let status = &instance.status;
    let (code, message, details) = reason(status.fault.as_ref());
    ReplicaRow {
        id: instance.id.replica.to_string(),
        deployment: instance.deployment.to_string(),
        service: instance.service.to_string(),
        index: index(&instance.slot),
        state: status.state.as_str().to_owned(),
        host: hostname(state, &instance.node),
        image: instance.image.reference.clone(),
        revision: instance.revision.0,
        container_id: status.container_id.clone().unwrap_or_default(),
        restart_count: status.restarts,
        code,
        message,
        details,
        started_at: status.started_at.map(stamp),
        last_health_at: status.last_health_at.map(stamp),
        instance: instance.id.to_string(),
        generation: instance.id.generation.0,
        ips: status.addresses.clone(),
        ports: state.spec_of(instance).map(published).unwrap_or_default(),
    }
}

/// The `ps` row of a slot that has no instance.
pub(crate) fn waiting_row(state: &State, replica: &Replica) -> ReplicaRow {
    let (code, message, details) = reason(replica.waiting.as_ref());
    let record = state.current(&replica.deployment);
    let service = record.and_then(|record| record.spec.services.get(&replica.service));
    ReplicaRow {
        id: replica.id.to_string(),
        deployment: replica.deployment.to_string(),
        service: replica.service.to_string(),
        index: index(&replica.slot),
        state: "pending".to_owned(),
        image: service.map(|service| service.container.image.clone()).unwrap_or_default(),
        revision: record.map_or(0, |record| record.number.0),
        code,
        message,
        details,
        ..ReplicaRow::default()
    }
}

/// Published ports as Docker writes them.
fn published(service: &ServiceSpec) -> Vec<String> {
    service.ports.iter().filter_map(port).collect()
}

fn port(port: &PortSpec) -> Option<String> {
    let protocol = match port.protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    };
    let address = port.host_ip.map(|ip| format!("{ip}:")).unwrap_or_default();
    Some(format!("{address}{}->{}/{protocol}", port.published?, port.target))
}

/// One line of an instance's history.
pub(crate) fn transition(step: &Transition) -> TransitionView {
    TransitionView {
        ts: stamp(step.ts),
        from: step.from.as_str().to_owned(),
        to: step.to.as_str().to_owned(),
        code: step.fault.as_ref().map(|fault| fault.code.to_string()),
        message: step.fault.as_ref().map(|fault| fault.message.clone()),
    }
}

/// All members, by hostname.
pub(crate) fn nodes(state: &State, contacts: &Contacts) -> Vec<NodeView> {
    let mut rows: Vec<_> = state.nodes.values().map(|one| node(state, one, contacts)).collect();
    rows.sort_by(|a, b| a.hostname.cmp(&b.hostname));
    rows
}

/// One member.
fn node(state: &State, node: &Node, contacts: &Contacts) -> NodeView {
    let facts = &node.facts;
    let mut labels = facts.labels.clone();
    labels.extend(node.labels.clone());
    let mut conditions = facts.conditions.clone();
    conditions.extend(node.leaving.map(|_| "leaving".to_owned()));
    conditions.extend(contacts.suspects.contains(&node.id).then(|| "suspect".to_owned()));
    NodeView {
        hostname: node.name.to_string(),
        address: facts.address.clone(),
        status: node.status.as_str().to_owned(),
        conditions,
        schedulable: node.schedulable,
        suffrage: if node.voter { "voter" } else { "nonvoter" }.to_owned(),
        version: facts.version.clone(),
        engine_version: facts.engine_version.clone(),
        labels,
        platform: facts.platform.clone(),
        capacity: CapacityView::from(&facts.capacity),
        reserved: reserved(state, node),
        replicas: u32::try_from(state.instances_on(&node.id).count()).unwrap_or(u32::MAX),
        last_contact_seconds: contacts.ages.get(&node.id).map(Duration::as_secs),
        wireguard: facts.mesh.as_ref().map(|mesh| MeshNodeView {
            address: node.mesh_address.map(|address| address.to_string()).unwrap_or_default(),
            kind: mesh.kind.as_str().to_owned(),
            mtu: mesh.mtu,
            path: contacts.paths.get(&node.id).map(|path| (*path).to_owned()),
        }),
    }
}

/// What the instances placed on a node reserve.
fn reserved(state: &State, node: &Node) -> CapacityView {
    let specs = state.instances_on(&node.id).filter_map(|instance| state.spec_of(instance));
    let (cpu_milli, memory) = specs.fold((0, 0), |(cpu, memory), spec| {
        let resources = &spec.container.resources;
        (cpu + resources.reserved_cpu_milli, memory + resources.reserved_memory)
    });
    CapacityView::from(&jaco_model::entity::Capacity {
        cpu_milli,
        memory,
        generic: BTreeMap::new(),
    })
}
