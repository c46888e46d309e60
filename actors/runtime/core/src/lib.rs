//! Replica state machines of one node.
//!
//! Decides what the node's engine must do so that its containers match the replicated state:
//! when to pull, create, start, probe, restart, stop and remove, how long to wait between
//! attempts, and what to report. It deliberately speaks no Docker: orders leave as [`Effect`]s
//! and come back as [`Input`]s.

#![forbid(unsafe_code)]

mod effect;
mod input;

pub use effect::{ContainerPlan, Effect, Endpoint, NetworkPlan, PlannedMount, VolumePlan};
pub use input::{
    ContainerFacts, EngineEvent, EngineFacts, EngineFault, ExecOutcome, Health, Input, Observation,
    ObservedVolume, PullFault, PullReason,
};
