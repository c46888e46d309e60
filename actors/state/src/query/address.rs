//! The address plan as others read it: what is given out to whom, and what is left.

use crate::{Space, State};
use imbl::OrdSet;
use ipnet::Ipv4Net;
use jaco_model::entity::{Block, Instance, Ipam, Scope, ScopeRecord};
use jaco_model::{ErrorCode, Fault, Millis, NodeId, WallMs};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How long a block is kept for a scope whose last replica has left the node.
pub(crate) const IDLE_KEPT: Millis = Millis::secs(10 * 60);

/// Scopes that an exhausted pool is explained by.
const USERS_NAMED: usize = 10;

impl State {
    /// The address plan; the default one while none was laid down.
    pub fn ipam(&self) -> Ipam {
        self.cluster.as_ref().and_then(|cluster| cluster.ipam).unwrap_or_default()
    }

    /// All addresses of containers and of the mesh.
    pub fn pool(&self) -> Ipv4Net {
        self.ipam().pool
    }

    /// The addresses of the members in the mesh.
    pub fn mesh_range(&self) -> Ipv4Net {
        self.ipam().mesh_range()
    }

    /// Whether mesh, packet filter and names have nothing to look at in the other state. Cheap: it
    /// compares no entity, and may say no without need.
    pub fn has_same_network(&self, other: &State) -> bool {
        self.ipam() == other.ipam()
            && self.nodes.ptr_eq(&other.nodes)
            && self.instances.ptr_eq(&other.instances)
            && self.revisions.ptr_eq(&other.revisions)
            && self.scopes.ptr_eq(&other.scopes)
            && self.blocks.ptr_eq(&other.blocks)
    }

    /// Whether two states have the same automatic certificates, orders for them, and deployments
    /// that may want some. Cheap when one came from the other.
    pub fn has_same_certificates(&self, other: &State) -> bool {
        self.deployments.ptr_eq(&other.deployments)
            && self.revisions.ptr_eq(&other.revisions)
            && self.acme_accounts.ptr_eq(&other.acme_accounts)
            && self.acme_standings.ptr_eq(&other.acme_standings)
            && self.acme_orders.ptr_eq(&other.acme_orders)
            && self.challenge_tokens.ptr_eq(&other.challenge_tokens)
            && self.certificates.ptr_eq(&other.certificates)
    }

    /// What is settled about a scope; `None` while it has no block on any node.
    pub fn scope(&self, scope: &Scope) -> Option<&Arc<ScopeRecord>> {
        self.scopes.get(scope)
    }

    /// The addresses of a scope on a node.
    pub fn block(&self, scope: &Scope, node: &NodeId) -> Option<&Arc<Block>> {
        self.blocks.get(&(scope.clone(), node.clone()))
    }

    /// The addresses of a scope on all nodes, by node.
    pub fn blocks_of<'a>(
        &'a self,
        scope: &Scope,
    ) -> impl Iterator<Item = (&'a NodeId, &'a Block)> + use<'a> {
        let scope = scope.clone();
        let first = (scope.clone(), NodeId::new(""));
        let range = self.blocks.range(first..).take_while(move |(key, _)| key.0 == scope);
        range.map(|((_, node), block)| (node, block.as_ref()))
    }

    /// The blocks of a node, by scope.
    pub fn blocks_on<'a>(
        &'a self,
        node: &NodeId,
    ) -> impl Iterator<Item = (&'a Scope, &'a Block)> + use<'a> {
        let node = node.clone();
        let scopes = self.blocks_by_node.get(&node).into_iter().flat_map(OrdSet::iter);
        scopes.filter_map(move |scope| {
            let block = self.blocks.get(&(scope.clone(), node.clone()))?;
            Some((scope, block.as_ref()))
        })
    }

    /// The scopes that an instance joins, in the order of its networks.
    pub fn scopes_of(&self, instance: &Instance) -> Vec<Scope> {
        let specs = self.specs_of(instance);
        specs.map(|(spec, service)| spec.scopes_of(service)).unwrap_or_default()
    }

    /// How many instances of a scope hold an address on a node, also while they leave.
    pub fn attached_on(&self, scope: &Scope, node: &NodeId) -> u32 {
        let joins = |instance: &&Arc<Instance>| self.scopes_of(instance).contains(scope);
        u32::try_from(self.instances_on(node).filter(joins).count()).unwrap_or(u32::MAX)
    }

    /// The prefix of a scope's blocks: fixed by its first one, before that what its owner's
    /// current revision asks for, or the cluster's.
    pub fn block_prefix(&self, scope: &Scope) -> u8 {
        if let Some(record) = self.scopes.get(scope) {
            return record.prefix;
        }
        let usual = self.ipam().block_prefix;
        let owner = self.current(&scope.deployment);
        let network = owner.and_then(|record| record.spec.networks.get(scope.key()));
        let (low, high) = Ipam::BLOCK_PREFIXES;
        let wanted = network.and_then(|network| network.block_prefix);
        let Some(wanted) = wanted.filter(|prefix| (low..=high).contains(prefix)) else {
            return usual;
        };
        let mut in_use: BTreeSet<u8> = self.scopes.values().map(|record| record.prefix).collect();
        in_use.extend([usual, wanted]);
        if in_use.len() > Ipam::DISTINCT_PREFIXES { usual } else { wanted }
    }

    /// What is free for blocks at `at`, in cluster time.
    pub fn free_space(&self, at: WallMs) -> Space {
        let mut space = self.space.clone();
        for over in self.quarantine.values().filter(|held| held.until <= at) {
            space.give(over.net);
        }
        space
    }

    /// How much of what networks may have is given out at `at`, in cluster time: whole percent.
    pub fn pool_use(&self, at: WallMs) -> u64 {
        let size = |net: Ipv4Net| 1_u64 << 32_u32.saturating_sub(u32::from(net.prefix_len()));
        let all = size(self.pool()).saturating_sub(size(self.mesh_range()));
        let taken = all.saturating_sub(self.free_space(at).addresses());
        taken.saturating_mul(100).checked_div(all).unwrap_or(0)
    }

    /// When the first of the addresses that were given back can be used again.
    pub fn next_free_at(&self, after: WallMs) -> Option<WallMs> {
        self.quarantine.values().map(|held| held.until).filter(|until| *until > after).min()
    }

    /// The blocks that nobody uses, longest idle first, and when each may be given back.
    pub fn idle_blocks(&self) -> impl Iterator<Item = (WallMs, &Scope, &NodeId)> {
        self.blocks_by_idle
            .iter()
            .map(|(since, scope, node)| (WallMs(since.0.saturating_add(IDLE_KEPT.0)), scope, node))
    }

    /// Why no block of a prefix is left at `at`, in cluster time.
    pub fn pool_exhausted(&self, prefix: u8, at: WallMs) -> Fault {
        let pool = self.pool();
        let held = self.quarantine.values().filter(|held| held.until > at);
        let quarantined: u64 =
            held.map(|held| 1_u64 << 32_u32.saturating_sub(u32::from(held.net.prefix_len()))).sum();
        let mut users: BTreeMap<&Scope, u64> = BTreeMap::new();
        for (scope, _) in self.blocks.keys() {
            *users.entry(scope).or_default() += 1;
        }
        let mut users: Vec<_> = users.into_iter().collect();
        users.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        let users: Vec<String> =
            users.iter().take(USERS_NAMED).map(|(scope, n)| format!("{scope}: {n}")).collect();
        let hint = if quarantined > 0 {
            "addresses that were given back are free again within a minute"
        } else {
            "remove deployments or networks that are not needed, or put them on fewer nodes"
        };
        let message = format!("no block of /{prefix} is left in the pool {pool}");
        Fault::new(ErrorCode::SubnetPoolExhausted, message)
            .with("pool", pool)
            .with("needed", format!("/{prefix}"))
            .with("free", self.free_space(at).addresses())
            .with("quarantined", quarantined)
            .with("largest_users", users.join(", "))
            .with("hint", hint)
    }
}
