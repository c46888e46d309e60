//! The HTTP API: decode, command or query, encode.
//!
//! Handlers read the replicated state or propose a command; they never decide. What they need
//! from the rest of the daemon is one trait, [`Backend`], so that this crate knows neither raft
//! nor Docker. It listens on a unix socket, whose callers count as local administrators. On TCP there
//! is one call alone, by which nodes join ([`serve_door`]).

#![forbid(unsafe_code)]

mod answer;
mod apply;
mod backend;
mod caller;
mod certificate;
mod certs;
mod challenge;
mod change;
mod detail;
mod door;
mod leaves;
mod logs;
mod look;
mod metrics;
mod nodes;
mod openapi;
mod route;
mod rows;
mod server;
mod stream;
mod target;
#[cfg(test)]
mod testing;
mod wait;
mod why;

pub use backend::{
    Asker, Backend, BoxFuture, Contacts, LogQuery, LogStream, Membership, ResolvedImage,
};
pub use caller::Caller;
pub use certs::own_end;
pub use door::{Doorkeeper, serve_door};
pub use metrics::serve_metrics;
pub use server::{Error, serve};
