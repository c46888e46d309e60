//! Automatic certificates: what the leader asks of an authority, and when.
//!
//! Every step is written into the state before the next request is sent. What there is to do
//! follows from the state alone, so a new leader goes on where the last one stopped.

mod answer;
mod begin;
mod caa;
mod clock;
mod core;
mod effect;
mod failure;
mod http_date;
mod input;
mod lanes;
mod next;
mod preflight;
mod records;
mod renewal;
mod times;

pub use caa::{CaaRecord, CaaWish, caa_names, caa_permits};
pub use clock::is_skewed;
pub use core::AcmeCore;
pub use effect::{AccountRef, Answer, Call, CallFailure, Effect, Record};
pub use http_date::{http_date, retry_after};
pub use input::{Input, PeerProgress, Settings};
pub use preflight::{PreflightCause, PreflightFailure};
