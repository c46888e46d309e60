//! What must become durable together.

use std::sync::Arc;

use raft::eraftpb::{Entry, HardState};

use crate::durable::{Members, Position, SnapshotMeta};

/// One durable write: all of it or nothing.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Counts the batches of one run from 1; comes back in `Persisted`.
    pub seq: u64,
    /// Term, vote and commit index after this batch.
    pub hard_state: HardState,
    /// The file to write, durable before the rest of the batch refers to it.
    pub snapshot: Option<SnapshotFile>,
    /// What to drop from the log before the entries are appended.
    pub trim: Trim,
    /// Contiguous; they replace everything in the log from the first one on.
    pub entries: Vec<Entry>,
    /// The member list and the index of the entry that made it so.
    pub members: Option<(u64, Members)>,
}

/// A snapshot that becomes the newest one with its batch.
#[derive(Clone, Debug)]
pub struct SnapshotFile {
    /// Where it stands and who the members are there.
    pub meta: SnapshotMeta,
    /// The bytes of the file.
    pub data: Arc<Vec<u8>>,
}

/// What a batch drops from the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trim {
    /// Nothing.
    #[default]
    Keep,
    /// Entries up to and including this one.
    Prefix(Position),
    /// Every entry: the log begins again after this one, the last of an installed snapshot.
    Whole(Position),
}
