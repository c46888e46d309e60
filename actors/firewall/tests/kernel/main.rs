//! The driver on the real kernel, in network namespaces of its own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod fixture;
mod looped;
mod many;
mod namespace;
mod packets;
mod repair;
mod rig;
mod table;
mod wires;
