//! What a listener did, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// How often things happened at one listener since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortCounts {
    /// Connections or sessions that reached a replica.
    pub connections: u64,
    /// Of those, under way.
    pub active: u64,
    /// Bytes from clients.
    pub received: u64,
    /// Bytes to clients.
    pub sent: u64,
    /// Connections or datagrams for which no replica was there.
    pub no_upstream: u64,
    /// Connections or sessions beyond a limit.
    pub refused: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) connections: AtomicU64,
    pub(super) active: AtomicU64,
    pub(super) received: AtomicU64,
    pub(super) sent: AtomicU64,
    pub(super) no_upstream: AtomicU64,
    pub(super) refused: AtomicU64,
}

impl Counters {
    pub(super) fn counts(&self) -> PortCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        PortCounts {
            connections: read(&self.connections),
            active: read(&self.active),
            received: read(&self.received),
            sent: read(&self.sent),
            no_upstream: read(&self.no_upstream),
            refused: read(&self.refused),
        }
    }
}

pub(super) fn add(counter: &AtomicU64, by: usize) {
    counter.fetch_add(by as u64, Ordering::Relaxed);
}
