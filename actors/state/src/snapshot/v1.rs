//! Snapshot format 1: written before nodes could join. Read and carried forward, never written.

use super::lines::{HEADER, Header, ServiceLine, check_names, lines, restore};
use super::{Section, SnapshotError};
use crate::State;
use jaco_model::Generation;
use jaco_model::entity::ClusterMeta;

pub(super) const FORMAT: u32 = 1;

/// The sections of this format that format 2 kept as they are.
pub(super) const NAMES: [&str; 13] = [
    HEADER,
    "cluster",
    "nodes",
    "deployments",
    "revisions",
    "replicas",
    "instances",
    "rollouts",
    "counters",
    "floors",
    "volumes",
    "requests",
    "audit",
];

pub(super) fn read(sections: &[Section]) -> Result<State, SnapshotError> {
    check_names(sections, &NAMES)?;
    let mut state = State::default();
    read_into(&mut state, sections)?;
    Ok(state)
}

/// Reads the sections of [`NAMES`], also for a later format that has them unchanged.
pub(super) fn read_into(state: &mut State, sections: &[Section]) -> Result<(), SnapshotError> {
    for header in lines::<Header>(sections, HEADER)? {
        state.applied_index = header.applied_index;
    }
    for cluster in lines::<ClusterMeta>(sections, "cluster")? {
        state.put_cluster(cluster);
    }
    restore::<jaco_model::entity::Node>(state, sections, "nodes")?;
    restore::<jaco_model::entity::Deployment>(state, sections, "deployments")?;
    restore::<jaco_model::entity::RevisionRecord>(state, sections, "revisions")?;
    restore::<jaco_model::entity::Replica>(state, sections, "replicas")?;
    restore::<jaco_model::entity::Instance>(state, sections, "instances")?;
    restore::<jaco_model::entity::Rollout>(state, sections, "rollouts")?;
    for line in lines::<ServiceLine<u32>>(sections, "counters")? {
        state.put_counter((line.deployment, line.service), line.value);
    }
    for line in lines::<ServiceLine<Generation>>(sections, "floors")? {
        state.raise_floor((line.deployment, line.service), line.value);
    }
    restore::<jaco_model::entity::Volume>(state, sections, "volumes")?;
    restore::<crate::RequestRecord>(state, sections, "requests")?;
    restore::<crate::AuditLine>(state, sections, "audit")
}
