//! What all snapshot formats share: entities as lines of a section.

use super::{Section, SnapshotError};
use crate::State;
use crate::digest::canonical;
use crate::store::Entity;
use imbl::OrdMap;
use jaco_model::{DeploymentName, ServiceName};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The section that begins every format.
pub(super) const HEADER: &str = "state";

/// The one line of the first section.
#[derive(Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) format: u32,
    pub(super) applied_index: u64,
}

#[derive(Deserialize)]
struct AnyHeader {
    format: u32,
}

/// A number kept for a service after the service is gone.
#[derive(Serialize, Deserialize)]
pub(super) struct ServiceLine<T> {
    pub(super) deployment: DeploymentName,
    pub(super) service: ServiceName,
    pub(super) value: T,
}

/// The format number of any version's sections.
pub(super) fn format(sections: &[Section]) -> Result<u32, SnapshotError> {
    let header: Vec<AnyHeader> = lines(sections, HEADER)?;
    header.first().map(|header| header.format).ok_or(SnapshotError::MissingSection(HEADER))
}

/// Refuses sections of other names than `known`.
pub(super) fn check_names(sections: &[Section], known: &[&str]) -> Result<(), SnapshotError> {
    match sections.iter().find(|section| !known.contains(&section.name.as_str())) {
        Some(unknown) => Err(SnapshotError::UnknownSection(unknown.name.clone())),
        None => Ok(()),
    }
}

pub(super) fn section<T: Serialize>(name: &str, values: impl IntoIterator<Item = T>) -> Section {
    let mut section = Section { name: name.to_owned(), count: 0, bytes: Vec::new() };
    for value in values {
        section.bytes.extend(canonical(&value));
        section.bytes.push(b'\n');
        section.count += 1;
    }
    section
}

pub(super) fn entities<K: Ord, E: Entity>(name: &str, entities: &OrdMap<K, Arc<E>>) -> Section {
    section(name, entities.values().map(Arc::as_ref))
}

pub(super) fn numbers<T: Serialize + Copy>(
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

pub(super) fn restore<E: Entity + DeserializeOwned>(
    state: &mut State,
    sections: &[Section],
    name: &'static str,
) -> Result<(), SnapshotError> {
    for entity in lines::<E>(sections, name)? {
        state.put(entity);
    }
    Ok(())
}

pub(super) fn lines<T: DeserializeOwned>(
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
