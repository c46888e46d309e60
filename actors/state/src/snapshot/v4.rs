//! Snapshot format 4: format 3 with automatic certificates.

use super::lines::{HEADER, Header, check_names, entities, numbers, restore, section};
use super::v2::{JOIN_TOKENS, TOMBSTONES};
use super::v3::{BLOCKS, QUARANTINE, SCOPES};
use super::{Section, SnapshotError, v3};
use crate::State;
use jaco_model::entity::{AcmeAccount, AcmeOrder, Certificate, ChallengeToken};

pub(super) const FORMAT: u32 = 4;

const ACCOUNTS: &str = "acme_accounts";
const ORDERS: &str = "acme_orders";
const TOKENS: &str = "challenge_tokens";
const CERTIFICATES: &str = "certificates";

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
    ]
}

pub(super) fn read(sections: &[Section]) -> Result<State, SnapshotError> {
    let names: Vec<&str> = v3::names().chain([ACCOUNTS, ORDERS, TOKENS, CERTIFICATES]).collect();
    check_names(sections, &names)?;
    let mut state = State::default();
    v3::read_into(&mut state, sections)?;
    restore::<AcmeAccount>(&mut state, sections, ACCOUNTS)?;
    restore::<AcmeOrder>(&mut state, sections, ORDERS)?;
    restore::<ChallengeToken>(&mut state, sections, TOKENS)?;
    restore::<Certificate>(&mut state, sections, CERTIFICATES)?;
    Ok(state)
}
