//! What the responder did, for status pages and metrics.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

/// How often things happened since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Questions answered from the tables.
    pub answered: u64,
    /// Questions about other names.
    pub forwarded: u64,
    /// Of those, answered from what was kept.
    pub from_cache: u64,
    /// Of those, answered `SERVFAIL`.
    pub failed: u64,
    /// Of those, not asked because too many were in flight.
    pub crowded: u64,
    /// Messages of somebody who is no container of this node, or no questions.
    pub ignored: u64,
    /// Questions beyond the rate of a container.
    pub excess: u64,
    /// TCP connections beyond the limit of a container.
    pub connections_refused: u64,
}

/// One upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpstreamView {
    /// Its address.
    pub address: SocketAddr,
    /// Whether it failed the last time it was asked.
    pub is_failing: bool,
    /// Whether questions to it came back here; then it is not asked.
    pub is_loop: bool,
}

/// The counters that threads share.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) answered: AtomicU64,
    pub(crate) forwarded: AtomicU64,
    pub(crate) from_cache: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) crowded: AtomicU64,
    pub(crate) ignored: AtomicU64,
    pub(crate) excess: AtomicU64,
    pub(crate) connections_refused: AtomicU64,
}

/// Counts one.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Counters {
    pub(crate) fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            answered: read(&self.answered),
            forwarded: read(&self.forwarded),
            from_cache: read(&self.from_cache),
            failed: read(&self.failed),
            crowded: read(&self.crowded),
            ignored: read(&self.ignored),
            excess: read(&self.excess),
            connections_refused: read(&self.connections_refused),
        }
    }
}
