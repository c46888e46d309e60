//! What a client has sent in the last 10 s, without a list of it: sums by the second. The window is
//! the second that runs and the ten before it, so that no 10 s have more than is allowed wherever
//! they begin; a client is held to a bound for 11 s at most.

use jaco_kit_core::Mono;
use std::time::Duration;

const SLOT: Duration = Duration::from_secs(1);
const SLOTS: usize = 10;

/// Frames by what they are to us.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) resets: u32,
    pub(super) controls: u32,
    pub(super) continuations: u32,
    pub(super) updates: u32,
    pub(super) idle: u32,
    pub(super) requests: u32,
    pub(super) data: u32,
}

impl Seen {
    fn minus(self, other: Seen) -> Seen {
        Seen {
            resets: self.resets - other.resets,
            controls: self.controls - other.controls,
            continuations: self.continuations - other.continuations,
            updates: self.updates - other.updates,
            idle: self.idle - other.idle,
            requests: self.requests - other.requests,
            data: self.data - other.data,
        }
    }
}

/// The sums.
#[derive(Debug)]
pub(super) struct Window {
    /// Within the window; what comes is added here.
    pub(super) seen: Seen,
    /// DATA frames of ours in the ten seconds before it; updates for them may come now.
    pub(super) data_before: u32,
    /// What of `seen` came before the second that runs.
    carried: Seen,
    /// The ten before it, the oldest at `at`.
    slots: [Seen; SLOTS],
    /// Those that have left, for `data_before`.
    left: [u32; SLOTS],
    at: usize,
    until: Mono,
}

impl Window {
    pub(super) fn new(now: Mono) -> Window {
        Window {
            seen: Seen::default(),
            data_before: 0,
            carried: Seen::default(),
            slots: [Seen::default(); SLOTS],
            left: [0; SLOTS],
            at: 0,
            until: now.plus(SLOT),
        }
    }

    /// Lets go of what is too old.
    pub(super) fn slide(&mut self, now: Mono) {
        // After so many seconds nothing is left.
        for _ in 0..=2 * SLOTS {
            if now < self.until {
                return;
            }
            self.turn();
            self.until = self.until.plus(SLOT);
        }
        self.until = self.until.max(now.plus(SLOT));
    }

    fn turn(&mut self) {
        let slot = self.seen.minus(self.carried);
        let leaves = std::mem::replace(&mut self.slots[self.at], slot);
        self.seen = self.seen.minus(leaves);
        self.carried = self.seen;
        let old = std::mem::replace(&mut self.left[self.at], leaves.data);
        self.data_before = self.data_before - old + leaves.data;
        self.at = (self.at + 1) % SLOTS;
    }
}
