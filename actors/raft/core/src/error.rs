//! Why a member cannot start or cannot go on.

/// A failure after which this member must not take part in consensus.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The durable state contradicts itself; nothing may be guessed or repaired.
    #[error("durable raft state is inconsistent: {what} is {found}, expected {expected}")]
    StorageCorrupt {
        /// Which value.
        what: &'static str,
        /// Its value.
        found: String,
        /// The condition it breaks.
        expected: String,
    },
    /// The settings do not make sense.
    #[error("invalid raft settings: {0}")]
    Config(String),
    /// A batch did not become durable.
    #[error("writing the raft log failed: {0}")]
    StorageFailed(String),
    /// A committed configuration change cannot be applied.
    #[error("cannot apply the committed membership change at index {index}: {reason}")]
    MembershipChange {
        /// Where it stands in the log.
        index: u64,
        /// What the library said.
        reason: String,
    },
}
