//! One slot and its instances as one line for people.

use crate::{ServiceKey, State};
use jaco_model::entity::{Desired, Instance, InstanceState, Replica};
use jaco_model::{Fault, NodeName, ReplicaId};
use std::sync::Arc;

/// A slot with the instance that stands for it.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplicaView {
    /// The slot.
    pub replica: Arc<Replica>,
    /// The instance that stands for the slot: a ready one if there is one, else the newest.
    pub shown: Option<Arc<Instance>>,
    /// All instances that are not stopped, oldest generation first.
    pub instances: Vec<Arc<Instance>>,
    /// Hostname of the shown instance's node.
    pub node: Option<NodeName>,
    /// The shown instance's state; `pending` for an empty slot.
    pub state: InstanceState,
    /// Why the slot is not what it should be.
    pub fault: Option<Fault>,
    /// Whether the shown instance runs what the current revision and the last restart want.
    pub up_to_date: bool,
}

impl State {
    /// One slot by its id.
    pub fn replica_view(&self, id: &ReplicaId) -> Option<ReplicaView> {
        let replica = self.replicas.get(id)?.clone();
        let instances: Vec<Arc<Instance>> = self.instances_of(id).cloned().collect();
        let shown = instances.iter().max_by_key(|instance| {
            let wanted = instance.desired == Desired::Run;
            (wanted && instance.status.state.is_ready(), wanted, instance.id.generation)
        });
        let shown = shown.cloned();
        let node = shown.as_ref().and_then(|i| self.nodes.get(&i.node)).map(|n| n.name.clone());
        let fault = shown.as_ref().and_then(|instance| instance.status.fault.clone());
        Some(ReplicaView {
            node,
            state: shown.as_ref().map_or(InstanceState::Pending, |i| i.status.state),
            fault: fault.or_else(|| replica.waiting.clone()),
            up_to_date: shown.as_ref().is_some_and(|i| self.is_up_to_date(&replica, i)),
            replica,
            shown,
            instances,
        })
    }

    /// All slots of a service, by id.
    pub fn replica_views(&self, key: &ServiceKey) -> Vec<ReplicaView> {
        self.replicas_of(key).filter_map(|replica| self.replica_view(&replica.id)).collect()
    }

    /// Whether an instance runs what the current revision and the slot's last restart want.
    pub fn is_up_to_date(&self, replica: &Replica, instance: &Instance) -> bool {
        let target = self.target_hash(&replica.deployment, &replica.service);
        target == Some(instance.spec_hash.as_str())
            && instance.restart_nonce == replica.restart_nonce
    }
}
