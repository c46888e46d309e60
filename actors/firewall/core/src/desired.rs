//! The policy of one node, out of the replicated state.

use crate::policy::{Bridge, Policy, ScopeBlocks};
use crate::prefix::Prefix;
use crate::settings::Options;
use jaco_model::NodeId;
use jaco_model::entity::{Instance, Node, Scope};
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
    let Junctions { strays, detours, open } = junctions(state, me);
    Some(Policy {
        block_lengths,
        strays,
        detours,
        open,
        bridges,
        scopes,
        node_addresses: state.nodes.values().flat_map(|node| addresses(node)).collect(),
        host_ports: options.host_ports.clone(),
        control_ports: options.control_ports.clone(),
        block_metadata: options.block_metadata,
        ..Policy::closed(plan.pool.into(), plan.mesh_range().into())
    })
}

/// What containers in several networks need.
#[derive(Debug, Default)]
struct Junctions {
    strays: BTreeSet<(String, Ipv4Addr)>,
    detours: BTreeSet<(Ipv4Addr, Prefix)>,
    open: BTreeSet<Ipv4Addr>,
}

/// Both ends of a way let a detour pass: the node of the container, and that of the block.
fn junctions(state: &State, me: &NodeId) -> Junctions {
    let mut found = Junctions::default();
    let several = state.instances.values().filter(|one| one.status.addresses.len() > 1);
    for instance in several.filter(|one| one.status.state.has_process()) {
        let seats = seats(state, instance);
        for (scope, address) in &seats {
            for other in seats.keys().filter(|other| *other != scope) {
                let is_local = instance.node == *me;
                let blocks = state.blocks_of(other).filter(|(node, _)| match is_local {
                    true => *node != me,
                    false => *node == me,
                });
                found.detours.extend(blocks.map(|(_, block)| (*address, block.net.into())));
                let Some(record) = state.scope(other).filter(|_| is_local) else { continue };
                found.strays.insert((record.bridge.clone(), *address));
                let is_closed = state.scope(scope).is_some_and(|own| own.internal);
                if is_closed && !record.internal {
                    found.open.insert(*address);
                }
            }
        }
    }
    found
}

/// The addresses of a container by scope.
fn seats(state: &State, instance: &Instance) -> BTreeMap<Scope, Ipv4Addr> {
    let Some((spec, _)) = state.specs_of(instance) else { return BTreeMap::new() };
    let addresses = instance.status.addresses.iter();
    let seat = |(key, text): (&String, &String)| Some((spec.scope_of(key), text.parse().ok()?));
    addresses.filter_map(seat).collect()
}

/// The addresses that a member tells others; names are not resolved.
fn addresses(node: &Node) -> impl Iterator<Item = Ipv4Addr> {
    let told = [&node.facts.address, &node.facts.api_address];
    told.into_iter().filter_map(|told| told.rsplit_once(':')?.0.parse().ok())
}
