//! Placement, rollouts and explanations as a pure core.
//!
//! The leader's [`Scheduler`] looks at one replicated state at a time and answers with the steps
//! that bring assignments closer to what users want: slots made and removed, instances placed and
//! retired, rollouts begun, paused and ended, and the reason for every slot that waits. What it
//! remembers between passes are timers only, which a new leader restarts from what it sees. It
//! deliberately starts no container and routes no traffic: nodes act on the state themselves.

#![forbid(unsafe_code)]

mod effect;
mod input;
mod scheduler;

mod pass;
mod releases;
mod removal;
mod service;
mod slots;

mod counts;
mod depends;
mod explain;
mod place;
mod replace;
mod rollout;

mod addresses;
mod board;
mod choose;
mod filter;
mod need;

mod judge;
mod memory;

mod difference;
mod preview;

pub use effect::Effect;
pub use input::{Dirty, Input};
pub use preview::{Preview, preview};

pub use scheduler::Scheduler;
