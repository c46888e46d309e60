//! The core in a cluster of its own in virtual time: golden scripts, bounds and random faults.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod alone;
mod bounds;
mod golden;
mod hostile;
mod network;
mod raft;
mod random;
mod world;
