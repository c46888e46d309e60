//! Whole transports and join clients on loopback.

#![expect(clippy::unwrap_used, reason = "a test helper fails by panicking")]

mod admission;
mod hostile;
mod join;
mod support;
mod transport;
