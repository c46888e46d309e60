//! How busy each replica is, and whether it answers, as all workers see it.

use jaco_ingress_core::Table;
use jaco_kit_core::Mono;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Failed connections in a row after which a replica rests.
const FAILURES: u32 = 3;

/// One port of one replica.
#[derive(Debug, Default)]
pub(super) struct Load {
    running: AtomicU32,
    failures: AtomicU32,
    /// On the monotonic clock.
    rests_until: AtomicU64,
}

impl Load {
    pub(super) fn running(&self) -> u32 {
        self.running.load(Ordering::Relaxed)
    }

    pub(super) fn rests(&self, now: Mono) -> bool {
        self.rests_until.load(Ordering::Relaxed) > now.0
    }

    pub(super) fn connected(&self) {
        self.failures.store(0, Ordering::Relaxed);
        self.rests_until.store(0, Ordering::Relaxed);
    }

    /// The third failure in a row makes it rest for 10 s, each further one twice as long.
    pub(super) fn failed(&self, now: Mono) {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some(over) = failures.checked_sub(FAILURES) {
            let rest = Duration::from_secs((10u64 << over.min(3)).min(60));
            self.rests_until.store(now.plus(rest).0, Ordering::Relaxed);
        }
    }
}

/// A running request; it counts until it is dropped.
#[derive(Debug)]
pub(super) struct Running(Arc<Load>);

impl Running {
    pub(super) fn new(load: Arc<Load>) -> Running {
        load.running.fetch_add(1, Ordering::Relaxed);
        Running(load)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Loads(Mutex<BTreeMap<SocketAddr, Arc<Load>>>);

impl Loads {
    pub(super) fn get(&self, address: SocketAddr) -> Arc<Load> {
        let mut loads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        loads.entry(address).or_default().clone()
    }

    /// Forgets replicas that are in the table no more and have nothing running.
    pub(super) fn keep(&self, table: &Table) {
        let known = addresses(table);
        let mut loads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        loads.retain(|address, load| load.running() > 0 || known.contains(&address.ip()));
    }
}

/// The replicas of a table.
pub(super) fn addresses(table: &Table) -> BTreeSet<IpAddr> {
    let endpoints = table.services.values().flat_map(|service| &service.endpoints);
    endpoints.map(|endpoint| IpAddr::V4(endpoint.address)).collect()
}
