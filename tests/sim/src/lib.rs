//! A whole cluster in one process under virtual time: the real cores and the real wiring, with a
//! network, disks, engines and clocks of our own, and faults.
//!
//! Everything follows from a seed: which hosts there are, what fails and when, what clients do, how
//! long each message takes. After every event the invariants of `docs/invariants.md` are looked at;
//! at last all faults end and the cluster must come to rest. A seed replays exactly.

#![forbid(unsafe_code)]

mod queue;
mod random;
mod trace;
mod words;

mod authority;
mod clock;
mod disk;
mod engine;
mod event;
mod host;
mod kernel;
mod world;

mod admin;
mod ask;
mod client;
mod faults;
mod found;
mod phase;
mod plan;

mod check;

mod bug;
mod run;
mod sweep;

pub use bug::Bug;
pub use run::{Failure, Outcome, run, run_twice};
pub use sweep::{Sweep, replay, sweep};
pub use trace::Detail;
