//! What arrived on which path, when, and how long at most nothing did.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Counts of one watcher. Times are milliseconds since 1970, so that those of several watchers
/// are on one line.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Packets that the kernel took.
    pub(crate) sent: AtomicU64,
    /// Packets for which it had no way.
    pub(crate) refused: AtomicU64,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    began: u64,
    paths: BTreeMap<u32, Arrivals>,
}

/// Arrivals on one path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Arrivals {
    count: u64,
    first: u64,
    last: u64,
    longest_gap: u64,
}

impl Tally {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on a path that is silent has a gap.
    pub(crate) fn begin(&self, now: u64) {
        self.seen().began = now;
    }

    pub(crate) fn arrived(&self, path: u32, now: u64) {
        let mut seen = self.seen();
        let began = if seen.began == 0 { now } else { seen.began };
        let first = Arrivals { count: 0, first: now, last: began, longest_gap: 0 };
        let arrivals = seen.paths.entry(path).or_insert(first);
        arrivals.count += 1;
        arrivals.longest_gap = arrivals.longest_gap.max(now.saturating_sub(arrivals.last));
        arrivals.last = now;
    }

    /// `seen <path> <count> <first> <last> <longest gap>`, in milliseconds; the time until `end`
    /// counts as a gap.
    pub(crate) fn lines(&self, end: u64) -> Vec<String> {
        let seen = self.seen();
        let line = |(path, one): (&u32, &Arrivals)| {
            let gap = one.longest_gap.max(end.saturating_sub(one.last));
            format!("seen {path} {} {} {} {gap}", one.count, one.first, one.last)
        };
        seen.paths.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_silence_counts_at_both_ends_too() {
        for (arrivals, end, gap) in
            [(&[5][..], 6, 4), (&[2, 9], 10, 7), (&[2, 3], 20, 17), (&[1], 1, 0)]
        {
            let tally = Tally::default();
            tally.begin(1);
            for at in arrivals {
                tally.arrived(7, *at);
            }
            let (count, first, last) = (arrivals.len(), arrivals[0], arrivals[arrivals.len() - 1]);
            assert_eq!(tally.lines(end), [format!("seen 7 {count} {first} {last} {gap}")]);
        }
    }
}
