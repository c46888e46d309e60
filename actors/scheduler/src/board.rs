//! The room left on each node, as one pass sees it and fills it.
//!
//! Built once per pass from the state, then kept up to date by the pass's own placements, so that
//! no decision counts anything again.

use crate::addresses::Addresses;
use crate::need::{self, Amounts, PortClaim, Weight};
use jaco_model::entity::{Desired, Node, Scope, Slot};
use jaco_model::{NodeId, ReplicaId, WallMs};
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
    /// The address plan as this pass leaves it.
    pub(crate) addresses: Addresses<'a>,
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
    /// Who holds an address in each scope, also while leaving.
    attached: BTreeMap<Scope, Vec<ReplicaId>>,
}

impl Room<'_> {
    /// A claim of the node that clashes with `wanted`; those of `own` count unless it is `None`.
    pub(crate) fn port_taken(&self, wanted: &PortClaim, own: Option<&ReplicaId>) -> bool {
        self.ports.iter().any(|(claim, replica)| own != Some(replica) && claim.clashes(wanted))
    }

    /// Addresses of a scope in use; those of `own` count unless it is `None`.
    pub(crate) fn n_attached(&self, scope: &Scope, own: Option<&ReplicaId>) -> usize {
        let attached = self.attached.get(scope).map_or(&[][..], Vec::as_slice);
        attached.iter().filter(|replica| own != Some(*replica)).count()
    }
}

impl<'a> Board<'a> {
    /// The members as they are at `at`, in cluster time.
    pub(crate) fn build(state: &'a State, at: WallMs) -> Board<'a> {
        let mut board = Board {
            rooms: Vec::new(),
            by_id: BTreeMap::new(),
            holders: BTreeMap::new(),
            addresses: Addresses::look(state, at),
        };
        for (id, node) in &state.nodes {
            board.by_id.insert(id, board.rooms.len());
            board.rooms.push(Room {
                node,
                used: Amounts::default(),
                n_instances: 0,
                ports: Vec::new(),
                attached: BTreeMap::new(),
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
        self.addresses.place(&weight.scopes(), &self.rooms[index].node.id);
    }

    fn carry(&mut self, index: NodeIndex, weight: &Weight<'_>, replica: &ReplicaId, slot: &Slot) {
        let room = &mut self.rooms[index];
        room.used.add(&weight.amounts());
        for scope in weight.scopes() {
            room.attached.entry(scope).or_default().push(replica.clone());
        }
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
