//! Consensus as a pure core: raft-rs behind the [`jaco_kit_core::Core`] contract.
//!
//! The core owns the raft node, an in-memory mirror of the durable log, the proposals in flight and
//! the decisions when to snapshot and what to compact. Commands are opaque bytes. Disk, network,
//! clock and the state machine stay outside: they are effects ([`Effect`]) and come back as inputs
//! ([`Input`]).
//!
//! One batch at a time: while a [`Batch`] is being made durable the raft node is not touched and
//! inputs wait in a bounded queue. So nothing leaves before what it depends on is on disk, and all
//! proposals that arrive meanwhile share the next fsync.
//!
//! The member list is not changed by hand: every member is told who belongs to the cluster
//! ([`Input::Roster`]), and the leader makes the list follow, one single-step change at a time
//! (`membership`). Reads are confirmed by a majority, never by a lease (`reads`). What peers say is
//! checked before the library sees it, because it panics where a lie would lead on (`filter`).

#![forbid(unsafe_code)]

mod coalesce;
mod config;
mod convert;
mod effect;
mod election;
mod error;
mod input;

mod batch;
mod durable;
mod log;

mod filter;
mod membership;
mod node;
mod proposals;
mod queue;
mod reads;
#[cfg(feature = "seeded-bugs")]
mod seeded;
mod snapshots;

pub use batch::{Batch, SnapshotFile, Trim};
pub use config::{Config, Limits, SnapshotPolicy};
pub use convert::{decode_message, encode_message};
pub use durable::{DurableLog, Members, Position, SnapshotMeta};
pub use effect::{Committed, Effect, MemberProgress, Payload, Refusal, Role, Status};
pub use error::Error;
pub use input::{Input, MemberChange, Roster, RosterMember, Standing};
pub use node::RaftCore;
pub use raft::eraftpb;
#[cfg(feature = "seeded-bugs")]
pub use seeded::SeededBug;
