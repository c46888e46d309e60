//! The choice of a node for one slot: filters, then a lexicographic score, lower wins.

use crate::board::{Board, NodeIndex, index_of_slot};
use crate::filter::{self, Freed, Reason};
use crate::need::{self, Amounts, PortClaim, Weight};
use jaco_model::entity::{Instance, Scope, Slot};
use jaco_model::spec::{PlacementPolicy, ServiceSpec, VolumeSpec};
use jaco_model::{DeploymentName, NodeName, WallMs};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// Failures of one slot on one node that count against the node, and how long they do.
const FAILURES_TO_AVOID: u32 = 3;
const FAILURE_WINDOW_MS: u64 = 600_000;

/// What the replicas of one service have in common when a node is chosen for one of them.
#[derive(Debug)]
pub(crate) struct Site<'a> {
    deployment: &'a DeploymentName,
    spec: &'a ServiceSpec,
    amounts: Amounts,
    ports: Vec<PortClaim>,
    volumes: Vec<&'a VolumeSpec>,
    scopes: Vec<Scope>,
    /// Filters 1 to 6, as far as they look at the node alone.
    refused: Vec<Option<Reason>>,
    /// Filter 11.
    engine: Vec<Option<Reason>>,
    /// The service's instances that are meant to stay, by node.
    load: Vec<u32>,
    /// Nodes of the service's slots, to give each slot a volume of its own.
    homes: BTreeMap<Slot, NodeIndex>,
}

/// One slot that looks for a node.
#[derive(Debug)]
pub(crate) struct Seeker<'a> {
    pub(crate) slot: &'a Slot,
    /// Where its instances that stay until the new one is ready are.
    pub(crate) own: Vec<NodeIndex>,
    /// What it gives back first.
    pub(crate) freed: Freed<'a>,
    /// The node to stay on if it fits.
    pub(crate) prefer: Option<NodeIndex>,
    /// The only node to look at.
    pub(crate) only: Option<NodeIndex>,
    /// Ended instances, for nodes where it failed again and again.
    pub(crate) past: &'a [Instance],
    /// Cluster time.
    pub(crate) at: WallMs,
}

/// Why no node fits, by node.
pub(crate) type Refusals<'a> = Vec<(&'a NodeName, Reason)>;

impl<'a> Site<'a> {
    pub(crate) fn new(board: &Board<'a>, weight: Weight<'a>) -> Site<'a> {
        let drivers = weight.volume_drivers();
        let refuse = |node| {
            filter::of_node(node, weight.spec).or_else(|| filter::of_drivers(node, &drivers))
        };
        Site {
            deployment: &weight.deployment.name,
            spec: weight.spec,
            amounts: weight.amounts(),
            ports: weight.ports(),
            volumes: weight.local_volumes(),
            scopes: weight.scopes(),
            refused: board.rooms().iter().map(|room| refuse(room.node)).collect(),
            engine: board.rooms().iter().map(|room| filter::of_engine(room.node)).collect(),
            load: vec![0; board.rooms().len()],
            homes: BTreeMap::new(),
        }
    }

    /// Counts an instance that is there already.
    pub(crate) fn count(&mut self, slot: &Slot, node: NodeIndex) {
        self.load[node] += 1;
        self.homes.insert(slot.clone(), node);
    }

    /// Remembers where a slot was, though nothing of it counts there now.
    pub(crate) fn remember(&mut self, slot: &Slot, node: NodeIndex) {
        self.homes.entry(slot.clone()).or_insert(node);
    }

    /// The best node, or why none fits.
    pub(crate) fn choose(
        &self,
        board: &Board<'a>,
        seeker: &Seeker<'_>,
    ) -> Result<NodeIndex, Refusals<'a>> {
        let nodes = match seeker.only {
            Some(only) => only..only + 1,
            None => 0..board.rooms().len(),
        };
        let pin = self.pin(board, seeker);
        let mut refusals = Vec::new();
        let mut fitting = Vec::new();
        for node in nodes {
            match self.refusal(board, seeker, &pin, node) {
                Some(reason) => refusals.push((&board.rooms()[node].node.name, reason)),
                None if seeker.prefer == Some(node) && !self.failed_here(board, seeker, node) => {
                    return Ok(node);
                }
                None => fitting.push(node),
            }
        }
        self.best(board, seeker, fitting).ok_or(refusals)
    }

    /// Why one node does not fit, by the order of the filters.
    fn refusal(
        &self,
        board: &Board<'a>,
        seeker: &Seeker<'_>,
        pin: &Option<Pin>,
        node: NodeIndex,
    ) -> Option<Reason> {
        if let Some(reason) = &self.refused[node] {
            return Some(reason.clone());
        }
        if let Some(pin) = pin.as_ref().filter(|pin| !pin.nodes.contains(&node)) {
            return Some(pin.reason(board));
        }
        let room = &board.rooms()[node];
        let freed = if seeker.freed.node == Some(node) { Some(&seeker.freed) } else { None };
        let nothing = Amounts::default();
        filter::of_amounts(room, &self.amounts, freed.map_or(&nothing, |freed| &freed.amounts))
            .or_else(|| filter::of_ports(room, &self.ports, freed.and_then(|freed| freed.replica)))
            .or_else(|| self.too_many(seeker, node))
            .or_else(|| {
                let own = freed.and_then(|freed| freed.replica);
                board.addresses.refusal(&self.scopes, room, own)
            })
            .or_else(|| self.engine[node].clone())
    }

    /// Filter 9; the slot's own instances do not count against it.
    fn too_many(&self, seeker: &Seeker<'_>, node: NodeIndex) -> Option<Reason> {
        let limit = self.spec.placement.max_per_node.filter(|limit| *limit > 0)?;
        let full = self.others_on(seeker, node) >= limit;
        full.then(|| Reason::with("max_replicas_per_node", limit.to_string()))
    }

    fn others_on(&self, seeker: &Seeker<'_>, node: NodeIndex) -> u32 {
        let own = seeker.own.iter().filter(|own| **own == node).count();
        self.load[node].saturating_sub(u32::try_from(own).unwrap_or(u32::MAX))
    }

    /// The nodes that hold the slot's local volumes; `None` leaves the choice open.
    ///
    /// A slot that ran before goes back to its data. A new one takes a volume that no other slot
    /// of its service lives on, so that a deployment made again finds its old volumes.
    fn pin(&self, board: &Board<'a>, seeker: &Seeker<'_>) -> Option<Pin> {
        for volume in self.volumes.iter().copied() {
            let name = need::volume_name(volume, index_of_slot(seeker.slot));
            let Some(holders) = board.holders_of(&name) else { continue };
            if let Some(home) = self.homes.get(seeker.slot).filter(|home| holders.contains(home)) {
                return Some(Pin { volume: name, nodes: BTreeSet::from([*home]) });
            }
            let others: BTreeSet<_> = self.homes.values().collect();
            let free: BTreeSet<_> =
                holders.iter().copied().filter(|holder| !others.contains(holder)).collect();
            if !free.is_empty() {
                return Some(Pin { volume: name, nodes: free });
            }
        }
        None
    }

    fn best(
        &self,
        board: &Board<'a>,
        seeker: &Seeker<'_>,
        fitting: Vec<NodeIndex>,
    ) -> Option<NodeIndex> {
        let zones = self.zones(board, seeker);
        let key = |node: NodeIndex| {
            let room = &board.rooms()[node];
            let zone: Vec<u32> = self
                .spec
                .placement
                .preferences
                .iter()
                .zip(&zones)
                .map(|(by, counts)| counts.get(room.node.label(&by.label)).copied())
                .map(Option::unwrap_or_default)
                .collect();
            (self.failed_here(board, seeker, node), zone, self.mode_key(board, seeker, node))
        };
        let keyed: Vec<_> = fitting.into_iter().map(|node| (key(node), node)).collect();
        let lowest = keyed.iter().map(|(key, _)| key).min()?.clone();
        let tied = keyed.into_iter().filter(|(key, _)| *key == lowest).map(|(_, node)| node);
        tied.min_by_key(|node| self.hash(board, seeker, *node))
    }

    /// Replicas of the service by value of each preferred label, without the slot's own.
    fn zones(&self, board: &Board<'a>, seeker: &Seeker<'_>) -> Vec<BTreeMap<&'a str, u32>> {
        let count = |label: &str| {
            let mut counts = BTreeMap::new();
            for (node, room) in board.rooms().iter().enumerate() {
                let zone = room.node.label(label);
                *counts.entry(zone).or_insert(0) += self.others_on(seeker, node);
            }
            counts
        };
        self.spec.placement.preferences.iter().map(|by| count(&by.label)).collect()
    }

    fn mode_key(&self, board: &Board<'a>, seeker: &Seeker<'_>, node: NodeIndex) -> ModeKey<'a> {
        let room = &board.rooms()[node];
        let all = i64::from(room.n_instances);
        match self.spec.placement.policy {
            PlacementPolicy::Spread | PlacementPolicy::Hosts | PlacementPolicy::Global => {
                ModeKey(i64::from(self.others_on(seeker, node)), all, "")
            }
            PlacementPolicy::Pack => ModeKey(-reserved_share(room), -all, room.node.name.as_str()),
        }
    }

    /// Whether the slot failed here again and again a short while ago.
    fn failed_here(&self, board: &Board<'a>, seeker: &Seeker<'_>, node: NodeIndex) -> bool {
        let id = &board.rooms()[node].node.id;
        let recent = |ended: &&Instance| {
            ended.node == *id && ended.status.since.0 + FAILURE_WINDOW_MS > seeker.at.0
        };
        let failures = |ended: &Instance| {
            ended.status.restarts.saturating_add(u32::from(ended.status.fault.is_some()))
        };
        let count: u32 =
            seeker.past.iter().filter(recent).map(failures).fold(0, u32::saturating_add);
        count >= FAILURES_TO_AVOID
    }

    fn hash(&self, board: &Board<'a>, seeker: &Seeker<'_>, node: NodeIndex) -> [u8; 8] {
        let index = match seeker.slot {
            Slot::Index(index) => index.to_string(),
            Slot::Node(name) => name.to_string(),
        };
        let parts = [
            self.deployment.as_str(),
            self.spec.name.as_str(),
            &index,
            board.rooms()[node].node.id.as_str(),
        ];
        let digest = Sha256::digest(parts.join("\0"));
        let mut first = [0; 8];
        first.copy_from_slice(&digest[..8]);
        first
    }
}

/// The part of the score that depends on the placement mode.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct ModeKey<'a>(i64, i64, &'a str);

/// The larger reserved share of cpu and memory, in parts per million.
fn reserved_share(room: &crate::board::Room<'_>) -> i64 {
    let (capacity, kept) = (&room.node.facts.capacity, &room.node.facts.reserved);
    let share = |used: u64, total: u64, kept: u64| {
        let usable = u128::from(total.saturating_sub(kept).max(1));
        i64::try_from(u128::from(used) * 1_000_000 / usable).unwrap_or(i64::MAX)
    };
    let cpu = share(room.used.cpu_milli, capacity.cpu_milli, kept.cpu_milli);
    cpu.max(share(room.used.memory, capacity.memory, kept.memory))
}

/// The nodes that hold a volume.
#[derive(Debug)]
struct Pin {
    volume: String,
    nodes: BTreeSet<NodeIndex>,
}

impl Pin {
    fn reason(&self, board: &Board<'_>) -> Reason {
        let on: Vec<_> =
            self.nodes.iter().map(|node| board.rooms()[*node].node.name.as_str()).collect();
        Reason::with("volume_elsewhere", format!("{} is on {}", self.volume, on.join(", ")))
    }
}
