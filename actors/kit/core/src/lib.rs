//! The contract between a pure core and its shell.
//!
//! A core decides and a shell does. This crate owns the trait that separates them, the two clocks
//! a core may see, the ids that tie a slow effect to its outcome, the back-off that cores use
//! between attempts, and what several of them read or mix. It deliberately knows no runtime, no I/O
//! and no domain type.

#![forbid(unsafe_code)]

mod backoff;
mod core;
pub mod mix;
mod now;
mod op;
mod resolv;

pub use backoff::Backoff;
pub use core::Core;
pub use now::{Mono, Now, Wall};
pub use op::{OpId, OpIds};
pub use resolv::name_servers;
