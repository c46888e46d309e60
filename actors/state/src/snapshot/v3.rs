//! Snapshot format 3: format 2 with the addresses of networks. Read and carried forward, never
//! written.

use super::lines::{check_names, restore};
use super::{Section, SnapshotError, v2};
use crate::State;
use jaco_model::entity::{Block, Quarantine, ScopeRecord};

pub(super) const FORMAT: u32 = 3;

pub(super) const SCOPES: &str = "scopes";
pub(super) const BLOCKS: &str = "blocks";
pub(super) const QUARANTINE: &str = "quarantine";

/// The sections of this format, which format 4 kept as they are.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    v2::names().chain([SCOPES, BLOCKS, QUARANTINE])
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
    v2::read_into(state, sections)?;
    restore::<ScopeRecord>(state, sections, SCOPES)?;
    restore::<Block>(state, sections, BLOCKS)?;
    restore::<Quarantine>(state, sections, QUARANTINE)
}
