//! What probes say of the path to one peer.

use crate::mesh::Peer;
use crate::settings::{FULL_EVERY, FULL_TRIES, FULL_WAIT, IN_FLIGHT, PROBE_EVERY, QUIET};
use crate::{PathCondition, Probe};
use jaco_kit_core::Mono;
use std::net::SocketAddr;
use std::time::Duration;

/// One peer as it is watched.
#[derive(Debug)]
pub(crate) struct Track {
    /// As it is wanted.
    pub(crate) peer: Peer,
    /// Which of its endpoints was set last.
    pub(crate) turn: usize,
    /// When an endpoint was last set.
    pub(crate) turned_at: Mono,
    /// When it was last removed and added.
    pub(crate) renewed_at: Option<Mono>,
    /// Since when the path is not ok.
    pub(crate) bad_since: Option<Mono>,
    /// Whether people were told since.
    pub(crate) is_told: bool,
    /// As last looked at.
    pub(crate) handshake_age: Option<Duration>,
    /// As last looked at.
    pub(crate) endpoint: Option<SocketAddr>,
    /// When it was last heard.
    heard_at: Option<Mono>,
    /// When it last said that it hears this node.
    confirmed_at: Option<Mono>,
    heard: u64,
    heard_full: u64,
    full: Full,
}

/// The full-size probe of a path.
#[derive(Debug)]
struct Full {
    next_at: Mono,
    /// Number and time of the one under way.
    out: Option<(u64, Mono)>,
    lost: u8,
}

impl Track {
    pub(crate) fn new(peer: Peer, now: Mono) -> Track {
        Track {
            peer,
            turn: 0,
            turned_at: now,
            renewed_at: None,
            bad_since: Some(now),
            is_told: false,
            handshake_age: None,
            endpoint: None,
            heard_at: None,
            confirmed_at: None,
            heard: 0,
            heard_full: 0,
            full: Full { next_at: now, out: None, lost: 0 },
        }
    }

    /// A probe came; `sent` is the newest number that went out.
    pub(crate) fn probed(&mut self, now: Mono, probe: &Probe, sent: u64) {
        self.heard_at = Some(now);
        self.heard = probe.sequence;
        if probe.full != 0 {
            self.heard_full = probe.full;
        }
        // A number from before a restart is higher than what was sent, or long ago.
        if probe.heard <= sent && sent - probe.heard <= IN_FLIGHT {
            // It says that this node was heard when it sent that number.
            let age = u32::try_from(sent - probe.heard).unwrap_or(u32::MAX);
            let at = earlier(now, PROBE_EVERY.saturating_mul(age));
            self.confirmed_at = self.confirmed_at.max(Some(at));
        }
        if self.full.out.is_some_and(|(number, _)| number == probe.heard_full) {
            self.full = Full { next_at: now.plus(FULL_EVERY), out: None, lost: 0 };
        }
    }

    /// How the path is.
    pub(crate) fn condition(&self, now: Mono) -> PathCondition {
        let fresh = |at: Option<Mono>| at.is_some_and(|at| now.since(at) <= QUIET);
        match (fresh(self.heard_at), fresh(self.confirmed_at)) {
            (true, true) => PathCondition::Ok,
            (true, false) => PathCondition::OneWay,
            (false, _) => PathCondition::Dead,
        }
    }

    /// How long the path has not been ok.
    pub(crate) fn bad_for(&mut self, now: Mono) -> Option<Duration> {
        if self.condition(now) == PathCondition::Ok {
            self.bad_since = None;
            self.is_told = false;
            self.renewed_at = None;
            return None;
        }
        // It is seen that much later than it began.
        let since = *self.bad_since.get_or_insert(earlier(now, QUIET));
        Some(now.since(since))
    }

    /// The next small probe.
    pub(crate) fn probe(&self, sequence: u64) -> Probe {
        Probe { sequence, heard: self.heard, full: 0, heard_full: self.heard_full }
    }

    /// A full-size probe when one is due; the path must be fine for small ones.
    pub(crate) fn full_probe(&mut self, now: Mono, sequence: u64) -> Option<Probe> {
        let is_due = self.full.out.is_none() && now >= self.full.next_at;
        if !is_due || self.condition(now) != PathCondition::Ok {
            return None;
        }
        self.full.out = Some((sequence, now));
        Some(Probe { full: sequence, ..self.probe(sequence) })
    }

    /// Whether full-size packets are lost for good while small ones arrive.
    pub(crate) fn is_too_large(&mut self, now: Mono) -> bool {
        let Some((_, at)) = self.full.out else { return false };
        if self.condition(now) != PathCondition::Ok {
            self.full = Full { next_at: now, out: None, lost: 0 };
            return false;
        }
        if now.since(at) < FULL_WAIT {
            return false;
        }
        self.full.out = None;
        self.full.lost += 1;
        self.full.next_at = now;
        self.full.lost >= FULL_TRIES
    }

    /// Starts over after packets have become smaller.
    pub(crate) fn resized(&mut self, now: Mono) {
        self.full = Full { next_at: now.plus(PROBE_EVERY), out: None, lost: 0 };
    }
}

fn earlier(now: Mono, by: Duration) -> Mono {
    Mono(now.0.saturating_sub(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)))
}
