//! The transport between members: raft messages, snapshots, calls and streams.
//!
//! It runs on one thread of its own, so that a busy member can neither starve it nor be starved.
//! Towards each peer there are up to three connections, opened when there is something to say: one
//! for raft messages, one for calls and streams, and one for each snapshot. Queues are bounded;
//! what does not fit is lost, as on a network, and said so.

mod accept;
mod calls;
mod calls_link;
mod config;
mod counters;
mod dial;
mod filter;
mod frames;
mod gate;
mod hello;
mod outbox;
mod peer;
mod queue;
mod raft_in;
mod raft_link;
mod replies;
mod serve_calls;
mod shared;
mod snapshot_in;
mod snapshot_out;
mod socket;

mod handle;

pub use calls::CallError;
pub use config::{Config, Handler, Limits};
pub use counters::Counters;
pub use gate::{Gate, Ticket};
pub use handle::Peers;
