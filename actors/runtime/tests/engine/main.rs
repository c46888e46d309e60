//! The driver against real engines in a lab, and its probes against real servers.

#![expect(clippy::unwrap_used, reason = "a test helper fails by panicking")]

mod bench;
mod image;
mod life;
mod network;
mod probe;
