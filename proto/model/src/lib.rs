//! Ids, specs, commands, entities and error codes shared by every part of JACO.
//!
//! This crate is data: what users want ([`spec`]), what the replicated state holds ([`entity`]),
//! what may change it ([`command`]), what a change reports ([`event`]) and how failures are named
//! ([`error`]). It knows no file format, no clock and no I/O. Maps are ordered everywhere, because
//! the same value must serialise to the same bytes on every member.

#![forbid(unsafe_code)]

pub mod command;
pub mod entity;
pub mod error;
pub mod event;
pub mod id;
pub mod name;
pub mod spec;
pub mod suggest;
pub mod time;
pub mod view;

pub use error::{ErrorCode, Fault};
pub use id::{
    ClusterId, DeploymentName, Generation, Identity, InstanceId, NodeId, NodeName, ReplicaId,
    RequestId, Revision, ServiceName,
};
pub use time::{Millis, WallMs};
