//! Filter 10: whether a node has an address for a replica in each of its networks, or can get the
//! block that would hold it.
//!
//! The state machine gives blocks out as it places, and by the same rule; what is placed in this
//! pass is counted here as it will be there.

use crate::board::Room;
use crate::choose::Refusals;
use crate::filter::Reason;
use jaco_model::entity::{Block, Scope};
use jaco_model::{Fault, NodeId, ReplicaId, WallMs};
use jaco_state::{Space, State};
use std::collections::BTreeSet;

/// No node can get a block of the pool.
pub(crate) const POOL_EXHAUSTED: &str = "subnet_pool_exhausted";

/// Blocks that are there or were given out by this pass, and what is left.
#[derive(Debug)]
pub(crate) struct Addresses<'a> {
    state: &'a State,
    at: WallMs,
    /// Whether there is a plan; before that nothing is given out and nothing is refused.
    planned: bool,
    free: Space,
    new: BTreeSet<(Scope, NodeId)>,
}

impl<'a> Addresses<'a> {
    /// The plan at `at`, in cluster time.
    pub(crate) fn look(state: &'a State, at: WallMs) -> Addresses<'a> {
        let planned = state.cluster.as_ref().is_some_and(|cluster| cluster.ipam.is_some());
        let free = state.free_space(at);
        Addresses { state, at, planned, free, new: BTreeSet::new() }
    }

    fn has_block(&self, scope: &Scope, node: &NodeId) -> bool {
        self.state.block(scope, node).is_some() || self.new.contains(&(scope.clone(), node.clone()))
    }

    /// Why a replica of these scopes gets no address on a node. `own` is a replica that leaves
    /// before it comes.
    pub(crate) fn refusal(
        &self,
        scopes: &[Scope],
        room: &Room<'_>,
        own: Option<&ReplicaId>,
    ) -> Option<Reason> {
        if !self.planned {
            return None;
        }
        let mut free = None;
        for scope in scopes {
            let prefix = self.state.block_prefix(scope);
            if self.has_block(scope, &room.node.id) {
                let capacity = Block::capacity(prefix);
                if room.n_attached(scope, own) >= usize::try_from(capacity).unwrap_or(usize::MAX) {
                    let detail = format!("{scope} has {capacity} addresses here");
                    return Some(Reason::with("network_block_full", detail));
                }
                continue;
            }
            let free = free.get_or_insert_with(|| self.free.clone());
            if !free.lowest(prefix).is_some_and(|net| free.take(net)) {
                let reason = Reason::with(POOL_EXHAUSTED, format!("{scope} wants a /{prefix}"));
                return Some(Reason { block: Some(prefix), ..reason });
            }
        }
        None
    }

    /// Gives out the blocks that a replica of these scopes lacks on a node.
    pub(crate) fn place(&mut self, scopes: &[Scope], node: &NodeId) {
        for scope in scopes {
            if !self.planned || self.has_block(scope, node) {
                continue;
            }
            if let Some(net) = self.free.lowest(self.state.block_prefix(scope)) {
                self.free.take(net);
                self.new.insert((scope.clone(), node.clone()));
            }
        }
    }

    /// Why some slot has no node, when blocks are what is missing.
    pub(crate) fn exhausted(&self, refusals: &Refusals<'_>) -> Fault {
        let prefix = refusals.iter().find_map(|(_, reason)| reason.block);
        let prefix = prefix.unwrap_or_else(|| self.state.ipam().block_prefix);
        self.state.pool_exhausted(prefix, self.at).with("free", self.free.addresses())
    }
}
