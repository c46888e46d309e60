//! Exponential back-off with deterministic jitter.

use crate::mix::draw;
use std::time::Duration;

/// Delays that double from `first` to `limit`, spread by ± 20 %.
///
/// The spread comes from a seed given at construction, so two replicas do not retry in step and a
/// replay waits exactly as long as the run it repeats.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    limit: Duration,
    failures: u32,
    seed: u64,
}

impl Backoff {
    /// A back-off that has seen no failure yet.
    pub fn new(first: Duration, limit: Duration, seed: u64) -> Backoff {
        Backoff { first, limit, failures: 0, seed }
    }

    /// Counts one more failure and returns how long to wait before the next attempt.
    pub fn next_delay(&mut self) -> Duration {
        let doubled = self.first.saturating_mul(2_u32.saturating_pow(self.failures.min(31)));
        self.failures = self.failures.saturating_add(1);
        let base = u64::try_from(doubled.min(self.limit).as_millis()).unwrap_or(u64::MAX);
        let percent = 80 + draw(&mut self.seed) % 41;
        Duration::from_millis(base.saturating_mul(percent) / 100)
    }

    /// How many failures in a row were counted.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Forgets the failures after a success that lasted.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_limit_within_the_spread() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(300), 7);
        let mut expected = 1_000_u64;
        for _ in 0..20 {
            let delay = u64::try_from(backoff.next_delay().as_millis()).unwrap();
            assert!(delay >= expected * 80 / 100 && delay <= expected * 120 / 100, "{delay}");
            expected = (expected * 2).min(300_000);
        }
        assert_eq!(backoff.failures(), 20);
    }

    #[test]
    fn reset_starts_over() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(300), 7);
        backoff.next_delay();
        backoff.next_delay();
        backoff.reset();
        assert!(backoff.next_delay() <= Duration::from_millis(1_200));
    }

    #[test]
    fn equal_seeds_wait_equally() {
        let run = || {
            let mut b = Backoff::new(Duration::from_secs(1), Duration::from_secs(300), 42);
            (0..5).map(|_| b.next_delay()).collect::<Vec<_>>()
        };
        assert_eq!(run(), run());
    }
}
