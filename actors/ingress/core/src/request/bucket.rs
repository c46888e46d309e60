//! How many requests per time are let in: the generic cell rate algorithm, which is a token bucket
//! that remembers one number per key (ITU-T I.371).

use jaco_kit_core::Mono;
use jaco_model::spec::RateLimit;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// Keys that are remembered.
const KEYS: usize = 10_000;
/// Keys without a debt are forgotten no more often than that.
const PURGE: Duration = Duration::from_millis(100);

/// Whose requests share a bucket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// All of the route.
    All,
    /// One client.
    Address(IpAddr),
    /// All with this value of a header.
    Value(Box<str>),
}

/// The buckets of one route.
#[derive(Debug, Default)]
pub struct Buckets {
    /// When the debt of each is paid, in nanoseconds of the monotonic clock: many requests a second
    /// are less than a millisecond apart.
    due: BTreeMap<Who, u64>,
    purged: Mono,
}

impl Buckets {
    /// Lets one request in.
    ///
    /// # Errors
    /// When the bucket is empty: the wait until the next request would be let in.
    pub fn take(&mut self, limit: &RateLimit, who: Who, now: Mono) -> Result<(), Duration> {
        let step = nanos(limit.per.std()) / u64::from(limit.requests.max(1));
        let most = step.saturating_mul(u64::from(limit.burst.max(1)));
        let at = now.0.saturating_mul(1_000_000);
        let due = self.due.get(&who).copied().unwrap_or(at).max(at).saturating_add(step.max(1));
        let debt = due - at;
        if debt > most.max(1) {
            return Err(Duration::from_nanos(debt - most));
        }
        if self.due.len() >= KEYS {
            self.forget(now, at);
        }
        self.due.insert(who, due);
        Ok(())
    }

    /// Makes room: those without a debt go, and if there are none, any.
    fn forget(&mut self, now: Mono, at: u64) {
        if now.since(self.purged) >= PURGE {
            self.purged = now;
            self.due.retain(|_, due| *due > at);
        }
        if self.due.len() >= KEYS {
            self.due.pop_first();
        }
    }

    /// Keys that are remembered.
    pub fn len(&self) -> usize {
        self.due.len()
    }

    /// Whether no key is remembered.
    pub fn is_empty(&self) -> bool {
        self.due.is_empty()
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}
