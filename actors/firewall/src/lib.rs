//! Packet filter driver: nftables by netlink.
//!
//! Carries out the orders of the firewall core in the network namespace it was started in: writes
//! our table in one transaction, reads it back into the same value it was written from, forgets
//! connections, and tells when somebody else touches the table. It translates and never decides:
//! no retry and no back-off. Why the codec is our own is in `docs/adr/0017-own-nftables-codec.md`.

#![forbid(unsafe_code)]

mod wire;

mod socket;

mod encode;
mod expr;
mod field;
mod numbers;
mod readback;

mod conntrack;
mod counters;
mod driver;
mod error;
mod exempt;
mod notice;
mod reading;
mod removal;

pub use counters::{Counted, drop_counters};
pub use driver::{Driver, DriverHandle};
pub use error::Error;
pub use exempt::exempt;
pub use reading::read_table;
pub use removal::remove_table;
