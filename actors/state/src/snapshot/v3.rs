//! Snapshot format 3: format 2 with the addresses of networks.

use super::lines::{HEADER, Header, check_names, entities, numbers, restore, section};
use super::v2::{JOIN_TOKENS, TOMBSTONES};
use super::{Section, SnapshotError, v2};
use crate::State;
use jaco_model::entity::{Block, Quarantine, ScopeRecord};

pub(super) const FORMAT: u32 = 3;

const SCOPES: &str = "scopes";
const BLOCKS: &str = "blocks";
const QUARANTINE: &str = "quarantine";

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
        entities(SCOPES, &state.scopes),
        entities(BLOCKS, &state.blocks),
        entities(QUARANTINE, &state.quarantine),
    ]
}

pub(super) fn read(sections: &[Section]) -> Result<State, SnapshotError> {
    let names: Vec<&str> = v2::names().chain([SCOPES, BLOCKS, QUARANTINE]).collect();
    check_names(sections, &names)?;
    let mut state = State::default();
    v2::read_into(&mut state, sections)?;
    restore::<ScopeRecord>(&mut state, sections, SCOPES)?;
    restore::<Block>(&mut state, sections, BLOCKS)?;
    restore::<Quarantine>(&mut state, sections, QUARANTINE)?;
    Ok(state)
}
