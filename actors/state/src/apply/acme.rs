//! Steps of automatic certificates. Each names the order it is about, so that what comes late or
//! twice changes nothing; a leader that was deposed is told by its term.

mod account;
mod end;

use super::Tx;
use crate::query::{order_allowed_at, wants_certificate};
use jaco_model::command::{AcmeChange, AcmeStep, Reply};
use jaco_model::entity::{
    AcmeOrder, Certificate, ChallengeRecord, ChallengeToken, IssuedCertificate, OrderState,
    RenewalAdvice,
};
use jaco_model::event::Event;
use jaco_model::spec::Challenge;
use jaco_model::{ErrorCode, Fault, Millis};

/// How long a certificate is kept that no route asks for.
pub(crate) const UNUSED_KEPT: Millis = Millis::secs(7 * 86_400);

pub(super) fn step(tx: &mut Tx<'_>, step: &AcmeStep) -> Result<Reply, Fault> {
    let term = step.term;
    match &step.change {
        AcmeChange::Account { .. }
        | AcmeChange::AccountFailed { .. }
        | AcmeChange::AccountLost { .. }
        | AcmeChange::Clock { .. }
        | AcmeChange::Hold { .. } => account::step(tx, term, &step.change)?,
        AcmeChange::Sweep => end::sweep(tx),
        AcmeChange::Begin { domain, .. } => begin(tx, term, domain, &step.change)?,
        AcmeChange::Advice { domain, advice } => advise(tx, term, domain, advice)?,
        AcmeChange::RecordRemoved { domain, token } => {
            let key = (domain.clone(), token.clone());
            let known = tx.state.challenge_tokens.get(&key);
            if known.is_none_or(|known| known.record.is_none() || known.expires_at.is_none()) {
                return Err(stale(format!("{domain} has no such record that ended")));
            }
            tx.state.take::<ChallengeToken>(&key);
            changed(tx, domain);
        }
        AcmeChange::Failed { domain, order, class, detail, retry_at } => {
            let old = current(tx, domain, order.as_deref(), term)?;
            end::fail(tx, &old, class, detail, *retry_at);
        }
        AcmeChange::Preflighted { .. }
        | AcmeChange::NotReplacing { .. }
        | AcmeChange::Wait { .. }
        | AcmeChange::Ordered { .. }
        | AcmeChange::Challenge { .. }
        | AcmeChange::Validating { .. }
        | AcmeChange::Finalizing { .. }
        | AcmeChange::Issued { .. } => advance(tx, term, &step.change)?,
    }
    Ok(Reply::Done)
}

fn stale(message: String) -> Fault {
    Fault::new(ErrorCode::Conflict, message).with("operation", "acme")
}

fn changed(tx: &mut Tx<'_>, domain: &str) {
    tx.events.push(Event::CertificateChanged { domain: domain.to_owned() });
}

/// The domain's order, when it is the one that is meant and no later leader has it.
fn current(tx: &Tx<'_>, domain: &str, url: Option<&str>, term: u64) -> Result<AcmeOrder, Fault> {
    let order = tx.state.acme_orders.get(domain);
    let order = order.ok_or_else(|| stale(format!("{domain} has no order")))?;
    if order.url.as_deref() != url {
        return Err(stale(format!("the order of {domain} is another one now")));
    }
    if order.term > term {
        return Err(stale(format!("a later leader has the order of {domain}")));
    }
    Ok(order.as_ref().clone())
}

fn record(tx: &Tx<'_>, domain: &str) -> Certificate {
    let known = tx.state.certificates.get(domain).map(|known| known.as_ref().clone());
    known.unwrap_or_else(|| Certificate { domain: domain.to_owned(), ..Certificate::default() })
}

fn begin(tx: &mut Tx<'_>, term: u64, domain: &str, change: &AcmeChange) -> Result<(), Fault> {
    let AcmeChange::Begin {
        directory, contact, kind, challenge, replaces, preflight, counted, ..
    } = change
    else {
        return Ok(());
    };
    let certificate = record(tx, domain);
    if tx.state.acme_orders.contains_key(domain) {
        return Err(stale(format!("{domain} has an order already")));
    }
    if certificate.term > term {
        return Err(stale(format!("a later leader has written about {domain}")));
    }
    if !wants_certificate(tx.state, domain) {
        return Err(stale(format!("no route asks for a certificate of {domain}")));
    }
    if *counted {
        let account = (directory.clone(), contact.clone());
        let from = order_allowed_at(tx.state, &account, domain, *kind, tx.now);
        if from > tx.now {
            return Err(stale(format!("the limits of {directory} are used up for {domain}")));
        }
        // What fails its preflight is never asked for.
        if !preflight {
            account::count(tx, term, account);
        }
    }
    let attempt = certificate.failure.as_ref().map_or(1, |failure| failure.attempts + 1);
    tx.state.put(Certificate { term, unused_since: None, ..certificate });
    tx.state.put(AcmeOrder {
        domain: domain.to_owned(),
        directory: directory.clone(),
        contact: contact.clone(),
        kind: *kind,
        challenge: challenge.clone(),
        replaces: replaces.clone(),
        counted: *counted,
        state: if *preflight { OrderState::Preflight } else { OrderState::Ordering },
        url: None,
        challenge_url: None,
        token: None,
        not_before: None,
        attempt,
        started_at: tx.now,
        term,
    });
    changed(tx, domain);
    Ok(())
}

/// Advice about a certificate that is not the current one any more is of no use.
fn advise(tx: &mut Tx<'_>, term: u64, domain: &str, advice: &RenewalAdvice) -> Result<(), Fault> {
    let certificate = record(tx, domain);
    if certificate.term > term {
        return Err(stale(format!("a later leader has written about {domain}")));
    }
    if certificate.issued.as_ref().is_none_or(|issued| issued.issued_at != advice.of) {
        return Err(stale(format!("the certificate of {domain} is another one now")));
    }
    tx.state.put(Certificate { ari: Some(advice.clone()), term, ..certificate });
    changed(tx, domain);
    Ok(())
}

/// The authority does not take the order as a renewal. What is none counts.
fn replace_nothing(tx: &mut Tx<'_>, term: u64, domain: &str) -> Result<(), Fault> {
    let old = current(tx, domain, None, term)?;
    if old.replaces.is_none() {
        return Err(stale(format!("the order of {domain} replaces nothing")));
    }
    if !old.counted {
        account::count(tx, term, (old.directory.clone(), old.contact.clone()));
    }
    put(tx, AcmeOrder { replaces: None, counted: true, term, ..old });
    Ok(())
}

fn advance(tx: &mut Tx<'_>, term: u64, change: &AcmeChange) -> Result<(), Fault> {
    match change {
        AcmeChange::Preflighted { domain } => {
            let old = current(tx, domain, None, term)?;
            expect(&old, old.state == OrderState::Preflight)?;
            if old.counted {
                account::count(tx, term, (old.directory.clone(), old.contact.clone()));
            }
            put(tx, AcmeOrder { state: OrderState::Ordering, term, ..old });
        }
        AcmeChange::Wait { domain, order, until } => {
            let old = current(tx, domain, order.as_deref(), term)?;
            put(tx, AcmeOrder { not_before: Some(*until), term, ..old });
        }
        AcmeChange::NotReplacing { domain } => replace_nothing(tx, term, domain)?,
        AcmeChange::Ordered { domain, url } => {
            let old = current(tx, domain, None, term)?;
            expect(&old, old.state == OrderState::Ordering)?;
            put(tx, AcmeOrder { url: Some(url.clone()), term, ..old });
        }
        AcmeChange::Challenge { domain, order, url, token, key_authorisation, record } => {
            let old = current(tx, domain, Some(order), term)?;
            expect(&old, old.state == OrderState::Ordering)?;
            tx.state.put(ChallengeToken {
                domain: domain.clone(),
                token: token.clone(),
                key_authorisation: key_authorisation.clone(),
                record: published(&old, record.as_deref())?,
                index: tx.index,
                expires_at: None,
            });
            let (challenge_url, token) = (Some(url.clone()), Some(token.clone()));
            let state = OrderState::ChallengeReady;
            put(tx, AcmeOrder { state, challenge_url, token, term, ..old });
        }
        AcmeChange::Validating { domain, order } => {
            let old = current(tx, domain, Some(order), term)?;
            expect(&old, matches!(old.state, OrderState::Ordering | OrderState::ChallengeReady))?;
            put(tx, AcmeOrder { state: OrderState::Validating, term, ..old });
        }
        AcmeChange::Finalizing { domain, order, key } => {
            let old = current(tx, domain, Some(order), term)?;
            // Never a second key: the authority may have certified the first.
            expect(&old, old.state == OrderState::Validating)?;
            let state = OrderState::Finalizing { key: key.clone() };
            put(tx, AcmeOrder { state, term, ..old });
        }
        AcmeChange::Issued { domain, order, chain, not_before, not_after } => {
            // A certificate is welcome from a deposed leader too.
            let old = current(tx, domain, Some(order), u64::MAX)?;
            let OrderState::Finalizing { key } = &old.state else {
                return expect(&old, false);
            };
            let issued = IssuedCertificate {
                chain: chain.clone(),
                key: key.clone(),
                not_before: *not_before,
                not_after: *not_after,
                issued_at: tx.now,
                environment: old.kind,
                directory: old.directory.clone(),
            };
            end::succeed(tx, &old, issued);
        }
        _ => {}
    }
    Ok(())
}

fn expect(order: &AcmeOrder, holds: bool) -> Result<(), Fault> {
    match holds {
        true => Ok(()),
        false => {
            let (domain, state) = (&order.domain, order.state.as_str());
            Err(stale(format!("the order of {domain} is {state}")))
        }
    }
}

/// The record of an order by DNS-01; one by HTTP-01 has none.
fn published(order: &AcmeOrder, value: Option<&str>) -> Result<Option<ChallengeRecord>, Fault> {
    match (&order.challenge, value) {
        (Challenge::Http, None) => Ok(None),
        (Challenge::Dns(provider), Some(value)) => {
            Ok(Some(ChallengeRecord { provider: provider.clone(), value: value.to_owned() }))
        }
        _ => Err(stale(format!("the order of {} is by another challenge", order.domain))),
    }
}

fn put(tx: &mut Tx<'_>, order: AcmeOrder) {
    let domain = order.domain.clone();
    tx.state.put(order);
    changed(tx, &domain);
}
