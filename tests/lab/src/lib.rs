//! A lab: real hosts on one machine, for tests, the demo and benchmarks.
//!
//! Each host is a network namespace and a host name with a containerd and a dockerd of its own; a
//! veth pair joins it to the lab's bridge. Nothing outside the lab is used or changed: no other
//! engine, no other bridge. A lab whose owner died is removed by the next one that starts.
//! There is no process namespace, and a mount namespace only for a host with another release of
//! Docker Engine, in which `/usr` alone differs: paths and process ids mean the same everywhere.

#![forbid(unsafe_code)]

// A lab and its parts.
mod host;
mod lab;
mod plan;
mod registry;

// What goes wrong in it.
mod disk;
mod faults;
mod reboot;

// How it comes and goes.
mod engine;
mod network;
mod release;
mod suite;
mod teardown;

// What it runs.
mod api;
mod apt;
mod artifacts;
mod daemon;
mod debian;
mod image;
mod names;
mod pebble;
mod store;
mod tar;
mod tools;

mod process;
mod report;
mod run;
mod wait;

pub use api::{Engine, Response};
pub use artifacts::{Artifact, STATIC_TARGET, build_binary, probe_binary, static_flags};
pub use daemon::Daemon;
pub use debian::Program;
pub use disk::SmallDisk;
pub use faults::Traffic;
pub use host::Host;
pub use lab::{Lab, LabOptions};
pub use names::{Names, loopback};
pub use pebble::{Pebble, PebbleOptions};
pub use plan::NUMBERS;
pub use registry::{Owner, Record, list};
pub use release::EngineRelease;
pub use store::Store;
pub use tools::{ensure_test_tools, ensure_tools};
pub use wait::until;
