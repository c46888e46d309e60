//! The log as raft-rs reads it: the mirror of the durable state, and the snapshot for peers.

use std::cell::Cell;
use std::sync::Arc;

use raft::eraftpb::{Entry, Snapshot};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};

use crate::batch::Batch;
use crate::convert::members_to_pb;
use crate::durable::DurableLog;

/// Answers raft-rs from memory; nothing here waits or fails for a disk.
#[derive(Debug)]
pub(crate) struct Log {
    durable: DurableLog,
    /// The bytes of the newest snapshot while a peer needs them.
    image: Option<Arc<Vec<u8>>>,
    /// A snapshot before this entry is useless to a joiner: it would not find itself in there.
    image_index_min: u64,
    /// Set by the library's question, which comes through a shared reference.
    image_wanted: Cell<bool>,
}

impl Log {
    pub(crate) fn new(durable: DurableLog) -> Log {
        Log { durable, image: None, image_index_min: 0, image_wanted: Cell::new(false) }
    }

    pub(crate) fn durable(&self) -> &DurableLog {
        &self.durable
    }

    pub(crate) fn apply(&mut self, batch: &Batch) {
        if batch.snapshot.is_some() {
            self.image = None;
        }
        self.durable.apply(batch);
    }

    /// A peer was added by the entry at `index`.
    pub(crate) fn require_image_from(&mut self, index: u64) {
        self.image_index_min = self.image_index_min.max(index);
    }

    /// Keeps the bytes of the newest snapshot at hand, or lets them go.
    pub(crate) fn set_image(&mut self, image: Option<Arc<Vec<u8>>>) {
        self.image = image;
    }

    /// Whether the library asked in vain since the last call.
    pub(crate) fn take_image_wanted(&mut self) -> bool {
        self.image_wanted.take()
    }

    /// Whether the newest snapshot is recent enough for every peer.
    pub(crate) fn is_snapshot_recent(&self) -> bool {
        let index = self.durable.snapshot.at.index;
        index > 0 && index >= self.image_index_min
    }
}

impl Storage for Log {
    fn initial_state(&self) -> raft::Result<RaftState> {
        let conf_state = members_to_pb(&self.durable.snapshot.members);
        Ok(RaftState { hard_state: self.durable.hard_state.clone(), conf_state })
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low <= self.durable.truncated.index {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        let mut entries = Vec::new();
        let mut room = max_size.into().unwrap_or(u64::MAX);
        for index in low..high {
            let Some(entry) = self.durable.entry(index) else {
                return Err(raft::Error::Store(StorageError::Unavailable));
            };
            let size = size_of_entry(entry);
            // At least one entry goes out, however large it is.
            if size > room && !entries.is_empty() {
                break;
            }
            room = room.saturating_sub(size);
            entries.push(entry.clone());
        }
        Ok(entries)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        let missing = if index < self.durable.truncated.index {
            StorageError::Compacted
        } else {
            StorageError::Unavailable
        };
        self.durable.term(index).ok_or(raft::Error::Store(missing))
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.durable.truncated.index + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.durable.last_index())
    }

    /// Any error but "temporarily unavailable" makes the library panic.
    fn snapshot(&self, request_index: u64, _to: u64) -> raft::Result<Snapshot> {
        let meta = &self.durable.snapshot;
        let fits = self.is_snapshot_recent() && meta.at.index >= request_index;
        let Some(image) = self.image.as_ref().filter(|_| fits) else {
            self.image_wanted.set(true);
            return Err(raft::Error::Store(StorageError::SnapshotTemporarilyUnavailable));
        };
        let mut snapshot = Snapshot { data: image.to_vec(), ..Snapshot::default() };
        let metadata = snapshot.mut_metadata();
        metadata.index = meta.at.index;
        metadata.term = meta.at.term;
        metadata.set_conf_state(members_to_pb(&meta.members));
        Ok(snapshot)
    }
}

/// What an entry weighs against the limits of messages and of the log, in bytes.
pub(crate) fn size_of_entry(entry: &Entry) -> u64 {
    prost_raft::Message::encoded_len(entry) as u64
}
