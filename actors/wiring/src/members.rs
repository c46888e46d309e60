//! What the parts that deal with other members are told of the member list.

use crate::member::{Member, deliver};
use crate::propose::Origin;
use crate::step::{Delivery, Io, Peer, Step};
use jaco_kit_core::Now;
use jaco_model::NodeId;
use jaco_model::command::Command;
use jaco_model::entity::{Leaving, Node, NodeStatus, Slot};
use jaco_raft_core::{Roster, RosterMember, Standing};
use std::time::Duration;

/// Label of a node's zone; voters are spread over zones.
const ZONE: &str = "jaco.io/zone";

/// How long a voter is down before another member gets its vote.
const VOTER_REPLACE_AFTER: Duration = Duration::from_secs(5 * 60);

/// How long a node that joined may be silent before it counts as one that never came, in cluster
/// time. A joiner may ask again for as long.
const GHOST_AFTER_MS: u64 = 15 * 60 * 1_000;

impl Member {
    /// Tells raft, liveness and transport who the members are.
    pub(crate) fn show_members(&self) -> Vec<Step> {
        let roster = Roster {
            members: self.state.nodes.values().map(|node| self.roster_member(node)).collect(),
            voter_replace_after: VOTER_REPLACE_AFTER,
        };
        let watched = self.state.nodes.values().map(|node| jaco_liveness_core::Peer {
            node: node.id.clone(),
            name: node.name.clone(),
            voter: node.voter,
            is_down: node.status == NodeStatus::Down,
            epoch: node.liveness_epoch,
        });
        let peers = self.state.nodes.values().map(|node| Peer {
            node: node.id.clone(),
            raft_id: node.raft_id,
            address: node.facts.address.clone(),
            serials: self.has_caught_up().then(|| node.serials.clone()),
        });
        vec![
            Step::Io(Io::Peers(peers.collect())),
            deliver(Delivery::Raft(jaco_raft_core::Input::Roster(roster))),
            deliver(Delivery::Liveness(jaco_liveness_core::Input::Roster(watched.collect()))),
        ]
    }

    fn roster_member(&self, node: &Node) -> RosterMember {
        let standing = if self.has_moved_out(node) {
            Standing::Leaving
        } else {
            match node.status {
                NodeStatus::Joining => Standing::Joining,
                NodeStatus::Ready => Standing::Ready,
                NodeStatus::Down => Standing::Down,
            }
        };
        let (name, zone) = (node.name.to_string(), node.label(ZONE).to_owned());
        RosterMember { raft_id: node.raft_id, name, zone, standing }
    }

    /// Whether nothing holds a leaving node in the cluster any more.
    fn has_moved_out(&self, node: &Node) -> bool {
        match node.leaving {
            None => false,
            Some(Leaving::Force) => true,
            Some(Leaving::Drain) if node.status == NodeStatus::Down => true,
            // A replica that belongs to this very node ends with it.
            Some(Leaving::Drain) => {
                self.state.instances_on(&node.id).all(|i| matches!(i.slot, Slot::Node(_)))
            }
        }
    }

    /// Ends removals: the leader forgets members that the raft group is without, and begins the
    /// removal of those that never came.
    pub(crate) fn forget_removed(&mut self, now: Now) -> Vec<Step> {
        if !self.leads || !self.has_caught_up() {
            return Vec::new();
        }
        let mut steps = self.remove_ghosts(now);
        steps.extend(self.finish_removals());
        steps
    }

    /// A node whose join was written but that was never heard of since: its answer was lost, or it
    /// broke before it began. Its name would be taken for ever.
    fn remove_ghosts(&mut self, now: Now) -> Vec<Step> {
        let clock = self.state.cluster.as_ref().map_or(0, |cluster| cluster.cluster_time.0);
        let is_ghost = |node: &Node| {
            let facts = &node.facts;
            let is_silent = facts.platform.os.is_empty() && facts.conditions.is_empty();
            let since = clock.saturating_sub(node.joined_at.0);
            is_silent && !node.voter && node.leaving.is_none() && since > GHOST_AFTER_MS
        };
        let ghosts: Vec<NodeId> = self
            .state
            .nodes
            .values()
            .filter(|node| is_ghost(node) && !self.forgetting.contains(&node.id))
            .map(|node| node.id.clone())
            .collect();
        let mut steps = Vec::new();
        for node in ghosts {
            self.forgetting.insert(node.clone());
            let command = Command::RemoveNode { node: node.clone(), leaving: Leaving::Force };
            steps.extend(self.propose_own(now, Origin::Forget(node), command));
        }
        steps
    }

    /// Whether nothing is left to do for a leaving node but to forget it.
    fn is_out(&self, node: &Node) -> bool {
        self.has_moved_out(node) && !self.members.contains(node.raft_id) && !node.voter
    }

    /// Tells those that are out; each is forgotten once it knows, since nobody speaks to it then.
    fn finish_removals(&mut self) -> Vec<Step> {
        let over: Vec<NodeId> = self
            .state
            .nodes
            .values()
            .filter(|node| self.is_out(node) && !self.forgetting.contains(&node.id))
            .map(|node| node.id.clone())
            .collect();
        self.forgetting.extend(over.iter().cloned());
        over.into_iter().map(|node| Step::Io(Io::TellRemoved(node))).collect()
    }

    /// A member knows now that it was removed, or cannot be told.
    pub fn told_removed(&mut self, now: Now, node: NodeId) -> Vec<Step> {
        let is_out = self.state.nodes.get(&node).is_some_and(|node| self.is_out(node));
        if !self.leads || !is_out {
            self.forgetting.remove(&node);
            return Vec::new();
        }
        let command = Command::ForgetNode { node: node.clone() };
        self.propose_own(now, Origin::Forget(node), command)
    }
}
