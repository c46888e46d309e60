//! What is answered, checked with another implementation of the protocol.

#![expect(clippy::unwrap_used, reason = "a test helper fails by panicking")]

mod cluster;
mod forward;
mod properties;
mod protocol;
mod table;
mod world;
