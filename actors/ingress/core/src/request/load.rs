//! How busy a replica is, and whether it answers, as all threads of this node see it.

use jaco_kit_core::Mono;
use jaco_kit_core::mix::{fnv, mix};
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Failed connections in a row after which a replica rests.
const FAILURES: u32 = 3;
/// The first rest, in seconds; each further one is twice as long.
const REST: u64 = 10;
const LONGEST_REST: u64 = 60;
/// A replica gets its full share of requests after so long.
const RAMP: Duration = Duration::from_secs(5);

/// One port of one replica.
#[derive(Debug)]
pub struct Load {
    /// Spreads clients over replicas, the same on all nodes.
    print: u64,
    since: Mono,
    running: AtomicU32,
    failures: AtomicU32,
    /// On the monotonic clock, in milliseconds.
    rests_until: AtomicU64,
}

impl Load {
    /// A replica that this node sees from now on.
    pub fn new(address: Ipv4Addr, since: Mono) -> Load {
        Load {
            print: mix(fnv(address.octets(), 0)),
            since,
            running: AtomicU32::new(0),
            failures: AtomicU32::new(0),
            rests_until: AtomicU64::new(0),
        }
    }

    /// Counts a request until [`Load::end`], unless so many run already.
    pub fn begin(&self, most: Option<u32>) -> bool {
        let Some(most) = most else {
            self.running.fetch_add(1, Relaxed);
            return true;
        };
        self.running.fetch_update(Relaxed, Relaxed, |n| (n < most).then(|| n + 1)).is_ok()
    }

    /// A request that was begun is over.
    pub fn end(&self) {
        self.running.fetch_sub(1, Relaxed);
    }

    /// Running requests.
    pub fn running(&self) -> u32 {
        self.running.load(Relaxed)
    }

    /// A connection stands.
    pub fn connected(&self) {
        // Mostly there is nothing to forget; reading costs other threads nothing.
        if self.failures.load(Relaxed) > 0 {
            self.failures.store(0, Relaxed);
            self.rests_until.store(0, Relaxed);
        }
    }

    /// No connection could be made. The third time in a row it rests for 10 s, each further time
    /// twice as long, up to a minute.
    pub fn failed(&self, now: Mono) {
        let failures = self.failures.fetch_add(1, Relaxed).saturating_add(1);
        if let Some(over) = failures.checked_sub(FAILURES) {
            let rest = (REST << over.min(6)).min(LONGEST_REST);
            self.rests_until.store(now.plus(Duration::from_secs(rest)).0, Relaxed);
        }
    }

    /// Whether it is better not asked now.
    pub fn rests(&self, now: Mono) -> bool {
        self.rests_until.load(Relaxed) > now.0
    }

    /// Whether it is seen for long enough to get its full share.
    pub(super) fn is_warm(&self, now: Mono) -> bool {
        now.since(self.since) >= RAMP
    }

    /// Whether a request is spared one that is not warm yet, decided by a number that is random:
    /// its share grows evenly from a tenth to all.
    pub(super) fn is_spared(&self, now: Mono, random: u64) -> bool {
        let share = now.since(self.since).as_millis() * 1_000 / RAMP.as_millis();
        u128::from(mix(random ^ self.print) % 1_000) >= share.max(100)
    }

    /// How much of a client's it is. The highest score wins, so that one that goes moves only its
    /// own clients (Thaler and Ravishankar 1998).
    pub(super) fn score(&self, affinity: u64) -> u64 {
        mix(self.print ^ affinity)
    }
}
