//! Certificates of members, and the mutually authenticated transport between them.

#![forbid(unsafe_code)]

mod error;
pub mod pki;

pub use error::Error;
