//! Snapshot format 4: format 3 with automatic certificates. Read and carried forward, never
//! written.

use super::lines::{check_names, restore};
use super::{Section, SnapshotError, v3};
use crate::State;
use jaco_model::entity::{AcmeAccount, AcmeOrder, Certificate, ChallengeToken};

pub(super) const FORMAT: u32 = 4;

pub(super) const ACCOUNTS: &str = "acme_accounts";
pub(super) const ORDERS: &str = "acme_orders";
pub(super) const TOKENS: &str = "challenge_tokens";
pub(super) const CERTIFICATES: &str = "certificates";

/// The sections of this format, which format 5 kept as they are.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    v3::names().chain([ACCOUNTS, ORDERS, TOKENS, CERTIFICATES])
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
    v3::read_into(state, sections)?;
    restore::<AcmeAccount>(state, sections, ACCOUNTS)?;
    restore::<AcmeOrder>(state, sections, ORDERS)?;
    restore::<ChallengeToken>(state, sections, TOKENS)?;
    restore::<Certificate>(state, sections, CERTIFICATES)
}
