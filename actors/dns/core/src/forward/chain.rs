//! Which upstream is asked next, and for how long.

use jaco_kit_core::Mono;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// The longest time that one upstream is waited for.
const UPSTREAM_TIMEOUT: Duration = Duration::from_secs(2);
/// The longest time that a question takes in all.
const BUDGET: Duration = Duration::from_millis(4_500);
/// How long an upstream that failed is asked after the others.
const SHUNNED_FOR: Duration = Duration::from_secs(10);

/// Which upstreams failed lately.
#[derive(Clone, Debug, Default)]
pub struct Health {
    failed_at: BTreeMap<SocketAddr, Mono>,
}

impl Health {
    /// An upstream did not answer, or said that it could not. `true` when that is news.
    pub fn failed(&mut self, now: Mono, upstream: SocketAddr) -> bool {
        let before = self.failed_at.insert(upstream, now);
        before.is_none()
    }

    /// An upstream answered. `true` when it had failed before.
    pub fn answered(&mut self, upstream: SocketAddr) -> bool {
        self.failed_at.remove(&upstream).is_some()
    }

    /// Upstreams whose last answer was a failure.
    pub fn failing(&self) -> impl Iterator<Item = SocketAddr> {
        self.failed_at.keys().copied()
    }

    /// Forgets upstreams that are used no more.
    pub fn retain(&mut self, is_used: impl Fn(&SocketAddr) -> bool) {
        self.failed_at.retain(|upstream, _| is_used(upstream));
    }

    fn is_shunned(&self, now: Mono, upstream: &SocketAddr) -> bool {
        self.failed_at.get(upstream).is_some_and(|at| now.since(*at) < SHUNNED_FOR)
    }
}

/// The upstreams for one question, in the order they are asked.
#[derive(Debug)]
pub struct Chain {
    order: Vec<SocketAddr>,
    next: usize,
    started: Mono,
}

impl Chain {
    /// The order as configured, with those that failed lately at the end.
    pub fn new(now: Mono, upstreams: &Arc<[SocketAddr]>, health: &Health) -> Chain {
        let mut order = upstreams.to_vec();
        order.sort_by_key(|upstream| health.is_shunned(now, upstream));
        Chain { order, next: 0, started: now }
    }

    /// The next upstream and how long it may take; `None` when all were asked or time is over.
    pub fn ask(&mut self, now: Mono) -> Option<(SocketAddr, Duration)> {
        let left = self.left(now)?;
        let upstream = *self.order.get(self.next)?;
        self.next += 1;
        Some((upstream, left.min(UPSTREAM_TIMEOUT)))
    }

    /// How much of the whole time is left.
    pub fn left(&self, now: Mono) -> Option<Duration> {
        BUDGET.checked_sub(now.since(self.started)).filter(|left| !left.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstreams() -> Arc<[SocketAddr]> {
        ["10.0.0.1:53", "10.0.0.2:53", "10.0.0.3:53"].map(|text| text.parse().unwrap()).into()
    }

    #[test]
    fn the_whole_takes_no_longer_than_the_budget() {
        let list = upstreams();
        let mut chain = Chain::new(Mono(100), &list, &Health::default());
        let wait =
            |asked: Option<(SocketAddr, Duration)>| asked.map(|(up, wait)| (up, wait.as_millis()));
        assert_eq!(wait(chain.ask(Mono(100))), Some((list[0], 2_000)));
        assert_eq!(wait(chain.ask(Mono(2_100))), Some((list[1], 2_000)));
        assert_eq!(wait(chain.ask(Mono(4_100))), Some((list[2], 500)));
        assert_eq!(chain.ask(Mono(4_200)), None);
        let mut late = Chain::new(Mono(0), &list, &Health::default());
        assert_eq!(late.ask(Mono(4_500)), None);
    }

    #[test]
    fn one_that_failed_is_asked_last_for_ten_seconds() {
        let list = upstreams();
        let mut health = Health::default();
        assert!(health.failed(Mono(0), list[0]));
        assert!(!health.failed(Mono(1), list[0]));
        let first = |now, health: &Health| Chain::new(now, &list, health).ask(now).unwrap().0;
        assert_eq!(first(Mono(10_000), &health), list[1]);
        assert_eq!(first(Mono(10_001), &health), list[0]);
        assert!(health.answered(list[0]) && !health.answered(list[0]));
        assert_eq!(first(Mono(2), &health), list[0]);
    }
}
