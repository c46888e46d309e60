//! The front door's sockets: what the decisions of `jaco-ingress-core` are carried out with.

#![forbid(unsafe_code)]

pub mod acme;
mod http;
mod l4;

pub use http::{Config, Counts, Driver, DriverHandle, Error, Health, Limits};
pub use http::{Durations, Meters, Reading, RequestCounts, RouteReading};
pub use l4::{L4, L4Error, PortCounts, PortMeters};

use jaco_ingress_core::SocketFault;
use std::io;

/// Why a socket could not be opened, as the core takes it.
pub fn socket_fault(error: &io::Error) -> SocketFault {
    SocketFault { is_taken: error.kind() == io::ErrorKind::AddrInUse, why: error.to_string() }
}
