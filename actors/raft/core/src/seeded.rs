//! Mistakes put in on purpose, to see that the simulator finds them. Never part of the product: the
//! whole file exists only under the feature `seeded-bugs`.

use raft::eraftpb::{Entry, EntryType};

use crate::convert::decode_change_v1;

/// One well-known mistake of raft integrations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeededBug {
    /// Applies and answers before the batch is durable. Found by: an acknowledged write is missing
    /// after a crash, or two leaders of one term.
    AckBeforeFsync,
    /// The batch that installs a snapshot carries the commit index from before it. Found by: the
    /// durable log contradicts itself (invariant 5), at the latest when the member starts again.
    CommitNotRaisedWithSnapshot,
    /// Votes and acknowledgements leave before the batch they depend on is durable. Found by: two
    /// leaders of one term, or a member that does not hold what it acknowledged.
    PersistedMessagesEarly,
    /// Takes an entry without content for the library's own before looking at its type.
    ///
    /// Entries of joint consensus can be wholly empty; this cluster makes only single changes, whose
    /// encoding names the member. So "without content" is taken further here: also a change whose
    /// kind encodes to nothing, the default, which is the promotion to voter. Found by: the voters
    /// never become more, and members disagree about the list.
    SkipEmptyConfEntry,
    /// Answers reads from leadership alone, without asking a majority. Found by: a leader that was
    /// cut off or stopped answers with an index before acknowledged writes.
    LeaseReads,
}

/// What [`SeededBug::SkipEmptyConfEntry`] mistakes for an entry of the library.
pub(crate) fn says_nothing(entry: &Entry) -> bool {
    let is_change = entry.get_entry_type() == EntryType::EntryConfChange;
    let kind_is_default = || decode_change_v1(&entry.data).is_ok_and(|it| it.change_type == 0);
    entry.data.is_empty() || (is_change && kind_is_default())
}
