//! raft-rs RawNode behind the Core contract.

#![forbid(unsafe_code)]
