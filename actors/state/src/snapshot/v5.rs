//! Snapshot format 5: format 4 with how we stand with authorities.

use super::lines::{HEADER, Header, check_names, entities, numbers, restore, section};
use super::v2::{JOIN_TOKENS, TOMBSTONES};
use super::v3::{BLOCKS, QUARANTINE, SCOPES};
use super::v4::{ACCOUNTS, CERTIFICATES, ORDERS, TOKENS};
use super::{Section, SnapshotError, v4};
use crate::State;
use jaco_model::entity::AcmeStanding;

pub(super) const FORMAT: u32 = 5;

const STANDINGS: &str = "acme_standings";

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
        entities(ACCOUNTS, &state.acme_accounts),
        entities(ORDERS, &state.acme_orders),
        entities(TOKENS, &state.challenge_tokens),
        entities(CERTIFICATES, &state.certificates),
        entities(STANDINGS, &state.acme_standings),
    ]
}

pub(super) fn read(sections: &[Section]) -> Result<State, SnapshotError> {
    let names: Vec<&str> = v4::names().chain([STANDINGS]).collect();
    check_names(sections, &names)?;
    let mut state = State::default();
    v4::read_into(&mut state, sections)?;
    restore::<AcmeStanding>(&mut state, sections, STANDINGS)?;
    Ok(state)
}
