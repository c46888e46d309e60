//! What the proxy did, for status pages and metrics.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

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
    /// Connections that are open.
    pub open: u64,
    /// Requests under way.
    pub active: u64,
    /// Tables that were put in use.
    pub swaps: u64,
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
    pub(super) open: AtomicU64,
    pub(super) active: AtomicU64,
    pub(super) swaps: AtomicU64,
}

/// Counts one.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Counts one less.
pub(super) fn uncount(counter: &AtomicU64) {
    counter.fetch_sub(1, Ordering::Relaxed);
}

/// How often the proxy answered by itself, by reason. A reason is known after its first time, so
/// that the lock is rarely waited for.
#[derive(Debug, Default)]
pub(super) struct Rejections(RwLock<BTreeMap<&'static str, AtomicU64>>);

impl Rejections {
    pub(super) fn count(&self, reason: &'static str) {
        if let Some(counter) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(reason) {
            return count(counter);
        }
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        count(all.entry(reason).or_default());
    }

    pub(super) fn read(&self) -> BTreeMap<&'static str, u64> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        all.iter().map(|(reason, counter)| (*reason, counter.load(Ordering::Relaxed))).collect()
    }
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
            open: read(&self.open),
            active: read(&self.active),
            swaps: read(&self.swaps),
        }
    }
}
