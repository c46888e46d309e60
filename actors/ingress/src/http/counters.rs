//! What the proxy did, for status pages and metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// How often things happened since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections accepted.
    pub connections: u64,
    /// Requests begun.
    pub requests: u64,
    /// Requests that the proxy answered itself with status 400 or more.
    pub refused: u64,
    /// Tries after the first.
    pub retries: u64,
    /// TLS handshakes that failed.
    pub handshakes_failed: u64,
    /// Connections of a load balancer that did not begin with a PROXY header.
    pub unproxied: u64,
    /// Connections of a client that had too many.
    pub crowded: u64,
    /// HTTP/2 connections cut off for their frames.
    pub floods: u64,
}

/// The counters that threads share.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) connections: AtomicU64,
    pub(super) requests: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) retries: AtomicU64,
    pub(super) handshakes_failed: AtomicU64,
    pub(super) unproxied: AtomicU64,
    pub(super) crowded: AtomicU64,
    pub(super) floods: AtomicU64,
}

/// Counts one.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Counters {
    pub(super) fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            connections: read(&self.connections),
            requests: read(&self.requests),
            refused: read(&self.refused),
            retries: read(&self.retries),
            handshakes_failed: read(&self.handshakes_failed),
            unproxied: read(&self.unproxied),
            crowded: read(&self.crowded),
            floods: read(&self.floods),
        }
    }
}
