//! The responder on real sockets of the loopback interface, with upstreams of the tests' own.

#![expect(clippy::unwrap_used, reason = "a test helper fails by panicking")]

mod forwarding;
mod guards;
mod listening;
mod questions;
mod streams;
mod world;
