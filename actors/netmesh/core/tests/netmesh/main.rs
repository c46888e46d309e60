//! The core of the mesh: plans, paths and the loop, by golden scripts and at random.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod blocks;
mod golden;
mod model;
mod paths;
mod random;
mod state;
