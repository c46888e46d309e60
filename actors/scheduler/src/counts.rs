//! The number of slots: those that are missing are made, those beyond it are drained and removed.

use crate::board::index_of_slot;
use crate::filter;
use crate::pass::Pass;
use crate::service::Service;
use crate::slots::SlotView;
use jaco_model::command::Step;
use jaco_model::entity::Slot;
use jaco_model::spec::ServiceMode;
use jaco_model::{Generation, NodeId, ReplicaId, name};
use jaco_state::ServiceKey;
use std::collections::{BTreeMap, BTreeSet};

impl<'a> Pass<'a> {
    /// Makes the service's slots as many as wanted.
    pub(crate) fn fit_counts(&mut self, service: &mut Service<'a>) {
        match service.spec.mode {
            ServiceMode::Global => self.fit_nodes(service),
            ServiceMode::Replicated { .. } => {
                self.scale_down(service);
                self.scale_up(service);
            }
        }
    }

    /// One slot on each node that may run the service. A cordoned or lost node keeps what it has.
    fn fit_nodes(&mut self, service: &mut Service<'a>) {
        let spec = service.spec;
        let mut taken = BTreeSet::new();
        let mut kept = Vec::new();
        for slot in std::mem::take(&mut service.slots) {
            let node =
                self.state.nodes.values().find(|node| slot.slot == Slot::Node(node.name.clone()));
            if node.is_some_and(|node| filter::fits_for_good(node, spec).is_none()) {
                taken.insert(slot.slot.clone());
                kept.push(slot);
            } else {
                self.remove_slot(&slot);
            }
        }
        for node in self.state.nodes.values() {
            let slot = Slot::Node(node.name.clone());
            if !taken.contains(&slot) && filter::of_node(node, spec).is_none() {
                let (deployment, name) = &service.key;
                let id = name::global_replica_id(deployment, name, &node.name);
                kept.push(self.add_slot(&service.key, id, slot));
            }
        }
        kept.sort_by(|a, b| a.slot.cmp(&b.slot));
        service.slots = kept;
    }

    fn scale_up(&mut self, service: &mut Service<'a>) {
        let (deployment, name) = service.key.clone();
        let next = self.state.counters.get(&service.key).copied().unwrap_or(0);
        let missing = service.n_wanted.saturating_sub(count(&service.slots));
        for index in next..next.saturating_add(missing) {
            let id = name::replica_id(&deployment, &name, index);
            service.slots.push(self.add_slot(&service.key, id, Slot::Index(index)));
        }
    }

    fn add_slot(&mut self, key: &ServiceKey, replica: ReplicaId, slot: Slot) -> SlotView<'a> {
        let (deployment, service) = key.clone();
        // The name of a node's slot comes back with the node, its generations do not.
        let generation = match slot {
            Slot::Index(_) => Generation(0),
            Slot::Node(_) => self.state.floors.get(key).copied().unwrap_or_default(),
        };
        let view = SlotView::new(replica.clone(), slot.clone(), generation);
        self.push(Step::AddReplica { replica, deployment, service, slot });
        view
    }

    /// Takes slots away: those with nothing in them, then failed ones, then from the nodes that
    /// have most of the service, then by number, each the highest first.
    fn scale_down(&mut self, service: &mut Service<'a>) {
        let (numbered, others) = std::mem::take(&mut service.slots)
            .into_iter()
            .partition(|slot| matches!(slot.slot, Slot::Index(_)));
        service.slots = numbered;
        for slot in others {
            self.remove_slot(&slot);
        }
        let unavailable = service.spec.update.max_unavailable;
        let mut loads = loads(&service.slots);
        while count(&service.slots) > service.n_wanted {
            let rank = |slot: &SlotView<'a>| {
                let load = slot.staying().filter_map(|i| loads.get(&i.node)).max().copied();
                (slot.is_empty(), slot.is_failing(), load, index_of_slot(&slot.slot))
            };
            let last = (0..service.slots.len()).max_by_key(|index| rank(&service.slots[*index]));
            let Some(last) = last else { return };
            let slot = service.slots.remove(last);
            for instance in slot.staying() {
                loads.entry(&instance.node).and_modify(|load| *load -= 1);
            }
            if !slot.is_ready() || service.take_ready(unavailable) {
                self.remove_slot(&slot);
            } else {
                self.unsettled = true;
                service.surplus.push(slot);
            }
        }
    }

    /// Drains what is in a slot; removes it once nothing is.
    pub(crate) fn remove_slot(&mut self, slot: &SlotView<'a>) {
        self.unsettled = true;
        for instance in slot.staying() {
            self.retire(instance);
        }
        if slot.replica.is_some_and(|replica| self.state.instances_of(&replica.id).next().is_none())
        {
            self.push(Step::RemoveReplica { replica: slot.id.clone() });
        }
    }
}

fn count(slots: &[SlotView<'_>]) -> u32 {
    u32::try_from(slots.len()).unwrap_or(u32::MAX)
}

fn loads<'a>(slots: &[SlotView<'a>]) -> BTreeMap<&'a NodeId, u32> {
    let mut loads = BTreeMap::new();
    for instance in slots.iter().flat_map(SlotView::staying) {
        *loads.entry(&instance.node).or_insert(0) += 1;
    }
    loads
}
