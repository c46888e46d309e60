//! Snapshot format 2: format 1 with the members that were and the rights to join.

use super::lines::{HEADER, Header, check_names, entities, numbers, restore, section};
use super::{Section, SnapshotError, v1};
use crate::State;
use jaco_model::entity::{JoinToken, Tombstone};

pub(super) const FORMAT: u32 = 2;

const TOMBSTONES: &str = "tombstones";
const JOIN_TOKENS: &str = "join_tokens";

pub(super) fn write(state: &State) -> Vec<Section> {
    let header = Header { format: FORMAT, applied_index: state.applied_index };
    vec![
        section(HEADER, [header]),
        section("cluster", state.cluster.iter()),
        entities("nodes", &state.nodes),
        entities("deployments", &state.deployments),
        entities("revisions", &state.revisions),
        entities("replicas", &state.replicas),
        entities("instances", &state.instances),
        entities("rollouts", &state.rollouts),
        numbers("counters", &state.counters),
        numbers("floors", &state.floors),
        entities("volumes", &state.volumes),
        entities("requests", &state.requests),
        entities("audit", &state.audit),
        entities(TOMBSTONES, &state.tombstones),
        entities(JOIN_TOKENS, &state.join_tokens),
    ]
}

pub(super) fn read(sections: &[Section]) -> Result<State, SnapshotError> {
    let names: Vec<&str> = v1::NAMES.into_iter().chain([TOMBSTONES, JOIN_TOKENS]).collect();
    check_names(sections, &names)?;
    let mut state = State::default();
    v1::read_into(&mut state, sections)?;
    restore::<Tombstone>(&mut state, sections, TOMBSTONES)?;
    restore::<JoinToken>(&mut state, sections, JOIN_TOKENS)?;
    Ok(state)
}
