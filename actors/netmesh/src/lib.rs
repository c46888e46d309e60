//! WireGuard, links, routes and probes of the mesh: what carries out the orders of its core.
//!
//! The tunnel is the kernel's where it has WireGuard, else a helper process of the same binary
//! ([`helper`]). The driver decides nothing: what should be there and when to try again is said by
//! `jaco-netmesh-core`.

#![deny(unsafe_code)]

mod driver;
mod error;
mod events;
pub mod helper;
mod kernel;
mod keys;
mod links;
mod pool;
mod probes;
mod tunnel;
mod userspace;

pub use driver::{Config, Driver, DriverHandle, HelperCommand};
pub use error::Error;
pub use links::{Link, link};
pub use pool::in_use;
