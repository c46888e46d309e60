//! The invariants of the address plan.

use super::{ADDRESSES, INNER, Violation, ensure};
use crate::State;
use imbl::{OrdMap, OrdSet};
use jaco_model::NodeId;
use jaco_model::entity::{Ipam, Scope};
use std::collections::BTreeSet;

impl State {
    pub(super) fn check_addresses(&self) -> Result<(), Violation> {
        self.check_ranges()?;
        self.check_scopes()?;
        self.check_mesh()?;
        let mut by_node: OrdMap<NodeId, OrdSet<Scope>> = OrdMap::new();
        let mut by_idle = OrdSet::new();
        for ((scope, node), block) in &self.blocks {
            by_node.entry(node.clone()).or_default().insert(scope.clone());
            by_idle.extend(block.idle_since.map(|since| (since, scope.clone(), node.clone())));
        }
        for (holds, index) in [
            (by_node == self.blocks_by_node, "blocks by node"),
            (by_idle == self.blocks_by_idle, "idle blocks"),
            (self.recomputed_space() == self.space, "free addresses"),
        ] {
            ensure(holds, INNER, || format!("index of {index} is wrong"))?;
        }
        Ok(())
    }

    /// Mesh, blocks and what is kept back lie in the pool, aligned, and none meets another.
    fn check_ranges(&self) -> Result<(), Violation> {
        let has_plan = self.cluster.as_ref().is_some_and(|cluster| cluster.ipam.is_some());
        let mut taken: Vec<_> = self.blocks.values().map(|block| block.net).collect();
        taken.extend(self.quarantine.keys().copied());
        ensure(has_plan || taken.is_empty(), ADDRESSES, || "a block without a plan".to_owned())?;
        let (pool, mesh) = (self.pool(), self.mesh_range());
        taken.push(mesh);
        taken.sort();
        for net in &taken {
            let fits = net.trunc() == *net && pool.contains(net);
            ensure(fits, ADDRESSES, || format!("{net} is no aligned part of {pool}"))?;
        }
        for pair in taken.windows(2) {
            let apart = pair[0].broadcast() < pair[1].network();
            ensure(apart, ADDRESSES, || format!("{} and {} overlap", pair[0], pair[1]))?;
        }
        Ok(())
    }

    fn check_scopes(&self) -> Result<(), Violation> {
        let bridges: BTreeSet<&str> =
            self.scopes.values().map(|record| record.bridge.as_str()).collect();
        let is_unique = bridges.len() == self.scopes.len();
        ensure(is_unique, ADDRESSES, || "two scopes have one bridge".to_owned())?;
        let prefixes: BTreeSet<u8> = self.scopes.values().map(|record| record.prefix).collect();
        ensure(prefixes.len() <= Ipam::DISTINCT_PREFIXES, ADDRESSES, || {
            format!("blocks have {} prefixes", prefixes.len())
        })?;
        for scope in self.scopes.keys() {
            let used = self.blocks_of(scope).next().is_some();
            ensure(used, INNER, || format!("{scope} is kept without a block"))?;
        }
        for ((scope, node), block) in &self.blocks {
            let prefix = self.scopes.get(scope).map(|record| record.prefix);
            ensure(prefix == Some(block.net.prefix_len()), ADDRESSES, || {
                format!("the block {} of {scope} has another prefix than its scope", block.net)
            })?;
            ensure(self.nodes.contains_key(node), INNER, || format!("{} has no node", block.net))?;
            let is_idle = self.attached_on(scope, node) == 0;
            ensure(is_idle == block.idle_since.is_some(), INNER, || {
                format!("the block {} of {scope} on {node} is idle: {is_idle}", block.net)
            })?;
        }
        Ok(())
    }

    fn check_mesh(&self) -> Result<(), Violation> {
        let range = self.mesh_range();
        let (mut addresses, mut keys) = (BTreeSet::new(), BTreeSet::new());
        for node in self.nodes.values() {
            if let Some(address) = node.mesh_address {
                ensure(range.contains(&address) && addresses.insert(address), ADDRESSES, || {
                    format!("{} has the mesh address {address} wrongly", node.name)
                })?;
            }
            if let Some(mesh) = &node.facts.mesh {
                ensure(keys.insert(&mesh.public_key), ADDRESSES, || {
                    format!("{} has the mesh key of another member", node.name)
                })?;
            }
        }
        Ok(())
    }
}
