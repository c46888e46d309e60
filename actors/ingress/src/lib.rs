//! The front door's sockets: what the decisions of `jaco-ingress-core` are carried out with.

#![forbid(unsafe_code)]

pub mod acme;
mod http;

pub use http::{Config, Counts, Driver, DriverHandle, Error, Health};
