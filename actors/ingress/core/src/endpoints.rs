//! Which replicas of a service may take requests, and where they are.

use crate::table::{Endpoint, Service};
use jaco_model::entity::{Desired, Instance, NodeStatus, Scope};
use jaco_model::spec::{DeploymentSpec, NetworkMode, ServiceSpec};
use jaco_model::{InstanceId, NodeId};
use jaco_state::State;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

/// What the node knows besides the state.
#[derive(Debug)]
pub(crate) struct Extra {
    /// This node.
    pub(crate) me: NodeId,
    /// Nodes taken for dead.
    pub(crate) suspects: BTreeSet<NodeId>,
    /// Addresses of this node's containers by network key, before they are reported.
    pub(crate) seated: BTreeMap<InstanceId, BTreeMap<String, String>>,
}

/// One service of the current revision as it is now.
pub(crate) fn service_of(
    state: &State,
    extra: &Extra,
    spec: &DeploymentSpec,
    service: &ServiceSpec,
) -> Service {
    let key = (spec.name.clone(), service.name.clone());
    let mut endpoints = Vec::new();
    let mut meant_to_run = 0_u32;
    for replica in state.replicas_of(&key) {
        for instance in state.instances_of(&replica.id) {
            if instance.desired == Desired::Run {
                meant_to_run = meant_to_run.saturating_add(1);
                endpoints.extend(endpoint_of(state, extra, instance));
            }
        }
    }
    let deployment = state.deployments.get(&spec.name);
    let wanted = deployment.and_then(|deployment| state.wanted_replicas(deployment, service));
    Service {
        deployment: spec.name.clone(),
        name: service.name.clone(),
        endpoints,
        wanted: wanted.unwrap_or(meant_to_run),
        drain_timeout: service.drain_timeout,
    }
}

/// An instance that may take requests, with its address.
fn endpoint_of(state: &State, extra: &Extra, instance: &Instance) -> Option<Endpoint> {
    let is_local = instance.node == extra.me;
    // A node speaks for itself, whatever others think of it.
    let is_up = is_local || is_alive(state, &instance.node, &extra.suspects);
    if !is_up || !instance.status.state.is_ready() {
        return None;
    }
    Some(Endpoint {
        instance: instance.id.clone(),
        address: address_of(state, extra, instance)?,
        node: instance.node.clone(),
        is_local,
        ready_since: instance.status.since,
    })
}

fn is_alive(state: &State, node: &NodeId, suspects: &BTreeSet<NodeId>) -> bool {
    let is_up = state.nodes.get(node).is_some_and(|node| node.status != NodeStatus::Down);
    is_up && !suspects.contains(node)
}

/// The address in the first network of its service where the container has one. A container in the
/// namespace of another is reached at that one's.
fn address_of(state: &State, extra: &Extra, instance: &Instance) -> Option<Ipv4Addr> {
    let (spec, service) = state.specs_of(instance)?;
    let (seat, holder) = match &service.container.network_mode {
        NetworkMode::Service(name) => (spec.services.get(name)?, state.host_of(instance, name)?),
        _ => (service, instance),
    };
    let scopes = spec.scopes_of(seat);
    let seated = extra.seated.get(&holder.id).filter(|_| holder.node == extra.me);
    let known = seated.into_iter().flatten().chain(&holder.status.addresses);
    let place = |scope: &Scope| scopes.iter().position(|own| own == scope);
    known
        .filter_map(|(key, address)| Some((place(&spec.scope_of(key))?, address.parse().ok()?)))
        .min_by_key(|(place, _)| *place)
        .map(|(_, address)| address)
}
