//! When to snapshot, and what the log may drop behind one.

use jaco_kit_core::{Mono, Now};

use crate::batch::{SnapshotFile, Trim};
use crate::config::SnapshotPolicy;
use crate::durable::{DurableLog, Position, SnapshotMeta};
use crate::log::size_of_entry;

/// Counts what was applied since the last snapshot and follows the one being taken.
#[derive(Debug)]
pub(crate) struct Snapshots {
    policy: SnapshotPolicy,
    entries: u64,
    bytes: u64,
    /// A peer needs a newer one than there is.
    is_demanded: bool,
    /// Encoding the last one failed.
    is_owed: bool,
    /// When the last one began.
    begun: Option<Mono>,
    taking: Option<SnapshotMeta>,
    /// Taken, waiting for a batch.
    pub(crate) taken: Option<SnapshotFile>,
    /// Being read from disk for a peer.
    pub(crate) loading: Option<Position>,
}

impl Snapshots {
    pub(crate) fn new(policy: SnapshotPolicy) -> Snapshots {
        Snapshots {
            policy,
            entries: 0,
            bytes: 0,
            is_demanded: false,
            is_owed: false,
            begun: None,
            taking: None,
            taken: None,
            loading: None,
        }
    }

    pub(crate) fn count_applied(&mut self, bytes: u64) {
        self.entries += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// A peer cannot be served from the newest snapshot.
    pub(crate) fn demand(&mut self) {
        self.is_demanded = true;
    }

    /// When [`Snapshots::is_allowed`] should be asked again, if a snapshot is due.
    pub(crate) fn deadline(&self) -> Option<Mono> {
        self.is_due().then(|| self.not_before())
    }

    /// Whether to start one now.
    pub(crate) fn is_allowed(&self, now: Now) -> bool {
        self.is_due() && now.mono >= self.not_before()
    }

    /// Starts one.
    pub(crate) fn begin(&mut self, now: Now, meta: SnapshotMeta) {
        self.taking = Some(meta);
        self.begun = Some(now.mono);
        (self.entries, self.bytes, self.is_demanded, self.is_owed) = (0, 0, false, false);
    }

    /// The one being taken ended; `None` if it was not this one.
    pub(crate) fn end(&mut self, at: Position) -> Option<SnapshotMeta> {
        self.taking.take_if(|meta| meta.at == at)
    }

    /// Encoding failed: due again as soon as the interval allows.
    pub(crate) fn retry(&mut self) {
        self.is_owed = true;
    }

    /// The newest snapshot holds everything: whoever asked for one before it was there will find
    /// it, and no timer must wait for another.
    pub(crate) fn rest(&mut self) {
        (self.entries, self.bytes, self.is_demanded, self.is_owed) = (0, 0, false, false);
    }

    /// A snapshot of the leader replaced everything.
    pub(crate) fn forget(&mut self) {
        (self.entries, self.bytes, self.is_demanded, self.is_owed) = (0, 0, false, false);
        (self.taking, self.taken, self.loading) = (None, None, None);
    }

    /// What may be dropped once a snapshot at `at` is durable.
    pub(crate) fn trim(&self, log: &DurableLog, at: Position) -> Trim {
        let by_count = at.index.saturating_sub(self.policy.trailing_entries);
        let mut keep_from = at.index + 1;
        let mut bytes = 0_u64;
        while keep_from > by_count + 1 {
            let Some(entry) = log.entry(keep_from - 1) else { break };
            bytes = bytes.saturating_add(size_of_entry(entry));
            if bytes > self.policy.trailing_bytes {
                break;
            }
            keep_from -= 1;
        }
        let index = keep_from - 1;
        match log.term(index) {
            Some(term) if index > log.truncated.index => Trim::Prefix(Position { index, term }),
            _ => Trim::Keep,
        }
    }

    fn not_before(&self) -> Mono {
        let SnapshotPolicy { interval_min, interval_min_for_peers, .. } = self.policy;
        let interval =
            if self.is_demanded { interval_min.min(interval_min_for_peers) } else { interval_min };
        self.begun.map_or(Mono(0), |at| at.plus(interval))
    }

    fn is_due(&self) -> bool {
        let is_long =
            self.entries >= self.policy.every_entries || self.bytes >= self.policy.every_bytes;
        (is_long || self.is_demanded || self.is_owed)
            && self.taking.is_none()
            && self.taken.is_none()
    }
}
