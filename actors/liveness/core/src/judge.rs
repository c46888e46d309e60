//! What the words of all observers together mean.

use crate::Settings;
use crate::paths::Paths;
use crate::reports::Reports;
use crate::roster::{Member, Roster};
use jaco_kit_core::Mono;
use jaco_model::{NodeId, NodeName};
use std::collections::BTreeSet;
use std::time::Duration;

/// Everything that a judgement looks at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Judge<'a> {
    pub(crate) now: Mono,
    pub(crate) settings: &'a Settings,
    pub(crate) roster: &'a Roster,
    pub(crate) paths: &'a Paths,
    pub(crate) reports: &'a Reports,
    /// Whether the own observations do not count.
    pub(crate) impaired: bool,
}

/// The observers of one node whose opinion counts now.
#[derive(Debug, Default)]
struct Tally<'a> {
    counted: usize,
    suspecting: Vec<&'a NodeId>,
}

impl Tally<'_> {
    /// At least half of those heard, and more than one.
    fn is_enough(&self) -> bool {
        self.suspecting.len() >= 2 && self.suspecting.len() * 2 >= self.counted
    }
}

impl<'a> Judge<'a> {
    /// Peers that this node or most observers cannot reach. A path that fails here is avoided here
    /// whatever the others say.
    pub(crate) fn suspects(&self) -> BTreeSet<NodeId> {
        let own: BTreeSet<&NodeId> = self.paths.suspects().collect();
        let named: BTreeSet<&NodeId> = self.reports.suspects().chain(own.iter().copied()).collect();
        let suspect =
            |of: &&NodeId| own.contains(*of) || self.tally(of, Duration::ZERO, false).is_enough();
        let peers = named.into_iter().filter(|of| self.roster.is_peer(of));
        peers.filter(suspect).cloned().collect()
    }

    /// Who agrees that a node is down, once that is certain enough to write it down.
    ///
    /// Only the leader may ask, and its own path must fail too.
    pub(crate) fn is_down(&self, of: &'a NodeId) -> Option<Vec<NodeName>> {
        let path = self.paths.get(of)?;
        path.suspect_since()?;
        if !self.may_decide() {
            return None;
        }
        if self.roster.len() == 2 {
            let failing = path
                .failing_since()
                .filter(|since| self.now.since(*since) >= self.settings.confirm_alone_after);
            return failing.map(|_| self.names([self.roster.me()]));
        }
        let tally = self.tally(of, self.settings.confirm_after, true);
        let agreed = tally.is_enough() && tally.suspecting.contains(&self.roster.me());
        agreed.then(|| self.names(tally.suspecting))
    }

    /// Who saw that a node that was down is back for good.
    pub(crate) fn is_back(&self, member: &Member) -> Option<Vec<NodeName>> {
        let node = &member.peer.node;
        let clean = self.paths.get(node)?.clean()?;
        let report = self.reports.get(node)?;
        let long = self.now.since(clean.since) >= self.settings.return_after;
        let caught_up = report.epoch >= member.peer.epoch && report.applied_index >= clean.applied;
        let pausing = report.is_pausing(self.now, self.settings);
        let back = long && caught_up && !pausing && !member.flaps.is_held(self.now);
        (back && self.may_decide()).then(|| self.names([self.roster.me()]))
    }

    /// Who saw that this node, the leader since then, is not down although the state says so.
    pub(crate) fn am_back(&self, leading_since: Mono) -> Option<Vec<NodeName>> {
        let own = self.roster.own().filter(|own| own.peer.is_down)?;
        let long = self.now.since(leading_since) >= self.settings.return_after;
        let back = long && !own.flaps.is_held(self.now);
        (back && self.may_decide()).then(|| self.names([self.roster.me()]))
    }

    /// Whether a peer may be away without being down.
    pub(crate) fn is_excused(&self, peer: &NodeId) -> bool {
        let report = self.reports.get(peer);
        let pausing = report.is_some_and(|report| report.is_pausing(self.now, self.settings));
        let arrived = self.roster.get(peer).and_then(|member| member.arrived);
        let arriving = report.is_none()
            && arrived.is_some_and(|at| self.now.since(at) <= self.settings.arrival_grace);
        pausing || arriving
    }

    /// A leader that was not awake, or does not hear most voters, may no longer be one.
    fn may_decide(&self) -> bool {
        let heard = |node: &NodeId| *node == *self.roster.me() || self.is_heard(node);
        !self.impaired && self.roster.is_majority(heard)
    }

    fn is_heard(&self, node: &NodeId) -> bool {
        self.reports.get(node).is_some_and(|report| report.is_valid(self.now, self.settings))
    }

    /// The observers of a node, and those of them that have suspected it for `at_least`.
    fn tally(&self, of: &NodeId, at_least: Duration, as_leader: bool) -> Tally<'a> {
        let me = self.roster.me();
        let mut tally = Tally::default();
        let leader = (as_leader && !self.roster.observes(me, of)).then_some(me);
        for observer in self.roster.observers_of(of).chain(leader) {
            let since = if observer == me {
                let path = self.paths.get(of).filter(|_| !self.impaired);
                path.map(|path| path.suspect_since())
            } else {
                let report = self.reports.get(observer).filter(|report| !report.impaired);
                let report = report.filter(|report| report.is_valid(self.now, self.settings));
                report.map(|report| report.suspects_since(of))
            };
            let Some(since) = since else { continue };
            tally.counted += 1;
            if since.is_some_and(|since| self.now.since(since) >= at_least) {
                tally.suspecting.push(observer);
            }
        }
        tally
    }

    fn names(&self, nodes: impl IntoIterator<Item = &'a NodeId>) -> Vec<NodeName> {
        let members = nodes.into_iter().filter_map(|node| self.roster.get(node));
        members.map(|member| member.peer.name.clone()).collect()
    }
}
