//! Automatic certificates: what the leader asks of an authority, and when.
//!
//! Every step is written into the state before the next request is sent. What there is to do
//! follows from the state alone, so a new leader goes on where the last one stopped.

mod caa;
mod core;
mod effect;
mod input;
mod lanes;
mod next;
mod preflight;
mod times;

pub use caa::{CaaRecord, CaaWish, caa_names, caa_permits};
pub use core::AcmeCore;
pub use effect::{AccountRef, Answer, Call, CallFailure, Effect};
pub use input::{Input, PeerProgress, Settings};
pub use preflight::{PreflightCause, PreflightFailure};
