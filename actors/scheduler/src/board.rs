//! The room left on each node, as one pass sees it and fills it.
//!
//! Built once per pass from the state, then kept up to date by the pass's own placements, so that
//! no decision counts anything again.

use crate::need::{self, Amounts, PortClaim, Weight};
use jaco_model::entity::{Desired, Node, Slot};
use jaco_model::{NodeId, ReplicaId};
use jaco_state::State;
use std::collections::{BTreeMap, BTreeSet};

/// A node's position on the board.
pub(crate) type NodeIndex = usize;

/// Every member and what it carries.
#[derive(Debug)]
pub(crate) struct Board<'a> {
    rooms: Vec<Room<'a>>,
    by_id: BTreeMap<&'a NodeId, NodeIndex>,
    holders: BTreeMap<String, BTreeSet<NodeIndex>>,
}

/// One member and what it carries.
#[derive(Debug)]
pub(crate) struct Room<'a> {
    pub(crate) node: &'a Node,
    /// Reserved by instances, also by those that are leaving.
    pub(crate) used: Amounts,
    /// Instances that are meant to stay, of all services.
    pub(crate) n_instances: u32,
    ports: Vec<(PortClaim, ReplicaId)>,
}

impl Room<'_> {
    /// A claim of the node that clashes with `wanted`; those of `own` count unless it is `None`.
    pub(crate) fn port_taken(&self, wanted: &PortClaim, own: Option<&ReplicaId>) -> bool {
        self.ports.iter().any(|(claim, replica)| own != Some(replica) && claim.clashes(wanted))
    }
}

impl<'a> Board<'a> {
    pub(crate) fn build(state: &'a State) -> Board<'a> {
        let mut board =
            Board { rooms: Vec::new(), by_id: BTreeMap::new(), holders: BTreeMap::new() };
        for (id, node) in &state.nodes {
            board.by_id.insert(id, board.rooms.len());
            board.rooms.push(Room {
                node,
                used: Amounts::default(),
                n_instances: 0,
                ports: Vec::new(),
            });
        }
        for volume in state.volumes.values().filter(|volume| !volume.removing) {
            if let Some(index) = board.index_of(&volume.node) {
                board.holders.entry(volume.name.clone()).or_default().insert(index);
            }
        }
        for instance in state.instances.values().map(|instance| &**instance) {
            let weight = Weight::of(state, instance);
            if let Some((index, weight)) = board.index_of(&instance.node).zip(weight) {
                board.carry(index, &weight, &instance.id.replica, &instance.slot);
                board.rooms[index].n_instances += u32::from(instance.desired == Desired::Run);
            }
        }
        board
    }

    pub(crate) fn index_of(&self, node: &NodeId) -> Option<NodeIndex> {
        self.by_id.get(node).copied()
    }

    pub(crate) fn rooms(&self) -> &[Room<'a>] {
        &self.rooms
    }

    /// The nodes that hold a volume, or will once what was placed there has started.
    pub(crate) fn holders_of(&self, volume: &str) -> Option<&BTreeSet<NodeIndex>> {
        self.holders.get(volume)
    }

    /// Takes room for a new instance.
    pub(crate) fn place(
        &mut self,
        index: NodeIndex,
        weight: &Weight<'_>,
        replica: &ReplicaId,
        slot: &Slot,
    ) {
        self.carry(index, weight, replica, slot);
        self.rooms[index].n_instances += 1;
    }

    fn carry(&mut self, index: NodeIndex, weight: &Weight<'_>, replica: &ReplicaId, slot: &Slot) {
        let room = &mut self.rooms[index];
        room.used.add(&weight.amounts());
        room.ports.extend(weight.ports().into_iter().map(|claim| (claim, replica.clone())));
        for volume in weight.local_volumes() {
            let name = need::volume_name(volume, index_of_slot(slot));
            self.holders.entry(name).or_default().insert(index);
        }
    }
}

/// The number of a numbered slot.
pub(crate) fn index_of_slot(slot: &Slot) -> Option<u32> {
    match slot {
        Slot::Index(index) => Some(*index),
        Slot::Node(_) => None,
    }
}
