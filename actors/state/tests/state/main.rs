//! The state machine from outside: commands in, answers, events and state out.

mod acme;
mod addresses;
mod fixture;
mod golden;
mod hashing;
mod limits;
mod members;
mod properties;
mod script;
mod sharing;
mod snapshot;
