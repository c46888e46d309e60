//! What the others said last, and since when they have been saying it.

use crate::roster::Roster;
use crate::{Settings, Word};
use jaco_kit_core::Mono;
use jaco_model::NodeId;
use std::collections::BTreeMap;
use std::time::Duration;

/// An answer that was under way may be older than the announcement that overtook it.
const OVERTAKEN: Duration = Duration::from_secs(1);

/// The last word of each peer.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    of: BTreeMap<NodeId, Report>,
}

/// The last word of one peer.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    /// When it was heard.
    pub(crate) heard: Mono,
    /// Number of its last change between up and down that it knows of.
    pub(crate) epoch: u64,
    /// Whether its observations count.
    pub(crate) impaired: bool,
    /// The last index it has applied.
    pub(crate) applied_index: u64,
    pausing_since: Option<Mono>,
    suspects: BTreeMap<NodeId, Mono>,
}

impl Report {
    /// Since when the peer has suspected another without a break.
    pub(crate) fn suspects_since(&self, of: &NodeId) -> Option<Mono> {
        self.suspects.get(of).copied()
    }

    /// Whether the word is young enough to say something about now.
    pub(crate) fn is_valid(&self, now: Mono, settings: &Settings) -> bool {
        now.since(self.heard) < settings.word_valid
    }

    /// Whether the peer announced a restart that may still go on.
    pub(crate) fn is_pausing(&self, now: Mono, settings: &Settings) -> bool {
        self.pausing_since.is_some_and(|since| now.since(since) <= settings.pause_max)
    }
}

impl Reports {
    /// Takes a word of a peer.
    pub(crate) fn take(
        &mut self,
        now: Mono,
        from: NodeId,
        word: Word,
        roster: &Roster,
        settings: &Settings,
    ) {
        if !roster.is_peer(&from) {
            return;
        }
        let before = self.of.get(&from);
        let pausing_since = before.and_then(|before| before.pausing_since);
        let pausing_since = match (word.pausing, pausing_since) {
            (true, since) => Some(since.unwrap_or(now)),
            (false, since) => since.filter(|since| now.since(*since) < OVERTAKEN),
        };
        let unbroken = before.filter(|before| before.is_valid(now, settings));
        let since = |of: &NodeId| unbroken.and_then(|before| before.suspects_since(of));
        // What an impaired observer suspects does not count, now or as the start of a suspicion.
        let named =
            word.suspects.into_iter().filter(|of| !word.impaired && roster.get(of).is_some());
        let suspects = named.map(|of| (since(&of).unwrap_or(now), of)).map(|(at, of)| (of, at));
        let report = Report {
            heard: now,
            epoch: word.epoch,
            impaired: word.impaired,
            applied_index: word.applied_index,
            pausing_since,
            suspects: suspects.collect(),
        };
        self.of.insert(from, report);
    }

    /// Forgets who is no longer a member.
    pub(crate) fn retain(&mut self, roster: &Roster) {
        self.of.retain(|peer, _| roster.is_peer(peer));
        for report in self.of.values_mut() {
            report.suspects.retain(|of, _| roster.get(of).is_some());
        }
    }

    /// The last word of one peer.
    pub(crate) fn get(&self, peer: &NodeId) -> Option<&Report> {
        self.of.get(peer)
    }

    /// Everybody that anybody suspects.
    pub(crate) fn suspects(&self) -> impl Iterator<Item = &NodeId> {
        self.of.values().flat_map(|report| report.suspects.keys())
    }
}
