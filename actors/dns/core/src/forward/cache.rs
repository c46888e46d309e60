//! Answers of upstreams, for as long as they may be kept.

use crate::forward::reply::Reply;
use crate::message::{Request, flag};
use jaco_kit_core::Mono;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Answers kept at most.
const ENTRIES_MAX: usize = 10_000;
/// Bytes of all answers kept at most.
const BYTES_MAX: usize = 16 << 20;
/// How long an answer is kept beyond its time, for when no upstream answers.
const STALE_FOR: Duration = Duration::from_secs(600);

/// What an answer belongs to. Lists of upstreams do not share answers: they may see different
/// worlds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CacheKey {
    name: Box<[u8]>,
    kind: u16,
    /// Whether signatures were asked for, and whether unchecked.
    dnssec: (bool, bool),
    upstreams: Arc<[SocketAddr]>,
}

impl CacheKey {
    /// The key of a question to a list of upstreams.
    pub fn new(request: &Request<'_>, upstreams: &Arc<[SocketAddr]>) -> CacheKey {
        let dnssec_ok = request.edns.is_some_and(|edns| edns.dnssec_ok);
        CacheKey {
            name: request.name.as_key().into(),
            kind: request.kind,
            dnssec: (dnssec_ok, request.flags & flag::CHECKING_DISABLED != 0),
            upstreams: upstreams.clone(),
        }
    }

    fn size(&self) -> usize {
        self.name.len() + size_of::<CacheKey>()
    }
}

/// Answers by question.
#[derive(Debug, Default)]
pub struct Cache {
    entries: BTreeMap<Arc<CacheKey>, Entry>,
    by_end: BTreeSet<(Mono, Arc<CacheKey>)>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    reply: Arc<Reply>,
    heard_at: Mono,
    fresh_until: Mono,
}

impl Cache {
    /// An answer that is still good, and its age in seconds.
    pub fn fresh(&self, now: Mono, key: &CacheKey) -> Option<(Arc<Reply>, u32)> {
        let entry = self.entries.get(key).filter(|entry| now < entry.fresh_until)?;
        Some((entry.reply.clone(), seconds(now.since(entry.heard_at))))
    }

    /// An answer that was good lately, for when nobody else answers.
    pub fn stale(&self, now: Mono, key: &CacheKey) -> Option<Arc<Reply>> {
        let entry = self.entries.get(key)?;
        (now < entry.fresh_until.plus(STALE_FOR)).then(|| entry.reply.clone())
    }

    /// Keeps an answer if it may be kept. The one that ends first makes room.
    pub fn keep(&mut self, now: Mono, key: CacheKey, reply: Arc<Reply>) {
        let Some(ttl) = reply.keep_for() else { return };
        let key = Arc::new(key);
        self.remove(&key);
        self.bytes += key.size() + reply.size();
        let fresh_until = now.plus(Duration::from_secs(u64::from(ttl)));
        self.by_end.insert((fresh_until, key.clone()));
        self.entries.insert(key, Entry { reply, heard_at: now, fresh_until });
        while self.entries.len() > ENTRIES_MAX || self.bytes > BYTES_MAX {
            let Some((_, first)) = self.by_end.first().cloned() else { break };
            self.remove(&first);
        }
    }

    /// How many answers are kept.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn remove(&mut self, key: &Arc<CacheKey>) {
        if let Some(entry) = self.entries.remove(key) {
            self.by_end.remove(&(entry.fresh_until, key.clone()));
            self.bytes -= key.size() + entry.reply.size();
        }
    }
}

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}
