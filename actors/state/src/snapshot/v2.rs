//! Snapshot format 2: format 1 with the members that were and the rights to join. Read and carried
//! forward, never written.

use super::lines::{check_names, restore};
use super::{Section, SnapshotError, v1};
use crate::State;
use jaco_model::entity::{JoinToken, Tombstone};

pub(super) const FORMAT: u32 = 2;

pub(super) const TOMBSTONES: &str = "tombstones";
pub(super) const JOIN_TOKENS: &str = "join_tokens";

/// The sections of this format, which format 3 kept as they are.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    v1::NAMES.into_iter().chain([TOMBSTONES, JOIN_TOKENS])
}

pub(super) fn read(sections: &[Section]) -> Result<State, SnapshotError> {
    let names: Vec<&str> = names().collect();
    check_names(sections, &names)?;
    let mut state = State::default();
    read_into(&mut state, sections)?;
    Ok(state)
}

/// Reads the sections of this format, also for a later one that has them unchanged.
pub(super) fn read_into(state: &mut State, sections: &[Section]) -> Result<(), SnapshotError> {
    v1::read_into(state, sections)?;
    restore::<Tombstone>(state, sections, TOMBSTONES)?;
    restore::<JoinToken>(state, sections, JOIN_TOKENS)
}
