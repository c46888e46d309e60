//! Snapshot format 1.

use super::{Section, SnapshotError};
use crate::State;
use crate::digest::canonical;
use crate::store::Entity;
use imbl::OrdMap;
use jaco_model::entity::ClusterMeta;
use jaco_model::{DeploymentName, Generation, ServiceName};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

pub(super) const FORMAT: u32 = 1;

/// The one line of the first section. Every version begins with its `format`.
#[derive(Serialize, Deserialize)]
struct Header {
    format: u32,
    applied_index: u64,
}

#[derive(Deserialize)]
struct AnyHeader {
    format: u32,
}

/// A number kept for a service after the service is gone.
#[derive(Serialize, Deserialize)]
struct ServiceLine<T> {
    deployment: DeploymentName,
    service: ServiceName,
    value: T,
}

const HEADER: &str = "state";
const CLUSTER: &str = "cluster";
const NODES: &str = "nodes";
const DEPLOYMENTS: &str = "deployments";
const REVISIONS: &str = "revisions";
const REPLICAS: &str = "replicas";
const INSTANCES: &str = "instances";
const ROLLOUTS: &str = "rollouts";
const COUNTERS: &str = "counters";
const FLOORS: &str = "floors";
const VOLUMES: &str = "volumes";
const REQUESTS: &str = "requests";
const AUDIT: &str = "audit";

const NAMES: [&str; 13] = [
    HEADER,
    CLUSTER,
    NODES,
    DEPLOYMENTS,
    REVISIONS,
    REPLICAS,
    INSTANCES,
    ROLLOUTS,
    COUNTERS,
    FLOORS,
    VOLUMES,
    REQUESTS,
    AUDIT,
];

/// The format number of any version's sections.
pub(super) fn format(sections: &[Section]) -> Result<u32, SnapshotError> {
    let header: Vec<AnyHeader> = lines(sections, HEADER)?;
    header.first().map(|header| header.format).ok_or(SnapshotError::MissingSection(HEADER))
}

pub(super) fn write(state: &State) -> Vec<Section> {
    let header = Header { format: FORMAT, applied_index: state.applied_index };
    vec![
        section(HEADER, [header]),
        section(CLUSTER, state.cluster.iter()),
        entities(NODES, &state.nodes),
        entities(DEPLOYMENTS, &state.deployments),
        entities(REVISIONS, &state.revisions),
        entities(REPLICAS, &state.replicas),
        entities(INSTANCES, &state.instances),
        entities(ROLLOUTS, &state.rollouts),
        numbers(COUNTERS, &state.counters),
        numbers(FLOORS, &state.floors),
        entities(VOLUMES, &state.volumes),
        entities(REQUESTS, &state.requests),
        entities(AUDIT, &state.audit),
    ]
}

fn section<T: Serialize>(name: &str, values: impl IntoIterator<Item = T>) -> Section {
    let mut section = Section { name: name.to_owned(), count: 0, bytes: Vec::new() };
    for value in values {
        section.bytes.extend(canonical(&value));
        section.bytes.push(b'\n');
        section.count += 1;
    }
    section
}

fn entities<K: Ord, E: Entity>(name: &str, entities: &OrdMap<K, Arc<E>>) -> Section {
    section(name, entities.values().map(Arc::as_ref))
}

fn numbers<T: Serialize + Copy>(
    name: &str,
    numbers: &OrdMap<(DeploymentName, ServiceName), T>,
) -> Section {
    section(
        name,
        numbers.iter().map(|((deployment, service), value)| ServiceLine {
            deployment: deployment.clone(),
            service: service.clone(),
            value: *value,
        }),
    )
}

pub(super) fn read(sections: &[Section]) -> Result<State, SnapshotError> {
    if let Some(unknown) = sections.iter().find(|s| !NAMES.contains(&s.name.as_str())) {
        return Err(SnapshotError::UnknownSection(unknown.name.clone()));
    }
    let mut state = State::default();
    for header in lines::<Header>(sections, HEADER)? {
        state.applied_index = header.applied_index;
    }
    for cluster in lines::<ClusterMeta>(sections, CLUSTER)? {
        state.put_cluster(cluster);
    }
    restore::<jaco_model::entity::Node>(&mut state, sections, NODES)?;
    restore::<jaco_model::entity::Deployment>(&mut state, sections, DEPLOYMENTS)?;
    restore::<jaco_model::entity::RevisionRecord>(&mut state, sections, REVISIONS)?;
    restore::<jaco_model::entity::Replica>(&mut state, sections, REPLICAS)?;
    restore::<jaco_model::entity::Instance>(&mut state, sections, INSTANCES)?;
    restore::<jaco_model::entity::Rollout>(&mut state, sections, ROLLOUTS)?;
    for line in lines::<ServiceLine<u32>>(sections, COUNTERS)? {
        state.put_counter((line.deployment, line.service), line.value);
    }
    for line in lines::<ServiceLine<Generation>>(sections, FLOORS)? {
        state.raise_floor((line.deployment, line.service), line.value);
    }
    restore::<jaco_model::entity::Volume>(&mut state, sections, VOLUMES)?;
    restore::<crate::RequestRecord>(&mut state, sections, REQUESTS)?;
    restore::<crate::AuditLine>(&mut state, sections, AUDIT)?;
    Ok(state)
}

fn restore<E: Entity + DeserializeOwned>(
    state: &mut State,
    sections: &[Section],
    name: &'static str,
) -> Result<(), SnapshotError> {
    for entity in lines::<E>(sections, name)? {
        state.put(entity);
    }
    Ok(())
}

fn lines<T: DeserializeOwned>(
    sections: &[Section],
    name: &'static str,
) -> Result<Vec<T>, SnapshotError> {
    let section = sections.iter().find(|section| section.name == name);
    let section = section.ok_or(SnapshotError::MissingSection(name))?;
    let mut values = Vec::new();
    for (i, line) in section.bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let value = serde_json::from_slice(line).map_err(|source| SnapshotError::Line {
            section: name,
            line: i as u64 + 1,
            source,
        })?;
        values.push(value);
    }
    let found = values.len() as u64;
    if found != section.count {
        return Err(SnapshotError::Count { section: name, expected: section.count, found });
    }
    Ok(values)
}
