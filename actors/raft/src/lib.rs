//! Durable raft log store and the raft shell.

#![forbid(unsafe_code)]
