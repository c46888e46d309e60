//! How many requests of a route may be tried again: when everything fails, tries after the first
//! would only add to the load.

use jaco_kit_core::Mono;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Seconds that are looked back on.
const SECONDS: usize = 10;
/// One retry in so many requests.
const SHARE: u64 = 5;
/// Retries that are allowed in each second however few requests there are.
const FEW: u64 = 3;

const COUNT_BITS: u32 = 20;
const COUNT: u64 = (1 << COUNT_BITS) - 1;

/// Counts the requests and retries of a route. Every second has one number of 64 bits: which
/// second it is, its requests and its retries, 20 bits for each.
#[derive(Debug, Default)]
pub struct Budget([AtomicU64; SECONDS]);

impl Budget {
    /// Counts a request.
    pub fn request(&self, now: Mono) {
        self.count(now, |requests, retries| Some((requests + 1, retries)));
    }

    /// Takes one retry, if there is one left: at most a fifth of the requests of ten seconds, or
    /// three a second.
    pub fn retry(&self, now: Mono) -> bool {
        let here = second(now);
        let (requests, retries) = self.0.iter().map(|slot| slot.load(Relaxed)).fold(
            (0, 0),
            |(requests, retries), slot| match recent(slot, here) {
                true => (requests + ((slot >> COUNT_BITS) & COUNT), retries + (slot & COUNT)),
                false => (requests, retries),
            },
        );
        let is_within = (retries + 1) * SHARE <= requests;
        self.count(now, |requests, retries| {
            (is_within || retries < FEW).then_some((requests, retries + 1))
        })
    }

    fn count(&self, now: Mono, change: impl Fn(u64, u64) -> Option<(u64, u64)>) -> bool {
        let here = second(now);
        let slot = &self.0[usize::try_from(here).unwrap_or_default() % SECONDS];
        let changed = slot.fetch_update(Relaxed, Relaxed, |before| {
            let is_now = before >> (2 * COUNT_BITS) == here;
            let counts = if is_now { before & ((1 << (2 * COUNT_BITS)) - 1) } else { 0 };
            let (requests, retries) = change(counts >> COUNT_BITS, counts & COUNT)?;
            let counts = (requests.min(COUNT) << COUNT_BITS) | retries.min(COUNT);
            Some((here << (2 * COUNT_BITS)) | counts)
        });
        changed.is_ok()
    }
}

/// Which second it is, of 194 days.
fn second(now: Mono) -> u64 {
    (now.0 / 1000) & ((1 << (64 - 2 * COUNT_BITS)) - 1)
}

fn recent(slot: u64, here: u64) -> bool {
    let then = slot >> (2 * COUNT_BITS);
    then <= here && here - then < SECONDS as u64
}
