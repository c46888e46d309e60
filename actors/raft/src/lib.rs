//! The durable side of consensus: identity marker, log store and snapshot files of one node.
//!
//! ```text
//! data_dir/
//!   node/id                        who this node is; written last, so it commits the bootstrap
//!   raft/log.redb                  entries, hard state, members, snapshot pointer
//!   raft/snap-<index>-<term>.snap  the newest two
//!   raft.new/                      a bootstrap that has not reached its marker, or not its name
//! ```
//!
//! A batch is durable as a whole or not at all, every value carries a checksum, and whatever does
//! not fit is an error that names it: nothing is guessed and nothing repaired by dropping entries.
//! What to write is decided by `jaco-raft-core`.

#![forbid(unsafe_code)]

mod disk;
mod error;

mod codec;
mod files;
mod marker;
mod tables;

mod bootstrap;
mod persister;
mod store;

pub use disk::{Disk, HostDisk, Lock, Space};
pub use error::Error;
pub use marker::Marker;
pub use persister::Persister;
pub use redb::StorageBackend;
pub use store::{Loaded, Store};
