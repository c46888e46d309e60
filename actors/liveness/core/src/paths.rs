//! The paths from this node to those it probes.
//!
//! | a path is | until | then |
//! |---|---|---|
//! | good | a probe fails | failing |
//! | failing | three fail in a row | suspect |
//! | failing, suspect | a probe is answered | good |
//! | any | this node was woken too late | good, or suspect from now on |

use crate::Settings;
use crate::roster::mix;
use jaco_kit_core::{Mono, OpId, OpIds};
use jaco_model::NodeId;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// All paths that are probed.
#[derive(Debug)]
pub(crate) struct Paths {
    seed: u64,
    of: BTreeMap<NodeId, Path>,
}

/// The path to one peer.
#[derive(Clone, Debug)]
pub(crate) struct Path {
    phase: u64,
    due: Mono,
    pending: Option<Pending>,
    failures: u32,
    failing_since: Option<Mono>,
    suspect_since: Option<Mono>,
    clean: Option<Clean>,
}

/// A probe that waits for its answer.
#[derive(Clone, Copy, Debug)]
struct Pending {
    op: OpId,
    expires: Mono,
}

/// A run of answered probes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clean {
    /// The first answer.
    pub(crate) since: Mono,
    /// The index that was applied here by then.
    pub(crate) applied: u64,
}

impl Path {
    /// Since when probes have failed without an answer between.
    pub(crate) fn failing_since(&self) -> Option<Mono> {
        self.failing_since
    }

    /// Since when the peer is suspect.
    pub(crate) fn suspect_since(&self) -> Option<Mono> {
        self.suspect_since
    }

    /// The run of answered probes that goes on.
    pub(crate) fn clean(&self) -> Option<Clean> {
        self.clean
    }

    fn forgive(&mut self) {
        self.failures = 0;
        self.failing_since = None;
        self.suspect_since = None;
    }
}

impl Paths {
    /// No paths yet; `seed` spreads the probes over the period.
    pub(crate) fn new(seed: u64) -> Paths {
        Paths { seed, of: BTreeMap::new() }
    }

    /// Probes exactly these peers from now on. What is known of those that stay is kept.
    pub(crate) fn retarget(&mut self, now: Mono, targets: BTreeSet<NodeId>, settings: &Settings) {
        self.of.retain(|peer, _| targets.contains(peer));
        for peer in targets {
            let phase = mix(&[peer.as_str()], self.seed) % millis(settings.probe_every);
            self.of.entry(peer).or_insert_with(|| Path {
                phase,
                due: next_due(now, phase, settings),
                pending: None,
                failures: 0,
                failing_since: None,
                suspect_since: None,
                clean: None,
            });
        }
    }

    /// When something is to be done next.
    pub(crate) fn deadline(&self) -> Option<Mono> {
        let times = self.of.values().map(|path| {
            let expires = path.pending.map(|pending| pending.expires);
            expires.map_or(path.due, |expires| expires.min(path.due))
        });
        times.min()
    }

    /// Peers whose answer has not come in time.
    pub(crate) fn expire(&mut self, now: Mono) -> Vec<NodeId> {
        let mut expired = Vec::new();
        for (peer, path) in &mut self.of {
            if path.pending.take_if(|pending| pending.expires <= now).is_some() {
                expired.push(peer.clone());
            }
        }
        expired
    }

    /// Probes that are due; they count as sent.
    pub(crate) fn send_due(
        &mut self,
        now: Mono,
        ops: &mut OpIds,
        settings: &Settings,
    ) -> Vec<(OpId, NodeId)> {
        let mut probes = Vec::new();
        for (peer, path) in self.of.iter_mut().filter(|(_, path)| path.due <= now) {
            path.due = next_due(now, path.phase, settings);
            if path.pending.is_none() {
                let op = ops.next_id();
                path.pending = Some(Pending { op, expires: now.plus(settings.probe_timeout) });
                probes.push((op, peer.clone()));
            }
        }
        probes
    }

    /// Ends a probe; `None` when its time was over or it no longer matters.
    pub(crate) fn settle(&mut self, op: OpId) -> Option<NodeId> {
        let (peer, path) = self
            .of
            .iter_mut()
            .find(|(_, path)| path.pending.is_some_and(|pending| pending.op == op))?;
        path.pending = None;
        Some(peer.clone())
    }

    /// A probe was answered in time.
    pub(crate) fn succeeded(&mut self, now: Mono, peer: &NodeId, applied: u64) {
        if let Some(path) = self.of.get_mut(peer) {
            path.forgive();
            path.clean.get_or_insert(Clean { since: now, applied });
        }
    }

    /// A probe failed. `excused` when the peer may be away.
    pub(crate) fn failed(&mut self, now: Mono, peer: &NodeId, excused: bool, settings: &Settings) {
        let Some(path) = self.of.get_mut(peer) else { return };
        path.clean = None;
        if excused {
            path.forgive();
            return;
        }
        path.failures = path.failures.saturating_add(1);
        path.failing_since.get_or_insert(now);
        if path.failures >= settings.suspect_after {
            path.suspect_since.get_or_insert(now);
        }
    }

    /// Starts the run of answered probes over.
    pub(crate) fn soil(&mut self, peer: &NodeId) {
        if let Some(path) = self.of.get_mut(peer) {
            path.clean = None;
        }
    }

    /// This node was not there: what it has seen until now says nothing about the peers.
    pub(crate) fn void(&mut self, now: Mono) {
        for path in self.of.values_mut() {
            path.pending = None;
            path.clean = None;
            if path.suspect_since.is_some() {
                path.failing_since = Some(now);
                path.suspect_since = Some(now);
            } else {
                path.forgive();
            }
        }
    }

    /// Whether there are two or more paths and all of them fail, so that the fault is likely here.
    /// Peers that are excused do not count.
    pub(crate) fn is_cut_off(
        &self,
        excused: impl Fn(&NodeId) -> bool,
        settings: &Settings,
    ) -> bool {
        // The cheap test first: at rest nothing fails.
        let failing = |path: &Path| path.failures >= settings.doubt_after;
        if !self.of.values().any(failing) {
            return false;
        }
        let counted = || self.of.iter().filter(|(peer, _)| !excused(peer));
        counted().count() >= 2 && counted().all(|(_, path)| failing(path))
    }

    /// Peers that this node itself suspects.
    pub(crate) fn suspects(&self) -> impl Iterator<Item = &NodeId> {
        let suspect = self.of.iter().filter(|(_, path)| path.suspect_since.is_some());
        suspect.map(|(peer, _)| peer)
    }

    /// One path.
    pub(crate) fn get(&self, peer: &NodeId) -> Option<&Path> {
        self.of.get(peer)
    }

    /// Whether a peer is probed.
    pub(crate) fn contains(&self, peer: &NodeId) -> bool {
        self.of.contains_key(peer)
    }

    /// Asserts what holds after every step.
    pub(crate) fn check(&self, settings: &Settings) {
        for (peer, path) in &self.of {
            let many = path.failures >= settings.suspect_after;
            debug_assert_eq!(path.suspect_since.is_some(), many, "{peer}: {path:?}");
            debug_assert_eq!(path.failing_since.is_some(), path.failures > 0, "{peer}: {path:?}");
            debug_assert!(path.clean.is_none() || path.failures == 0, "{peer}: {path:?}");
        }
        let ops: Vec<OpId> =
            self.of.values().filter_map(|path| path.pending).map(|pending| pending.op).collect();
        debug_assert_eq!(ops.iter().collect::<BTreeSet<_>>().len(), ops.len(), "an op used twice");
    }
}

/// The next time of a peer after `now`: its phase in every period, so that probes neither drift
/// nor gather, also after a stall.
fn next_due(now: Mono, phase: u64, settings: &Settings) -> Mono {
    let every = millis(settings.probe_every);
    let since = now.0.wrapping_add(every - phase) % every;
    Mono(now.0.saturating_add(every - since))
}

fn millis(period: Duration) -> u64 {
    u64::try_from(period.as_millis()).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_time_is_later_and_in_phase() {
        let settings = Settings::default();
        for phase in [0, 1, 250, 499] {
            for now in [0, 1, 249, 250, 499, 500, 12_345] {
                let due = next_due(Mono(now), phase, &settings).0;
                assert!(due > now && due <= now + 500, "{now} {phase} {due}");
                assert_eq!(due % 500, phase);
            }
        }
    }

    #[test]
    fn probes_are_spread_over_the_period() {
        let settings = Settings::default();
        let mut paths = Paths::new(7);
        let peers = (0..40).map(|n| NodeId::new(format!("{n:032x}"))).collect();
        paths.retarget(Mono(0), peers, &settings);
        let mut quarters = [0; 4];
        for path in paths.of.values() {
            quarters[usize::try_from(path.phase / 125).unwrap()] += 1;
        }
        assert!(quarters.iter().all(|count| *count >= 3), "{quarters:?}");
    }
}
