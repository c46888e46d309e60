//! Versioned byte formats of log entries and snapshots.

#![forbid(unsafe_code)]
