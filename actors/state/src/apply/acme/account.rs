//! Accounts at authorities, and how we stand with those.

use super::stale;
use crate::apply::Tx;
use crate::query::ORDERS_WINDOW;
use jaco_model::Fault;
use jaco_model::command::AcmeChange;
use jaco_model::entity::{AccountFailure, AcmeAccount, AcmeStanding};

/// Most orders that are remembered; more than any budget allows.
const REMEMBERED: usize = 300;

type Key = (String, String);

pub(super) fn step(tx: &mut Tx<'_>, term: u64, change: &AcmeChange) -> Result<(), Fault> {
    match change {
        AcmeChange::Account { directory, contact, url, credentials } => {
            let key = (directory.clone(), contact.clone());
            if tx.state.acme_accounts.contains_key(&key) {
                return Err(stale(format!("there is an account at {directory} already")));
            }
            tx.state.put(AcmeAccount {
                directory: directory.clone(),
                contact: contact.clone(),
                url: url.clone(),
                credentials: credentials.clone(),
                held_until: None,
                term,
            });
            if let Some(standing) = tx.state.acme_standings.get(&key).cloned() {
                keep(tx, AcmeStanding { failure: None, term, ..standing.as_ref().clone() });
            }
        }
        AcmeChange::AccountFailed { directory, contact, detail, retry_at } => {
            let key = (directory.clone(), contact.clone());
            if tx.state.acme_accounts.contains_key(&key) {
                return Err(stale(format!("there is an account at {directory} already")));
            }
            let standing = standing(tx, &key, term)?;
            let before = standing.failure.as_ref();
            let failure = AccountFailure {
                detail: detail.clone(),
                attempts: before.map_or(1, |before| before.attempts.saturating_add(1)),
                since: before.map_or(tx.now, |before| before.since),
                retry_at: *retry_at,
            };
            keep(tx, AcmeStanding { failure: Some(failure), term, ..standing });
        }
        AcmeChange::Clock { directory, contact, suspicion } => {
            let standing = standing(tx, &(directory.clone(), contact.clone()), term)?;
            if standing.clock == *suspicion {
                return Err(stale(format!("nothing is new about the clock of {directory}")));
            }
            if standing.clock.is_some() != suspicion.is_some() {
                let facts = [("directory", directory.clone())];
                let is_over = suspicion.is_none();
                tx.audit(if is_over { "clock_skew_over" } else { "clock_skew" }, &facts);
            }
            keep(tx, AcmeStanding { clock: *suspicion, term, ..standing });
        }
        AcmeChange::AccountLost { directory, contact, url } => {
            let key = (directory.clone(), contact.clone());
            let account = account(tx, &key, term)?;
            if account.url != *url {
                return Err(stale(format!("the account at {directory} is another one now")));
            }
            tx.state.take::<AcmeAccount>(&key);
        }
        AcmeChange::Hold { directory, contact, until } => {
            let account = account(tx, &(directory.clone(), contact.clone()), term)?;
            if account.held_until.is_some_and(|held| held >= *until) {
                return Err(stale(format!("the account at {directory} is on hold for longer")));
            }
            tx.state.put(AcmeAccount { held_until: Some(*until), term, ..account });
        }
        _ => {}
    }
    Ok(())
}

/// An order that counts against the authority's limits.
pub(super) fn count(tx: &mut Tx<'_>, term: u64, key: Key) {
    let known = tx.state.acme_standings.get(&key).map(|known| known.as_ref().clone());
    let mut standing = known.unwrap_or_else(|| empty(&key));
    standing.orders.push(tx.now);
    standing.term = standing.term.max(term);
    keep(tx, standing);
}

/// The account, unless a later leader has written it.
fn account(tx: &Tx<'_>, key: &Key, term: u64) -> Result<AcmeAccount, Fault> {
    let account = tx.state.acme_accounts.get(key);
    let account = account.ok_or_else(|| stale(format!("there is no account at {}", key.0)))?;
    if account.term > term {
        return Err(stale(format!("a later leader has written about the account at {}", key.0)));
    }
    Ok(account.as_ref().clone())
}

fn empty((directory, contact): &Key) -> AcmeStanding {
    let (directory, contact) = (directory.clone(), contact.clone());
    AcmeStanding { directory, contact, ..AcmeStanding::default() }
}

/// How we stand with an authority, unless a later leader has written about it.
fn standing(tx: &Tx<'_>, key: &Key, term: u64) -> Result<AcmeStanding, Fault> {
    let known = tx.state.acme_standings.get(key).map(|known| known.as_ref().clone());
    let standing = known.unwrap_or_else(|| empty(key));
    if standing.term > term {
        return Err(stale(format!("a later leader has written about {}", key.0)));
    }
    Ok(standing)
}

/// Keeps what still matters.
fn keep(tx: &mut Tx<'_>, mut standing: AcmeStanding) {
    let now = tx.now;
    standing.orders.retain(|at| now.0.saturating_sub(at.0) < ORDERS_WINDOW.0);
    let n_extra = standing.orders.len().saturating_sub(REMEMBERED);
    standing.orders.drain(..n_extra);
    tx.state.put(standing);
}
