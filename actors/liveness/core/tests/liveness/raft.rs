//! Raft in a few words: one leader at a time that reaches most voters, and a state with numbers.

use crate::world::World;
use jaco_liveness_core::{Input, Peer};
use jaco_model::command::Command;
use jaco_model::{ErrorCode, Fault, NodeId};

/// How long a cluster is without a leader.
pub(crate) const ELECTION: u64 = 2_000;

/// The replicated part.
#[derive(Debug)]
pub(crate) struct Raft {
    pub(crate) members: Vec<Peer>,
    /// Index of the last change.
    pub(crate) version: u64,
    pub(crate) leader: Option<usize>,
    /// Since when the leader is none.
    lost_since: Option<u64>,
    /// Whether every proposal is refused.
    pub(crate) refuses: bool,
    /// Nodes that go on believing that they lead.
    pub(crate) stubborn: bool,
}

/// One accepted change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Declared {
    pub(crate) at: u64,
    pub(crate) node: usize,
    pub(crate) up: bool,
}

impl Raft {
    pub(crate) fn new(members: Vec<Peer>) -> Raft {
        Raft {
            members,
            version: 1,
            leader: Some(0),
            lost_since: None,
            refuses: false,
            stubborn: false,
        }
    }

    pub(crate) fn index(&self, node: &NodeId) -> usize {
        self.members.iter().position(|peer| peer.node == *node).unwrap()
    }

    /// Applies a command that a majority has.
    pub(crate) fn apply(&mut self, now: u64, command: &Command) -> Result<Declared, Fault> {
        let Command::SetLiveness { node, up, epoch, evidence } = command else {
            panic!("{command:?}")
        };
        assert!(!evidence.is_empty(), "a declaration without evidence");
        let index = self.index(node);
        let peer = &mut self.members[index];
        if *epoch != peer.epoch + 1 {
            return Err(Fault::new(ErrorCode::Conflict, "something came between"));
        }
        assert_eq!(*up, peer.is_down, "{} did not change", peer.name);
        peer.is_down = !up;
        peer.epoch = *epoch;
        self.version += 1;
        Ok(Declared { at: now, node: index, up: *up })
    }
}

impl World {
    /// Whether two nodes are awake and reach each other.
    pub(crate) fn are_connected(&self, a: usize, b: usize) -> bool {
        let awake = |n: usize| self.nodes[n].core.is_some() && !self.nodes[n].paused;
        let linked = !self.network.is_cut(a, b) && !self.network.is_cut(b, a);
        awake(a) && awake(b) && (a == b || linked)
    }

    pub(crate) fn may_lead(&self, node: usize) -> bool {
        let voters = || (0..self.nodes.len()).filter(|n| self.raft.members[*n].voter);
        let near = voters().filter(|voter| self.are_connected(node, *voter)).count();
        near * 2 > voters().count() && self.raft.members[node].voter
    }

    /// Elections and replication; ten times a second.
    pub(crate) fn raft_tick(&mut self) {
        if self.raft.leader.is_some_and(|leader| self.may_lead(leader)) {
            self.raft.lost_since = None;
        } else {
            let since = *self.raft.lost_since.get_or_insert(self.now);
            if self.now - since >= ELECTION {
                self.elect();
            }
        }
        let Some(leader) = self.raft.leader else { return };
        for node in 0..self.nodes.len() {
            if self.nodes[node].version < self.raft.version && self.are_connected(leader, node) {
                self.replicate(node);
            }
        }
    }

    /// A leader that ends has forgotten it when it starts again.
    pub(crate) fn raft_lost(&mut self, node: usize) {
        if self.raft.leader == Some(node) {
            self.raft.leader = None;
            self.raft.lost_since = Some(self.now);
        }
    }

    fn elect(&mut self) {
        let next = (0..self.nodes.len()).find(|node| self.may_lead(*node));
        self.set_leader(next);
    }

    pub(crate) fn set_leader(&mut self, next: Option<usize>) {
        let before = std::mem::replace(&mut self.raft.leader, next);
        if before == next {
            return;
        }
        if let Some(before) = before.filter(|_| !self.raft.stubborn) {
            self.deliver(before, Input::Leadership(false));
        }
        if let Some(next) = next {
            self.raft.lost_since = None;
            self.note(&format!("{} leads", self.name(next)));
            self.replicate(next);
            self.deliver(next, Input::Leadership(true));
        }
    }

    pub(crate) fn replicate(&mut self, node: usize) {
        let members = self.raft.members.clone();
        self.nodes[node].version = self.raft.version;
        self.nodes[node].members.clone_from(&members);
        self.deliver(node, Input::Applied(self.raft.version));
        self.deliver(node, Input::Roster(members));
    }

    /// A proposal reaches the log, or does not.
    pub(crate) fn decide(&mut self, by: usize, command: &Command) -> Result<(), Fault> {
        if self.raft.refuses || self.raft.leader != Some(by) || !self.may_lead(by) {
            return Err(Fault::new(ErrorCode::NoLeader, "nobody decides"));
        }
        let declared = self.raft.apply(self.now, command)?;
        let word = if declared.up { "up" } else { "down" };
        self.note(&format!("{} is {word}", self.name(declared.node)));
        self.declared.push(declared);
        self.replicate(by);
        Ok(())
    }
}
