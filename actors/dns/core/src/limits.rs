//! How much one container may ask.

use crate::zones::Zones;
use jaco_kit_core::Mono;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// Questions per second that one container may ask for long. One for each millisecond, which
/// makes the arithmetic exact.
const PER_SECOND: u64 = 1_000;
/// Questions that it may ask at once.
const BURST: u64 = 2 * PER_SECOND;
/// Forwards in flight for one container.
pub const FORWARDS_PER_SOURCE: usize = 256;
/// Forwards in flight on this node.
pub const FORWARDS_PER_NODE: usize = 4_096;
/// TCP connections of one container.
pub const CONNECTIONS_PER_SOURCE: usize = 32;

/// A bucket of tokens for each container of this node.
#[derive(Debug, Default)]
pub struct Rates {
    buckets: BTreeMap<Ipv4Addr, Bucket>,
}

#[derive(Debug)]
struct Bucket {
    tokens: u64,
    filled_at: Mono,
}

impl Rates {
    /// Takes one question of `source` into account; `false` when it asks too much.
    pub fn admit(&mut self, now: Mono, source: Ipv4Addr) -> bool {
        let full = Bucket { tokens: BURST, filled_at: now };
        let bucket = self.buckets.entry(source).or_insert(full);
        let since = now.0.saturating_sub(bucket.filled_at.0);
        bucket.tokens = bucket.tokens.saturating_add(since * PER_SECOND / 1_000).min(BURST);
        bucket.filled_at = bucket.filled_at.max(now);
        bucket.tokens = match bucket.tokens.checked_sub(1) {
            Some(left) => left,
            None => return false,
        };
        true
    }

    /// Forgets containers that are gone.
    pub fn retain(&mut self, zones: &Zones) {
        self.buckets.retain(|source, _| zones.source(*source).is_some());
    }
}

/// Things in flight, counted by container, with a limit for each and one for all.
#[derive(Debug)]
pub struct InFlight {
    by_source: BTreeMap<Ipv4Addr, usize>,
    total: usize,
    per_source: usize,
    per_node: usize,
}

impl InFlight {
    /// Nothing in flight yet.
    pub fn new(per_source: usize, per_node: usize) -> InFlight {
        InFlight { by_source: BTreeMap::new(), total: 0, per_source, per_node }
    }

    /// Counts one more; `false` when that would be too many.
    pub fn begin(&mut self, source: Ipv4Addr) -> bool {
        let own = self.by_source.get(&source).copied().unwrap_or(0);
        if own >= self.per_source || self.total >= self.per_node {
            return false;
        }
        self.by_source.insert(source, own + 1);
        self.total += 1;
        true
    }

    /// Counts one less.
    pub fn end(&mut self, source: Ipv4Addr) {
        if let Some(own) = self.by_source.get_mut(&source) {
            *own -= 1;
            self.total -= 1;
            if *own == 0 {
                self.by_source.remove(&source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEB: Ipv4Addr = Ipv4Addr::new(10, 80, 0, 2);
    const DB: Ipv4Addr = Ipv4Addr::new(10, 80, 0, 3);

    #[test]
    fn a_burst_is_followed_by_the_rate() {
        let mut rates = Rates::default();
        let mut admitted = |at, asks: u64| (0..asks).filter(|_| rates.admit(Mono(at), WEB)).count();
        assert_eq!(admitted(0, 5_000), 2_000);
        assert_eq!(admitted(100, 5_000), 100);
        assert_eq!(admitted(1_100, 5_000), 1_000);
        assert_eq!(admitted(1_100, 5_000), 0);
        // A clock that stands or goes back gives nothing.
        assert_eq!(admitted(1_000, 10), 0);
        assert_eq!(admitted(100_000, 5_000), 2_000);
    }

    #[test]
    fn one_container_does_not_starve_another() {
        let mut rates = Rates::default();
        while rates.admit(Mono(0), WEB) {}
        assert!(rates.admit(Mono(0), DB));
        rates.retain(&Zones::default());
        assert!(rates.buckets.is_empty());
    }

    #[test]
    fn what_is_in_flight_is_bounded_twice() {
        let mut flights = InFlight::new(2, 3);
        assert_eq!(
            [WEB, WEB, WEB, DB, DB].map(|source| flights.begin(source)),
            [true, true, false, true, false]
        );
        flights.end(WEB);
        assert!(flights.begin(DB));
        for source in [WEB, DB, DB, DB] {
            flights.end(source);
        }
        assert_eq!((flights.total, flights.by_source.len()), (0, 0));
    }
}
