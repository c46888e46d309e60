//! Replica state machines of one node.
//!
//! Decides what the node's engine must do so that its containers match the replicated state:
//! when to pull, create, start, probe, restart, stop and remove, how long to wait between
//! attempts, and what to report. It deliberately speaks no Docker: orders leave as [`Effect`]s
//! and come back as [`Input`]s.

#![forbid(unsafe_code)]

mod address;
mod adopt;
mod advance;
mod brake;
mod bridge;
mod checks;
mod core;
mod effect;
mod halt;
mod input;
mod launch;
mod node;
mod orders;
mod orphans;
mod outcome;
mod peers;
mod plan;
mod report;
mod resolver;
mod resources;
mod restart;
mod settings;
mod sweep;
mod task;

pub use crate::core::RuntimeCore;
pub use effect::{
    BridgePlan, ContainerPlan, Effect, Endpoint, NetworkPlan, PlannedMount, VolumePlan,
};
pub use input::{
    ContainerFacts, EngineEvent, EngineFacts, EngineFault, ExecOutcome, Health, Input, Observation,
    ObservedNetwork, ObservedVolume, PullFault, PullReason,
};
pub use settings::{Host, Settings};
