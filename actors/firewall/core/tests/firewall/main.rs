//! Tests of the firewall core: what the table says, what it does to packets, and when it is
//! written.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod diffing;
mod driving;
mod fixture;
mod golden;
mod machine;
mod packets;
mod random;
mod state;
mod world;
