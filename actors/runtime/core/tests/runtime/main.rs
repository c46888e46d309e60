//! The core against a fake engine in virtual time: golden scripts and random faults.

mod engine;
mod fixture;
mod golden;
mod random;
mod record;
mod trace;
mod world;
