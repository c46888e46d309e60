//! Mistakes put in on purpose, to see that the simulator finds them. Never part of the product: the
//! whole file exists only under the feature `seeded-bugs`.

/// One well-known mistake of raft integrations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeededBug {
    /// Applies and answers before the batch is durable.
    AckBeforeFsync,
    /// The batch that installs a snapshot carries the commit index from before it.
    CommitNotRaisedWithSnapshot,
    /// Votes and acknowledgements leave before the batch they depend on is durable.
    PersistedMessagesEarly,
    /// Drops an entry without data before looking at its type.
    SkipEmptyConfEntry,
    /// Answers reads from leadership alone, without asking a majority.
    LeaseReads,
}
