//! The members, who observes whom, and what changed with each new state.

use crate::flaps::Flaps;
use crate::{Peer, Settings};
use jaco_kit_core::{Mono, mix as spread};
use jaco_model::NodeId;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// The members of the cluster as the replicated state has them.
#[derive(Debug)]
pub(crate) struct Roster {
    me: NodeId,
    members: BTreeMap<NodeId, Member>,
    /// By observed peer. Every member computes the same from the same state.
    observers: BTreeMap<NodeId, BTreeSet<NodeId>>,
    /// Peers that this node watches although its opinion of them does not count.
    extra: BTreeSet<NodeId>,
}

/// One member and what was noted about it.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) peer: Peer,
    pub(crate) flaps: Flaps,
    /// When it became a member, if this node was one before.
    pub(crate) arrived: Option<Mono>,
}

impl Roster {
    pub(crate) fn new(me: NodeId) -> Roster {
        let (members, observers) = (BTreeMap::new(), BTreeMap::new());
        Roster { me, members, observers, extra: BTreeSet::new() }
    }

    /// Takes the members of a newer state; returns those that were declared down since.
    pub(crate) fn replace(
        &mut self,
        now: Mono,
        peers: Vec<Peer>,
        settings: &Settings,
    ) -> Vec<NodeId> {
        let first = self.members.is_empty();
        let mut before = std::mem::take(&mut self.members);
        let mut fallen = Vec::new();
        if peers.iter().any(|peer| peer.node == self.me) {
            for peer in peers {
                let known = before.remove(&peer.node);
                let arrived = (known.is_none() && !first).then_some(now);
                let (old, mut flaps, arrived) = match known {
                    Some(member) => (Some(member.peer), member.flaps, member.arrived),
                    None => (None, Flaps::default(), arrived),
                };
                if let Some(old) = old.filter(|old| old.epoch != peer.epoch) {
                    let downs = downs(&old, &peer);
                    if downs > 0 {
                        fallen.push(peer.node.clone());
                    }
                    // More than are forgiven need not be told apart.
                    for _ in 0..downs.min(settings.flaps_max as u64 + 1) {
                        flaps.went_down(now, settings);
                    }
                    if !peer.is_down {
                        flaps.came_back(now);
                    }
                }
                self.members.insert(peer.node.clone(), Member { peer, flaps, arrived });
            }
        }
        self.assign(settings);
        fallen
    }

    /// Chooses the observers of each member.
    ///
    /// Members that are down observe nobody: a return counts only once it is declared.
    fn assign(&mut self, settings: &Settings) {
        let observers = self.members.keys().filter(|of| **of != self.me).map(|of| {
            let up = self.members.values().map(|member| &member.peer);
            let up = up.filter(|peer| !peer.is_down && peer.node != *of);
            let (voters, others): (Vec<&Peer>, Vec<&Peer>) = up.partition(|peer| peer.voter);
            let voters = ranked(voters, of).take(settings.observer_voters_max);
            let chosen = voters.chain(ranked(others, of)).take(settings.observers_max);
            (of.clone(), chosen.map(|peer| peer.node.clone()).collect())
        });
        self.observers = observers.collect();
        let watched = self.observers.values().filter(|chosen| chosen.contains(&self.me)).count();
        let peers = self.members.values().map(|member| &member.peer);
        let peers = peers.filter(|peer| peer.node != self.me);
        let (voters, others): (Vec<&Peer>, Vec<&Peer>) = peers.partition(|peer| peer.voter);
        let known = ranked(voters, &self.me).chain(ranked(others, &self.me));
        let unwatched = known.filter(|peer| !self.observes(&self.me, &peer.node));
        let missing = settings.targets_min.saturating_sub(watched);
        self.extra = unwatched.take(missing).map(|peer| peer.node.clone()).collect();
    }

    /// Whom this node probes.
    pub(crate) fn targets(&self, leads: bool) -> BTreeSet<NodeId> {
        let peers = self.observers.keys();
        let wanted =
            |of: &&NodeId| leads || self.extra.contains(*of) || self.observes(&self.me, of);
        peers.filter(wanted).cloned().collect()
    }

    /// Whether one member's opinion of another counts.
    pub(crate) fn observes(&self, observer: &NodeId, of: &NodeId) -> bool {
        self.observers.get(of).is_some_and(|chosen| chosen.contains(observer))
    }

    /// Whose opinion of a peer counts.
    pub(crate) fn observers_of(&self, of: &NodeId) -> impl Iterator<Item = &NodeId> {
        self.observers.get(of).into_iter().flatten()
    }

    /// This node as a member.
    pub(crate) fn own(&self) -> Option<&Member> {
        self.members.get(&self.me)
    }

    /// This node's id.
    pub(crate) fn me(&self) -> &NodeId {
        &self.me
    }

    /// Any member.
    pub(crate) fn get(&self, node: &NodeId) -> Option<&Member> {
        self.members.get(node)
    }

    /// All members but this node.
    pub(crate) fn peers(&self) -> impl Iterator<Item = &Member> {
        self.members.values().filter(|member| member.peer.node != self.me)
    }

    /// Whether a node is another member.
    pub(crate) fn is_peer(&self, node: &NodeId) -> bool {
        *node != self.me && self.members.contains_key(node)
    }

    /// Number of members.
    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether those voters that `is_there` holds for can decide without the others.
    pub(crate) fn is_majority(&self, is_there: impl Fn(&NodeId) -> bool) -> bool {
        let voters = || self.members.values().filter(|member| member.peer.voter);
        let there = voters().filter(|member| is_there(&member.peer.node)).count();
        there * 2 > voters().count()
    }
}

/// Downs between two states of a member, of which changes in between were not seen: up and down
/// take turns.
fn downs(old: &Peer, new: &Peer) -> u64 {
    let changes = new.epoch.saturating_sub(old.epoch);
    if old.is_down { changes / 2 } else { changes.div_ceil(2) }
}

/// Candidates to observe `of`, best first, by rendezvous hashing (Thaler, Ravishankar 1998).
fn ranked<'p>(mut candidates: Vec<&'p Peer>, of: &NodeId) -> impl Iterator<Item = &'p Peer> {
    candidates
        .sort_by_key(|peer| Reverse((mix(&[peer.node.as_str(), of.as_str()], 0), &peer.node)));
    candidates.into_iter()
}

/// A hash of texts that is the same on every member and in every version.
///
/// FNV-1a over the texts, each ended by a zero byte, then the finish of SplitMix64.
pub(crate) fn mix(texts: &[&str], seed: u64) -> u64 {
    let bytes = texts.iter().flat_map(|text| text.bytes().chain([0]));
    spread::mix(spread::fnv(bytes, seed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jaco_model::NodeName;

    fn id(n: usize) -> NodeId {
        NodeId::new(format!("{n:032x}"))
    }

    fn peers(count: usize, voters: usize) -> Vec<Peer> {
        let peer = |n| Peer {
            node: id(n),
            name: NodeName::new(format!("node-{n}")),
            voter: n < voters,
            is_down: false,
            epoch: 0,
        };
        (0..count).map(peer).collect()
    }

    fn roster(me: usize, peers: Vec<Peer>) -> Roster {
        let mut roster = Roster::new(id(me));
        roster.replace(Mono(0), peers, &Settings::default());
        roster
    }

    #[test]
    fn everybody_is_observed_by_all_voters_and_eight_nodes() {
        for count in 1..=50 {
            let voters = [1, 1, 1, 3, 3, 5, 5].get(count).copied().unwrap_or(7);
            let seen_by_first = roster(0, peers(count, voters));
            let seen_by_last = roster(count - 1, peers(count, voters));
            for of in (0..count).map(id) {
                if of != *seen_by_first.me() {
                    let chosen: BTreeSet<_> = seen_by_first.observers_of(&of).collect();
                    assert_eq!(chosen.len(), (count - 1).min(8), "{count} nodes");
                    let all_voters = (0..voters).map(id).filter(|voter| *voter != of);
                    assert!(all_voters.into_iter().all(|voter| chosen.contains(&voter)));
                    if of != *seen_by_last.me() {
                        assert!(chosen.iter().copied().eq(seen_by_last.observers_of(&of)));
                    }
                }
            }
        }
    }

    #[test]
    fn everybody_watches_two_and_the_leader_everybody() {
        for me in 0..30 {
            let roster = roster(me, peers(30, 7));
            assert!(roster.targets(false).len() >= 2, "node {me}");
            assert_eq!(roster.targets(true).len(), 29);
        }
        assert!(roster(0, peers(1, 1)).targets(true).is_empty());
    }

    #[test]
    fn the_eighth_observer_is_not_always_the_same() {
        let all: Vec<Roster> = (7..30).map(|me| roster(me, peers(30, 7))).collect();
        let by_worker =
            |roster: &Roster| (0..30).map(id).filter(|of| roster.observes(roster.me(), of)).count();
        let most = all.iter().map(by_worker).max().unwrap();
        assert!(most <= 6, "one worker observes {most} others");
    }

    #[test]
    fn who_is_down_observes_nobody() {
        let mut members = peers(5, 5);
        members[3].is_down = true;
        let roster = roster(0, members);
        assert!((1..5).all(|of| !roster.observes(&id(3), &id(of))));
        assert_eq!(roster.observers_of(&id(3)).count(), 4);
    }

    #[test]
    fn without_this_node_there_are_no_members() {
        let mut roster = roster(2, peers(3, 3));
        roster.replace(Mono(9), peers(2, 1), &Settings::default());
        assert_eq!((roster.len(), roster.targets(true).len()), (0, 0));
    }
}
