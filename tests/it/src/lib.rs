//! Nodes under test: lab hosts with their own Docker Engine, a jacod on each, and the command line.
//!
//! Nothing of the product is linked in. What it did is read from the engine and from the output of
//! `jaco -o json`, so that a mistake cannot hide in types that both sides share.

#![forbid(unsafe_code)]

pub mod asking;
mod cluster;
mod container;
pub mod gate;
pub mod ground;
pub mod holes;
mod http;
mod load;
pub mod matrix;
mod node;
mod pause;
mod random;
pub mod reach;
mod run;
mod shape;
mod siege;
mod stack;
mod storm;
pub mod ways;
mod writers;

pub use cluster::{
    Cluster, jaco_binary, voters_of, with_cluster, with_cluster_of, with_engines, with_node,
};
pub use container::Container;
pub use load::{Client, Watch};
pub use node::{Caller, IMAGE, Node, row_of};
pub use pause::{pause, unix_ms};
pub use random::Random;
pub use run::Run;
pub use shape::{has_keys, list, only};
pub use siege::{Toll, siege};
pub use stack::{Stack, probe, quick_update};
pub use storm::{Bounds, Summary, storm};
pub use writers::{Ledger, while_written};
