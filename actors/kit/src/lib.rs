//! The generic actix shell around a core, its supervisor, and the process's one clock.
//!
//! A [`Shell`] reads the clock, steps its core, performs the effects in order and arms one timer.
//! It never decides anything: no retry, no time-out, no branch on domain data lives here.

#![forbid(unsafe_code)]

mod clock;
mod recorder;
mod seed;
mod shell;
mod supervisor;
mod tls;

pub use clock::Clock;
pub use recorder::Recorder;
pub use seed::Seeds;
pub use shell::{Broken, Deliver, Perform, Shell};
pub use supervisor::{Critical, Supervisor};
pub use tls::unverified_tls;
