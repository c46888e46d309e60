//! Versioned byte formats of log entries, snapshots and peer messages.
//!
//! Everything that outlives a process or crosses to another node passes through here, as pure
//! functions over bytes. The crate knows neither the commands it carries nor the files and sockets
//! the bytes come from. Formats it does not know are refused with a typed error, never skipped.

#![forbid(unsafe_code)]

mod entry;
mod error;
mod pb;
pub mod peer;
mod reader;
mod snapshot;

pub use entry::{ENTRY_FORMAT, EntryHeader, decode_entry, encode_entry};
pub use error::Error;
pub use snapshot::{
    SNAPSHOT_FORMAT, Section, Snapshot, SnapshotHeader, decode_snapshot, encode_snapshot,
    verify_snapshot,
};
