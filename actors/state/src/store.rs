//! The only way entities change: each write keeps the map, its indexes and the state hash in step.

use crate::digest::Sum;
use crate::record::{AuditLine, RequestRecord};
use crate::space::Space;
use crate::{ServiceKey, State};
use imbl::{OrdMap, OrdSet};
use ipnet::Ipv4Net;
use jaco_model::entity::{
    Block, ClusterMeta, Deployment, Instance, JoinToken, Node, Quarantine, Replica, RevisionRecord,
    Rollout, Scope, ScopeRecord, Tombstone, Volume,
};
use jaco_model::{DeploymentName, Generation, InstanceId, NodeId, ReplicaId, RequestId, Revision};
use serde::Serialize;
use std::sync::Arc;

/// Tag of the cluster's own facts in the state hash.
pub(crate) const CLUSTER_TAG: u8 = 1;
/// Tag of replica counters in the state hash.
pub(crate) const COUNTER_TAG: u8 = 2;
/// Tag of generation floors in the state hash.
pub(crate) const FLOOR_TAG: u8 = 3;

mod acme;

/// A type of which the state keeps many, each under a key that it carries itself.
pub(crate) trait Entity: Serialize + PartialEq + Clone {
    /// Tells types apart in the state hash; never changes.
    const TAG: u8;
    /// The map's key.
    type Key: Ord + Clone;

    /// The key of this entity.
    fn key(&self) -> Self::Key;
    /// Where the state keeps them.
    fn map(state: &mut State) -> &mut OrdMap<Self::Key, Arc<Self>>;
    /// Enters the entity into the indexes of its type.
    fn enter(&self, _state: &mut State) {}
    /// Takes the entity out of the indexes of its type.
    fn leave(&self, _state: &mut State) {}
}

impl State {
    /// Writes one entity. Returns whether that changed anything.
    pub(crate) fn put<E: Entity>(&mut self, entity: E) -> bool {
        let key = entity.key();
        if let Some(old) = E::map(self).get(&key).cloned() {
            if *old == entity {
                return false;
            }
            self.forget(old.as_ref());
        }
        self.sum.add(Sum::of(E::TAG, &entity));
        entity.enter(self);
        E::map(self).insert(key, Arc::new(entity));
        true
    }

    /// Removes one entity and returns it.
    pub(crate) fn take<E: Entity>(&mut self, key: &E::Key) -> Option<Arc<E>> {
        let old = E::map(self).remove(key)?;
        self.forget(old.as_ref());
        Some(old)
    }

    fn forget<E: Entity>(&mut self, old: &E) {
        self.sum.subtract(Sum::of(E::TAG, old));
        old.leave(self);
    }

    /// Writes the cluster's own facts.
    pub(crate) fn put_cluster(&mut self, cluster: ClusterMeta) {
        if let Some(old) = &self.cluster {
            self.sum.subtract(Sum::of(CLUSTER_TAG, old));
        }
        self.sum.add(Sum::of(CLUSTER_TAG, &cluster));
        let is_same_plan = self.cluster.as_ref().is_some_and(|old| old.ipam == cluster.ipam);
        self.cluster = Some(Arc::new(cluster));
        if !is_same_plan {
            self.space = self.recomputed_space();
        }
    }

    /// What is free of the pool, from everything that is taken; nothing without a plan.
    pub(crate) fn recomputed_space(&self) -> Space {
        let Some(plan) = self.cluster.as_ref().and_then(|cluster| cluster.ipam) else {
            return Space::default();
        };
        let mut space = Space::of(plan.pool);
        space.take(plan.mesh_range());
        for net in
            self.blocks.values().map(|block| block.net).chain(self.quarantine.keys().copied())
        {
            space.take(net);
        }
        space
    }

    /// Writes the next replica index of a service.
    pub(crate) fn put_counter(&mut self, key: ServiceKey, next: u32) {
        let old = self.counters.insert(key.clone(), next);
        if let Some(old) = old {
            self.sum.subtract(Sum::of(COUNTER_TAG, &(&key, old)));
        }
        self.sum.add(Sum::of(COUNTER_TAG, &(&key, next)));
    }

    /// Raises the highest generation among removed slots of a global service.
    pub(crate) fn raise_floor(&mut self, key: ServiceKey, generation: Generation) {
        let old = self.floors.get(&key).copied();
        if old.is_some_and(|old| old >= generation) {
            return;
        }
        if let Some(old) = old {
            self.sum.subtract(Sum::of(FLOOR_TAG, &(&key, old)));
        }
        self.sum.add(Sum::of(FLOOR_TAG, &(&key, generation)));
        self.floors.insert(key, generation);
    }
}

/// Adds a value to the set of one key of an index.
fn enter_index<K: Ord + Clone, V: Ord + Clone>(index: &mut OrdMap<K, OrdSet<V>>, key: K, value: V) {
    index.entry(key).or_default().insert(value);
}

/// Removes a value from the set of one key, and the set with its last value.
fn leave_index<K: Ord + Clone, V: Ord + Clone>(
    index: &mut OrdMap<K, OrdSet<V>>,
    key: &K,
    value: &V,
) {
    let Some(values) = index.get_mut(key) else { return };
    values.remove(value);
    if values.is_empty() {
        index.remove(key);
    }
}

impl Entity for Node {
    const TAG: u8 = 16;
    type Key = NodeId;

    fn key(&self) -> NodeId {
        self.id.clone()
    }
    fn map(state: &mut State) -> &mut OrdMap<NodeId, Arc<Node>> {
        &mut state.nodes
    }
}

impl Entity for Tombstone {
    const TAG: u8 = 25;
    type Key = u64;

    fn key(&self) -> u64 {
        self.raft_id
    }
    fn map(state: &mut State) -> &mut OrdMap<u64, Arc<Tombstone>> {
        &mut state.tombstones
    }
}

impl Entity for JoinToken {
    const TAG: u8 = 26;
    type Key = String;

    fn key(&self) -> String {
        self.secret_hash.clone()
    }
    fn map(state: &mut State) -> &mut OrdMap<String, Arc<JoinToken>> {
        &mut state.join_tokens
    }
}

impl Entity for Deployment {
    const TAG: u8 = 17;
    type Key = DeploymentName;

    fn key(&self) -> DeploymentName {
        self.name.clone()
    }
    fn map(state: &mut State) -> &mut OrdMap<DeploymentName, Arc<Deployment>> {
        &mut state.deployments
    }
}

impl Entity for RevisionRecord {
    const TAG: u8 = 18;
    type Key = (DeploymentName, Revision);

    fn key(&self) -> (DeploymentName, Revision) {
        (self.spec.name.clone(), self.number)
    }
    fn map(state: &mut State) -> &mut OrdMap<(DeploymentName, Revision), Arc<RevisionRecord>> {
        &mut state.revisions
    }
}

impl Entity for Replica {
    const TAG: u8 = 19;
    type Key = ReplicaId;

    fn key(&self) -> ReplicaId {
        self.id.clone()
    }
    fn map(state: &mut State) -> &mut OrdMap<ReplicaId, Arc<Replica>> {
        &mut state.replicas
    }
    fn enter(&self, state: &mut State) {
        let key = (self.deployment.clone(), self.service.clone());
        enter_index(&mut state.replicas_by_service, key, self.id.clone());
    }
    fn leave(&self, state: &mut State) {
        let key = (self.deployment.clone(), self.service.clone());
        leave_index(&mut state.replicas_by_service, &key, &self.id);
    }
}

impl Entity for Instance {
    const TAG: u8 = 20;
    type Key = InstanceId;

    fn key(&self) -> InstanceId {
        self.id.clone()
    }
    fn map(state: &mut State) -> &mut OrdMap<InstanceId, Arc<Instance>> {
        &mut state.instances
    }
    fn enter(&self, state: &mut State) {
        enter_index(&mut state.instances_by_node, self.node.clone(), self.id.clone());
    }
    fn leave(&self, state: &mut State) {
        leave_index(&mut state.instances_by_node, &self.node, &self.id);
    }
}

impl Entity for Rollout {
    const TAG: u8 = 21;
    type Key = ServiceKey;

    fn key(&self) -> ServiceKey {
        (self.deployment.clone(), self.service.clone())
    }
    fn map(state: &mut State) -> &mut OrdMap<ServiceKey, Arc<Rollout>> {
        &mut state.rollouts
    }
}

impl Entity for Volume {
    const TAG: u8 = 22;
    type Key = (String, NodeId);

    fn key(&self) -> (String, NodeId) {
        (self.name.clone(), self.node.clone())
    }
    fn map(state: &mut State) -> &mut OrdMap<(String, NodeId), Arc<Volume>> {
        &mut state.volumes
    }
}

impl Entity for ScopeRecord {
    const TAG: u8 = 27;
    type Key = Scope;

    fn key(&self) -> Scope {
        self.scope.clone()
    }
    fn map(state: &mut State) -> &mut OrdMap<Scope, Arc<ScopeRecord>> {
        &mut state.scopes
    }
}

impl Entity for Block {
    const TAG: u8 = 28;
    type Key = (Scope, NodeId);

    fn key(&self) -> (Scope, NodeId) {
        (self.scope.clone(), self.node.clone())
    }
    fn map(state: &mut State) -> &mut OrdMap<(Scope, NodeId), Arc<Block>> {
        &mut state.blocks
    }
    fn enter(&self, state: &mut State) {
        enter_index(&mut state.blocks_by_node, self.node.clone(), self.scope.clone());
        if let Some(since) = self.idle_since {
            state.blocks_by_idle.insert((since, self.scope.clone(), self.node.clone()));
        }
        state.space.take(self.net);
    }
    fn leave(&self, state: &mut State) {
        leave_index(&mut state.blocks_by_node, &self.node, &self.scope);
        if let Some(since) = self.idle_since {
            state.blocks_by_idle.remove(&(since, self.scope.clone(), self.node.clone()));
        }
        state.space.give(self.net);
    }
}

impl Entity for Quarantine {
    const TAG: u8 = 29;
    type Key = Ipv4Net;

    fn key(&self) -> Ipv4Net {
        self.net
    }
    fn map(state: &mut State) -> &mut OrdMap<Ipv4Net, Arc<Quarantine>> {
        &mut state.quarantine
    }
    fn enter(&self, state: &mut State) {
        state.space.take(self.net);
    }
    fn leave(&self, state: &mut State) {
        state.space.give(self.net);
    }
}

impl Entity for RequestRecord {
    const TAG: u8 = 23;
    type Key = RequestId;

    fn key(&self) -> RequestId {
        self.id
    }
    fn map(state: &mut State) -> &mut OrdMap<RequestId, Arc<RequestRecord>> {
        &mut state.requests
    }
    fn enter(&self, state: &mut State) {
        state.requests_by_age.insert((self.at, self.id));
    }
    fn leave(&self, state: &mut State) {
        state.requests_by_age.remove(&(self.at, self.id));
    }
}

impl Entity for AuditLine {
    const TAG: u8 = 24;
    type Key = u64;

    fn key(&self) -> u64 {
        self.number
    }
    fn map(state: &mut State) -> &mut OrdMap<u64, Arc<AuditLine>> {
        &mut state.audit
    }
    fn enter(&self, state: &mut State) {
        state.audit_bytes += self.size();
    }
    fn leave(&self, state: &mut State) {
        state.audit_bytes -= self.size();
    }
}
