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

    /// Ends removals: the leader forgets members that the raft group is without.
    pub(crate) fn forget_removed(&mut self, now: Now) -> Vec<Step> {
        if !self.leads || !self.has_caught_up() {
            return Vec::new();
        }
        let is_over = |node: &Node| {
            self.has_moved_out(node) && !self.members.contains(node.raft_id) && !node.voter
        };
        let over: Vec<NodeId> = self
            .state
            .nodes
            .values()
            .filter(|node| is_over(node) && !self.forgetting.contains(&node.id))
            .map(|node| node.id.clone())
            .collect();
        let mut steps = Vec::new();
        for node in over {
            self.forgetting.insert(node.clone());
            // It hears it while it is still believed.
            steps.push(Step::Io(Io::TellRemoved(node.clone())));
            let command = Command::ForgetNode { node: node.clone() };
            steps.extend(self.propose_own(now, Origin::Forget(node), command));
        }
        steps
    }
}
