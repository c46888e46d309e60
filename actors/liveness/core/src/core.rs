//! [`LivenessCore`]: what each input moves, and what follows from it.
//!
//! Each step first notes whether it comes too late, then ends the probes whose time is over, takes
//! the input, sends what is due, and at last compares what routing and the state should know with
//! what they know. There is always a probe to come while there is a peer, so that nothing else
//! needs a timer; a node alone has none.

use crate::judge::Judge;
use crate::paths::Paths;
use crate::proposals::Proposals;
use crate::reports::Reports;
use crate::roster::Roster;
use crate::stall::Stall;
use crate::word::SUSPECTS_MAX;
use crate::{Effect, Input, Peer, PeerView, Settings, Word};
use jaco_kit_core::{Core, Mono, Now, OpIds};
use jaco_model::command::Command;
use jaco_model::{NodeId, NodeName};
use std::collections::{BTreeMap, BTreeSet};

/// Knows who of the cluster is up. Only the leader's one declares it.
#[derive(Debug)]
pub struct LivenessCore {
    settings: Settings,
    now: Mono,
    leading_since: Option<Mono>,
    applied: u64,
    pausing_since: Option<Mono>,
    roster: Roster,
    paths: Paths,
    reports: Reports,
    stall: Stall,
    /// The suspects that routing was told of.
    shown: BTreeSet<NodeId>,
    proposals: Proposals,
    ops: OpIds,
}

impl LivenessCore {
    /// A core that knows no members yet. `seed` spreads the probes; members need different ones.
    pub fn new(me: NodeId, settings: Settings, seed: u64) -> LivenessCore {
        LivenessCore {
            settings,
            now: Mono(0),
            leading_since: None,
            applied: 0,
            pausing_since: None,
            roster: Roster::new(me),
            paths: Paths::new(seed),
            reports: Reports::default(),
            stall: Stall::default(),
            shown: BTreeSet::new(),
            proposals: Proposals::default(),
            ops: OpIds::default(),
        }
    }

    /// What this node says to a peer that probes it, as of the last step.
    pub fn word(&self) -> Word {
        let stalled = self.stall.worst(self.now, &self.settings);
        Word {
            epoch: self.roster.own().map_or(0, |own| own.peer.epoch),
            impaired: self.is_impaired(),
            pausing: self.is_pausing(),
            suspects: self.paths.suspects().take(SUSPECTS_MAX).cloned().collect(),
            applied_index: self.applied,
            stalled_ms: u32::try_from(stalled.as_millis()).unwrap_or(u32::MAX),
            checkpoint: None,
        }
    }

    /// What this node knows about each peer, as of the last step.
    pub fn view(&self) -> BTreeMap<NodeId, PeerView> {
        let peers = self.roster.peers().map(|member| {
            let node = &member.peer.node;
            let report = self.reports.get(node);
            let view = PeerView {
                suspect: self.shown.contains(node),
                last_contact: report.map(|report| report.heard),
                impaired: report.is_some_and(|report| report.impaired),
                applied_index: report.map_or(0, |report| report.applied_index),
                flapping: member.flaps.is_held(self.now),
            };
            (node.clone(), view)
        });
        peers.collect()
    }

    /// Whether this node's own observations are not to be trusted now.
    pub fn is_impaired(&self) -> bool {
        let judge = self.judge(false);
        self.stall.is_recent(self.now, &self.settings)
            || self.paths.is_cut_off(|peer| judge.is_excused(peer), &self.settings)
    }

    fn is_pausing(&self) -> bool {
        self.pausing_since.is_some_and(|since| self.now.since(since) <= self.settings.pause_max)
    }

    fn judge(&self, impaired: bool) -> Judge<'_> {
        Judge {
            now: self.now,
            settings: &self.settings,
            roster: &self.roster,
            paths: &self.paths,
            reports: &self.reports,
            impaired,
        }
    }

    /// What time alone has brought: a late start voids what was seen, an unanswered probe failed.
    fn begin(&mut self, now: Mono) {
        let late = self.stall.note(now, self.paths.deadline(), &self.settings);
        self.now = now;
        if late {
            self.paths.void(now);
        }
        for peer in self.paths.expire(now) {
            self.fail(&peer);
        }
    }

    fn take(&mut self, input: Input) -> Vec<Effect> {
        match input {
            Input::Roster(peers) => self.enrol(peers),
            Input::Leadership(leads) => self.lead(leads),
            Input::Applied(index) => self.applied = self.applied.max(index),
            Input::Pausing => return self.announce(),
            Input::Answered { op, word } => {
                if let Some(peer) = self.paths.settle(op) {
                    self.paths.succeeded(self.now, &peer, self.applied);
                    if word.pausing {
                        self.paths.soil(&peer);
                    }
                    self.hear(peer, word);
                }
            }
            Input::Failed { op } => {
                if let Some(peer) = self.paths.settle(op) {
                    self.fail(&peer);
                }
            }
            Input::Heard { from, word } => self.hear(from, word),
            Input::Proposed { op, result: _ } => {
                // Whether it was accepted is seen in the state; either way it is not repeated at once.
                self.proposals.end(self.now, op, &self.settings);
            }
        }
        Vec::new()
    }

    fn enrol(&mut self, peers: Vec<Peer>) {
        for fallen in self.roster.replace(self.now, peers, &self.settings) {
            self.paths.soil(&fallen);
        }
        self.reports.retain(&self.roster);
        self.retarget();
    }

    fn lead(&mut self, leads: bool) {
        if leads != self.leading_since.is_some() {
            self.leading_since = leads.then_some(self.now);
            self.proposals.clear();
            self.retarget();
        }
    }

    fn retarget(&mut self) {
        let targets = self.roster.targets(self.leading_since.is_some());
        self.paths.retarget(self.now, targets, &self.settings);
    }

    /// Tells everybody at once, since this node may be gone before the next probes are due.
    fn announce(&mut self) -> Vec<Effect> {
        self.pausing_since = Some(self.now);
        let word = self.word();
        let peers: Vec<NodeId> = self.roster.peers().map(|peer| peer.peer.node.clone()).collect();
        let tell = |peer| Effect::Probe { op: self.ops.next_id(), peer, word: word.clone() };
        peers.into_iter().map(tell).collect()
    }

    fn hear(&mut self, from: NodeId, word: Word) {
        self.reports.take(self.now, from, word, &self.roster, &self.settings);
    }

    fn fail(&mut self, peer: &NodeId) {
        let excused = self.judge(false).is_excused(peer);
        self.paths.failed(self.now, peer, excused, &self.settings);
    }

    /// Sends what is due and tells what has changed.
    fn end(&mut self, mut effects: Vec<Effect>) -> Vec<Effect> {
        let due = self.paths.send_due(self.now, &mut self.ops, &self.settings);
        if !due.is_empty() {
            let word = self.word();
            let probe = |(op, peer)| Effect::Probe { op, peer, word: word.clone() };
            effects.extend(due.into_iter().map(probe));
        }
        let judge = self.judge(self.is_impaired());
        let suspects = judge.suspects();
        let decisions = self.decisions(judge);
        if suspects != self.shown {
            self.shown.clone_from(&suspects);
            effects.push(Effect::Suspects(suspects));
        }
        for (node, up, epoch, evidence) in decisions {
            let op = self.proposals.begin(node.clone(), &mut self.ops);
            let command = Command::SetLiveness { node, up, epoch, evidence };
            effects.push(Effect::Propose { op, command });
        }
        effects
    }

    /// What the leader should write now. Each change is numbered, so that one which something came
    /// before has no effect.
    fn decisions(&self, judge: Judge<'_>) -> Vec<(NodeId, bool, u64, Vec<NodeName>)> {
        let Some(since) = self.leading_since else { return Vec::new() };
        let mut decisions = Vec::new();
        for member in self.roster.peers().chain(self.roster.own()) {
            let peer = &member.peer;
            let is_own = peer.node == *self.roster.me();
            let evidence = match peer.is_down {
                _ if !self.proposals.is_free(self.now, &peer.node) => None,
                true if is_own => judge.am_back(since),
                true => judge.is_back(member),
                false => judge.is_down(&peer.node),
            };
            if let Some(evidence) = evidence {
                let epoch = peer.epoch.saturating_add(1);
                decisions.push((peer.node.clone(), peer.is_down, epoch, evidence));
            }
        }
        decisions
    }
}

impl Core for LivenessCore {
    type Input = Input;
    type Effect = Effect;

    fn step(&mut self, now: Now, input: Input) -> Vec<Effect> {
        self.begin(now.mono);
        let effects = self.take(input);
        self.end(effects)
    }

    fn wake(&mut self, now: Now) -> Vec<Effect> {
        self.begin(now.mono);
        self.end(Vec::new())
    }

    fn deadline(&self) -> Option<Mono> {
        self.paths.deadline()
    }

    fn check_invariants(&self) {
        self.paths.check(&self.settings);
        let leads = self.leading_since.is_some();
        debug_assert!(leads || self.proposals.is_idle(), "a follower declared something");
        debug_assert!(!self.paths.contains(self.roster.me()), "a node probes itself");
        debug_assert!(self.shown.iter().all(|peer| self.roster.is_peer(peer)), "{:?}", self.shown);
        debug_assert_eq!(self.deadline().is_some(), self.roster.len() > 1, "a timer without peers");
        debug_assert!(self.deadline().is_none_or(|at| at > self.now), "a timer in the past");
        let word = self.word();
        debug_assert!(word.suspects.len() <= SUSPECTS_MAX, "too many suspects");
    }
}
