//! How many replicas a service should have, and which nodes its hard rules allow, apart from room.

use crate::State;
use jaco_model::entity::{Deployment, Node, NodeStatus};
use jaco_model::spec::{Placement, PlacementPolicy, ServiceSpec};
use std::sync::Arc;

/// How many replicas a service should have now; for a global one, its eligible nodes.
pub fn wanted_count(state: &State, deployment: &Deployment, service: &ServiceSpec) -> u32 {
    state.wanted_replicas(deployment, service).unwrap_or_else(|| {
        let nodes = eligible_nodes(state, &service.placement).count();
        u32::try_from(nodes).unwrap_or(u32::MAX)
    })
}

/// The nodes that may take work and that a placement's hosts and constraints allow, by id.
pub fn eligible_nodes<'a>(
    state: &'a State,
    placement: &'a Placement,
) -> impl Iterator<Item = &'a Arc<Node>> {
    let takes_work = |node: &&Arc<Node>| node.status == NodeStatus::Ready && node.schedulable;
    state.nodes.values().filter(takes_work).filter(|node| allows(placement, node))
}

fn allows(placement: &Placement, node: &Node) -> bool {
    let pinned = placement.policy == PlacementPolicy::Hosts || !placement.hosts.is_empty();
    (!pinned || placement.hosts.contains(&node.name))
        && placement.constraints.iter().all(|constraint| node.satisfies(constraint))
}
