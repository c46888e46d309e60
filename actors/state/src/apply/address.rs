//! Giving addresses out and taking them back: blocks of scopes, and members' own in the mesh.
//!
//! What is given out follows from the state and the command's stamp alone. Nothing is given out
//! before the cluster has an address plan.

use super::Tx;
use crate::State;
use crate::query::IDLE_KEPT;
use ipnet::Ipv4Net;
use jaco_model::command::Reply;
use jaco_model::entity::{Block, Ipam, MeshFacts, Node, Quarantine, Scope, ScopeRecord, Tombstone};
use jaco_model::event::Event;
use jaco_model::name::BRIDGE_PREFIX;
use jaco_model::{DeploymentName, ErrorCode, Fault, Millis, NodeId, WallMs};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

/// How long a block that was given back stays unused.
const QUARANTINE: Millis = Millis::secs(60);

/// How long the mesh address of a member that was removed stays unused.
const MESH_KEPT: Millis = Millis::secs(24 * 3_600);

/// Digits of RFC 4648 in lower case.
const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

pub(super) fn establish(tx: &mut Tx<'_>, ipam: Ipam) -> Result<Reply, Fault> {
    let Some(cluster) = tx.state.cluster.clone() else {
        return Err(Fault::new(ErrorCode::ClusterUninitialized, "there is no cluster yet"));
    };
    if cluster.ipam.is_some() {
        return Ok(Reply::Done);
    }
    ipam.check()?;
    let mut cluster = cluster.as_ref().clone();
    cluster.ipam = Some(ipam);
    tx.state.put_cluster(cluster);
    tx.events.push(Event::ClusterChanged);
    catch_up(tx);
    Ok(Reply::Done)
}

/// Gives addresses to what was there before the plan: members in the order in which they came,
/// then instances. What finds none waits for its next placement.
fn catch_up(tx: &mut Tx<'_>) {
    let mut members: Vec<_> =
        tx.state.nodes.values().map(|node| (node.joined_at, node.id.clone())).collect();
    members.sort();
    for (_, id) in members {
        let Some(member) = tx.state.nodes.get(&id).cloned() else { continue };
        if let Ok(mesh_address @ Some(_)) = free_mesh_address(tx) {
            tx.state.put(Node { mesh_address, ..member.as_ref().clone() });
            tx.events.push(Event::NodeChanged(id));
        }
    }
    let instances: Vec<_> = tx.state.instances.values().cloned().collect();
    for instance in instances {
        let scopes = tx.state.scopes_of(&instance);
        if let Ok(blocks) = reserve(tx, &scopes, &instance.node) {
            occupy(tx, blocks, &scopes, &instance.node);
        }
    }
}

/// The lowest address of the mesh that nobody has or had a short while ago; `None` without a plan.
pub(super) fn free_mesh_address(tx: &Tx<'_>) -> Result<Option<Ipv4Addr>, Fault> {
    if tx.state.cluster.as_ref().and_then(|cluster| cluster.ipam).is_none() {
        return Ok(None);
    }
    let is_held = |grave: &&std::sync::Arc<Tombstone>| {
        grave.removed_at.0.saturating_add(MESH_KEPT.0) > tx.now.0
    };
    let held = tx.state.tombstones.values().filter(is_held).filter_map(|grave| grave.mesh_address);
    let members = tx.state.nodes.values().filter_map(|node| node.mesh_address);
    let taken: BTreeSet<Ipv4Addr> = members.chain(held).collect();
    let range = tx.state.mesh_range();
    let free = range.hosts().find(|address| !taken.contains(address));
    free.map(Some).ok_or_else(|| {
        let message = format!("all addresses of the mesh, {range}, are taken");
        Fault::new(ErrorCode::SubnetPoolExhausted, message)
            .with("pool", range)
            .with("needed", "/32")
            .with("hint", "addresses of members that were removed are free again after a day")
    })
}

/// Refuses a key that cannot be one, or that another member has.
pub(super) fn check_mesh_key(
    state: &State,
    id: &NodeId,
    mesh: Option<&MeshFacts>,
) -> Result<(), Fault> {
    let Some(mesh) = mesh else { return Ok(()) };
    if !mesh.has_key() {
        return Err(super::node::invalid("this is no public key", "public_key", "format"));
    }
    let same = |node: &&std::sync::Arc<Node>| {
        node.facts.mesh.as_ref().is_some_and(|other| other.public_key == mesh.public_key)
    };
    let mut others = state.nodes.values().filter(|node| node.id != *id);
    let Some(owner) = others.find(same) else { return Ok(()) };
    let message = format!("{} has this mesh key already; every member has its own", owner.name);
    Err(Fault::new(ErrorCode::AlreadyExists, message)
        .with("kind", "mesh_key")
        .with("owner", &owner.name)
        .with("hint", "a data directory was copied; remove keys/wg.key on one of the nodes"))
}

/// The blocks that an instance of these scopes lacks on a node.
///
/// # Errors
///
/// `network_block_full` or `subnet_pool_exhausted`; nothing is changed then.
pub(super) fn reserve(
    tx: &Tx<'_>,
    scopes: &[Scope],
    node: &NodeId,
) -> Result<Vec<(Scope, Ipv4Net)>, Fault> {
    let mut blocks = Vec::new();
    if tx.state.cluster.as_ref().and_then(|cluster| cluster.ipam).is_none() {
        return Ok(blocks);
    }
    let mut space = None;
    for scope in scopes {
        let prefix = tx.state.block_prefix(scope);
        if tx.state.block(scope, node).is_some() {
            let capacity = Block::capacity(prefix);
            if tx.state.attached_on(scope, node) >= capacity {
                return Err(block_full(tx, scope, node, capacity));
            }
            continue;
        }
        let space = space.get_or_insert_with(|| tx.state.free_space(tx.now));
        let net = space.lowest(prefix).filter(|net| space.take(*net));
        let net = net.ok_or_else(|| tx.state.pool_exhausted(prefix, tx.now))?;
        blocks.push((scope.clone(), net));
    }
    Ok(blocks)
}

fn block_full(tx: &Tx<'_>, scope: &Scope, node: &NodeId, capacity: u32) -> Fault {
    let host = tx.state.nodes.get(node).map_or_else(String::new, |node| node.name.to_string());
    let message = format!("all {capacity} addresses of {scope} on {host} are taken");
    Fault::new(ErrorCode::NetworkBlockFull, message)
        .with("network", scope)
        .with("host", host)
        .with("capacity", capacity)
}

/// Gives the reserved blocks out, and says of all the scopes' blocks that they are in use.
pub(super) fn occupy(
    tx: &mut Tx<'_>,
    blocks: Vec<(Scope, Ipv4Net)>,
    scopes: &[Scope],
    node: &NodeId,
) {
    end_quarantine(tx);
    for (scope, net) in blocks {
        if tx.state.scope(&scope).is_none() {
            let record = new_record(tx.state, &scope, net.prefix_len());
            tx.state.put(record);
        }
        tx.touch(&scope.deployment);
        tx.state.put(Block { scope, node: node.clone(), net, since: tx.now, idle_since: None });
    }
    for scope in scopes {
        let Some(block) = tx.state.block(scope, node).cloned() else { continue };
        if block.idle_since.is_some() {
            tx.state.put(Block { idle_since: None, ..block.as_ref().clone() });
            tx.touch(&scope.deployment);
        }
    }
}

/// Forgets that addresses were given back, once they may be used again.
fn end_quarantine(tx: &mut Tx<'_>) {
    let over = tx.state.quarantine.values().filter(|held| held.until <= tx.now);
    let over: Vec<Ipv4Net> = over.map(|held| held.net).collect();
    for net in over {
        tx.state.take::<Quarantine>(&net);
    }
}

fn new_record(state: &State, scope: &Scope, prefix: u8) -> ScopeRecord {
    let taken: BTreeSet<&str> =
        state.scopes.values().map(|record| record.bridge.as_str()).collect();
    let free = (0..=u32::MAX).map(|counter| bridge_name(scope, counter));
    let bridge = free.into_iter().find(|name| !taken.contains(name.as_str()));
    ScopeRecord {
        scope: scope.clone(),
        bridge: bridge.unwrap_or_default(),
        engine_name: scope.engine_name(),
        prefix,
        internal: is_internal(state, scope),
    }
}

fn is_internal(state: &State, scope: &Scope) -> bool {
    let owner = state.current(&scope.deployment);
    let network = owner.and_then(|record| record.spec.networks.get(scope.key()));
    network.is_some_and(|network| network.internal)
}

/// `jaco-` and the first 50 bits of a digest; a counter above 0 gives another name.
fn bridge_name(scope: &Scope, counter: u32) -> String {
    let mut text = format!("{}\0{}", scope.deployment, scope.network);
    if counter > 0 {
        text.push_str(&format!("\0{counter}"));
    }
    let digest = Sha256::digest(text);
    let bits = digest.iter().take(7).fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte)) >> 6;
    let digit = |n: u32| char::from(BASE32[(bits >> (5 * (9 - n)) & 31) as usize]);
    format!("{BRIDGE_PREFIX}{}", (0..10).map(digit).collect::<String>())
}

/// Says of these scopes' blocks on a node that nobody uses them any more, where that is so.
pub(super) fn vacate(tx: &mut Tx<'_>, scopes: &[Scope], node: &NodeId) {
    for scope in scopes {
        let Some(block) = tx.state.block(scope, node).cloned() else { continue };
        if block.idle_since.is_none() && tx.state.attached_on(scope, node) == 0 {
            tx.state.put(Block { idle_since: Some(tx.now), ..block.as_ref().clone() });
            tx.touch(&scope.deployment);
        }
    }
}

/// The scheduler's word that a block was idle for long enough.
pub(super) fn release(tx: &mut Tx<'_>, scope: &Scope, node: &NodeId) -> Result<(), Fault> {
    let stale =
        |message: String| Fault::new(ErrorCode::Conflict, message).with("operation", "schedule");
    let Some(block) = tx.state.block(scope, node) else {
        return Err(stale(format!("{scope} has no addresses on node {node}")));
    };
    let is_due =
        block.idle_since.is_some_and(|since| since.0.saturating_add(IDLE_KEPT.0) <= tx.now.0);
    if !is_due {
        return Err(stale(format!("the addresses of {scope} on node {node} are in use again")));
    }
    end_quarantine(tx);
    give_back(tx, scope, node);
    Ok(())
}

/// A deployment is gone: so are the blocks of its networks that no other deployment still uses.
pub(super) fn release_deployment(tx: &mut Tx<'_>, name: &DeploymentName) {
    let first = Scope { deployment: name.clone(), network: String::new() };
    let own = tx.state.blocks.range((first, NodeId::new(""))..);
    let own = own.take_while(|((scope, _), _)| scope.deployment == *name);
    let idle = own.filter(|(_, block)| block.idle_since.is_some());
    let keys: Vec<_> = idle.map(|(key, _)| key.clone()).collect();
    end_quarantine(tx);
    for (scope, node) in keys {
        give_back(tx, &scope, &node);
    }
}

/// A node is gone: so are its blocks.
pub(super) fn release_node(tx: &mut Tx<'_>, node: &NodeId) {
    let scopes: Vec<Scope> = tx.state.blocks_on(node).map(|(scope, _)| scope.clone()).collect();
    end_quarantine(tx);
    for scope in scopes {
        give_back(tx, &scope, node);
    }
}

fn give_back(tx: &mut Tx<'_>, scope: &Scope, node: &NodeId) {
    let Some(block) = tx.state.take::<Block>(&(scope.clone(), node.clone())) else { return };
    let until = WallMs(tx.now.0.saturating_add(QUARANTINE.0));
    tx.state.put(Quarantine { net: block.net, until });
    if tx.state.blocks_of(scope).next().is_none() {
        tx.state.take::<ScopeRecord>(scope);
    }
    tx.touch(&scope.deployment);
}

/// A revision may change whether a network has a way out; that holds at once.
pub(super) fn refresh(tx: &mut Tx<'_>, name: &DeploymentName) {
    let first = Scope { deployment: name.clone(), network: String::new() };
    let own = tx.state.scopes.range(first..).take_while(|(scope, _)| scope.deployment == *name);
    let records: Vec<_> = own.map(|(_, record)| record.clone()).collect();
    for record in records {
        let internal = is_internal(tx.state, &record.scope);
        tx.state.put(ScopeRecord { internal, ..record.as_ref().clone() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bridges_have_names_that_a_kernel_takes() {
        let scope =
            |deployment: &str, network: &str| Scope::new(DeploymentName::new(deployment), network);
        // printf 'shop\0default' | sha256sum | xxd -r -p | base32 | cut -c1-10
        let name = bridge_name(&scope("shop", "_default"), 0);
        assert_eq!(name.len(), 15);
        assert_ne!(name, bridge_name(&scope("shop", "_default"), 1));
        assert_ne!(bridge_name(&scope("a", "b_c"), 0), bridge_name(&scope("a_b", "c"), 0));
        assert_eq!(name, "jaco-3w4alcjydb");
    }
}
