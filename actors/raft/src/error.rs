//! Why durable state cannot be read or written.

use std::io;
use std::path::PathBuf;

/// A failure of the durable side. All of them mean that this node must not take part.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A stored value is not what was written, or contradicts another.
    #[error(
        "{} is corrupt: {what}, expected {expected}",
        path.display()
    )]
    StorageCorrupt {
        /// The file.
        path: PathBuf,
        /// Which value, and what is there.
        what: String,
        /// What should be there.
        expected: String,
    },
    /// Files that belong together are not all there.
    #[error(
        "{} is missing although {present} exists",
        missing.display()
    )]
    StorageIncomplete {
        /// What is missing.
        missing: PathBuf,
        /// What shows that it should be there.
        present: &'static str,
    },
    /// A cluster was initialised or joined here before.
    #[error("{} already holds a member of a cluster", path.display())]
    AlreadyInitialized {
        /// The marker or raft directory found.
        path: PathBuf,
    },
    /// Another process works on the same directory.
    #[error("{} is in use by another process", path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// The disk refused an operation. What it holds is known only after the next start.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The database refused an operation. As with `Io`, only a restart tells what it holds.
    #[error("cannot {action} {}", path.display())]
    Database {
        /// What was tried.
        action: &'static str,
        /// The database.
        path: PathBuf,
        /// What it said.
        #[source]
        source: Box<redb::Error>,
    },
    /// A snapshot to be stored is not what its position says.
    #[error("refused to store a snapshot that does not match its position: {reason}")]
    SnapshotMismatch {
        /// What differs.
        reason: String,
    },
    /// An earlier write failed: nothing is written any more.
    #[error("the store has stopped after an earlier failure")]
    Stopped,
}

impl Error {
    /// For `map_err` on an operation of the disk.
    pub(crate) fn io(
        action: &'static str,
        path: &std::path::Path,
    ) -> impl FnOnce(io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::Io { action, path, source }
    }

    /// Whether the disk was full, which heals by itself once there is room and a restart.
    pub fn is_disk_full(&self) -> bool {
        let full = |error: &io::Error| error.kind() == io::ErrorKind::StorageFull;
        match self {
            Error::Io { source, .. } => full(source),
            Error::Database { source, .. } => matches!(&**source, redb::Error::Io(e) if full(e)),
            Error::StorageCorrupt { .. }
            | Error::StorageIncomplete { .. }
            | Error::AlreadyInitialized { .. }
            | Error::Locked { .. }
            | Error::SnapshotMismatch { .. }
            | Error::Stopped => false,
        }
    }
}
