//! The policy of one node, out of the replicated state.

use crate::policy::{Bridge, Policy, ScopeBlocks};
use crate::prefix::Prefix;
use crate::settings::Options;
use jaco_model::NodeId;
use jaco_model::entity::Node;
use jaco_state::State;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

/// What this node should enforce; `None` as long as the cluster has no address plan.
pub(crate) fn policy(state: &State, me: &NodeId, options: &Options) -> Option<Policy> {
    let plan = state.cluster.as_ref()?.ipam?;
    let mut block_lengths: BTreeSet<u8> =
        state.scopes.values().map(|record| record.prefix).collect();
    block_lengths.insert(plan.block_prefix);
    let mut bridges = BTreeMap::new();
    let mut scopes = BTreeSet::new();
    for (scope, block) in state.blocks_on(me) {
        let Some(record) = state.scope(scope) else { continue };
        let (local, gateway) = (Prefix::from(block.net), block.gateway());
        let bridge = Bridge { block: local, gateway, internal: record.internal };
        bridges.insert(record.bridge.clone(), bridge);
        let elsewhere = state.blocks_of(scope).filter(|(node, _)| *node != me);
        let remote = elsewhere.map(|(_, block)| Prefix::from(block.net)).collect();
        scopes.insert(ScopeBlocks { local, remote });
    }
    Some(Policy {
        block_lengths,
        bridges,
        scopes,
        node_addresses: state.nodes.values().flat_map(|node| addresses(node)).collect(),
        host_ports: options.host_ports.clone(),
        control_ports: options.control_ports.clone(),
        block_metadata: options.block_metadata,
        ..Policy::closed(plan.pool.into(), plan.mesh_range().into())
    })
}

/// The addresses that a member tells others; names are not resolved.
fn addresses(node: &Node) -> impl Iterator<Item = Ipv4Addr> {
    let told = [&node.facts.address, &node.facts.api_address];
    told.into_iter().filter_map(|told| told.rsplit_once(':')?.0.parse().ok())
}
