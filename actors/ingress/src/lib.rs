//! The front door's sockets: what the decisions of `jaco-ingress-core` are carried out with.

#![forbid(unsafe_code)]

pub mod acme;
mod http;
mod l4;

pub use http::{Config, Counts, Driver, DriverHandle, Error, Health, Limits};
pub use l4::{L4, L4Error, PortCounts};
