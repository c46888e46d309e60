//! DNS responder and forwarder driver.
//!
//! Opens the sockets that the dns core asks for, on a thread of its own, and moves messages
//! between them, the tables and the upstreams. What is answered, who may ask how much and which
//! upstream is believed is decided in `jaco-dns-core`. Why no server of a library does this is in
//! ADR 0019.

#![forbid(unsafe_code)]

mod counters;
mod driver;
mod exchange;
mod forwarder;
mod shared;
mod sockets;
mod tcp;
mod udp;
mod upstreams;

pub use counters::{Counts, UpstreamView};
pub use driver::{Config, Driver, DriverHandle, Error};
pub use jaco_dns_core::{Transport, respond_alone};
