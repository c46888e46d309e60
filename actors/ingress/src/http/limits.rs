//! How many requests per time are let in (the generic cell rate algorithm).

use jaco_kit_core::Mono;
use jaco_model::spec::RateLimit;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Keys that are remembered before those without a debt are forgotten.
const KEYS: usize = 10_000;

/// The buckets of all routes.
#[derive(Debug, Default)]
pub(super) struct Limits(Mutex<BTreeMap<String, Mono>>);

impl Limits {
    /// Takes one request; `Err` is the wait until the next would be let in.
    pub(super) fn take(&self, limit: &RateLimit, key: String, now: Mono) -> Result<(), Duration> {
        let step = limit.per.std() / limit.requests.max(1);
        let most = step * limit.burst.max(1);
        let mut due = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if due.len() > KEYS {
            due.retain(|_, due| *due > now);
        }
        let next = due.get(&key).copied().unwrap_or(now).max(now).plus(step);
        let debt = next.since(now);
        if debt > most {
            return Err(debt - most);
        }
        due.insert(key, next);
        Ok(())
    }
}
