//! Certificates of members, and the mutually authenticated transport between them.

#![forbid(unsafe_code)]

mod error;
pub mod pki;
pub mod tls;
pub mod transport;

pub use error::Error;
