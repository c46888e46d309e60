//! Steps of automatic certificates. Each names the order it is about, so that what comes late or
//! twice changes nothing; a leader that was deposed is told by its term.

use super::Tx;
use crate::query::{is_acme_due, wants_certificate};
use jaco_model::command::{AcmeChange, AcmeStep, Reply};
use jaco_model::entity::{
    AcmeAccount, AcmeOrder, CaKind, Certificate, CertificateFailure, ChallengeToken,
    IssuedCertificate, OrderState,
};
use jaco_model::event::Event;
use jaco_model::{ErrorCode, Fault, Millis, WallMs};

/// How long a token is answered after its order has ended: authorities look more than once.
const TOKEN_KEPT: Millis = Millis::secs(600);
/// How long a certificate is kept that no route asks for.
pub(crate) const UNUSED_KEPT: Millis = Millis::secs(7 * 86_400);

pub(super) fn step(tx: &mut Tx<'_>, step: &AcmeStep) -> Result<Reply, Fault> {
    let term = step.term;
    match &step.change {
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
            let held_until = Some(account.held_until.map_or(*until, |held| held.max(*until)));
            tx.state.put(AcmeAccount { held_until, term, ..account });
        }
        AcmeChange::Sweep => sweep(tx),
        AcmeChange::Begin { domain, directory, contact, kind } => {
            let account = (directory.clone(), contact.clone());
            begin(tx, term, domain, account, *kind)?;
        }
        AcmeChange::Failed { domain, order, class, detail, retry_at } => {
            let old = current(tx, domain, order.as_deref(), term)?;
            fail(tx, &old, class, detail, *retry_at);
        }
        AcmeChange::Ordered { .. }
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

/// The account, unless a later leader has written it.
fn account(tx: &Tx<'_>, key: &(String, String), term: u64) -> Result<AcmeAccount, Fault> {
    let account = tx.state.acme_accounts.get(key);
    let account = account.ok_or_else(|| stale(format!("there is no account at {}", key.0)))?;
    if account.term > term {
        return Err(stale(format!("a later leader has written about the account at {}", key.0)));
    }
    Ok(account.as_ref().clone())
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

fn begin(
    tx: &mut Tx<'_>,
    term: u64,
    domain: &str,
    (directory, contact): (String, String),
    kind: CaKind,
) -> Result<(), Fault> {
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
    let attempt = certificate.failure.as_ref().map_or(1, |failure| failure.attempts + 1);
    tx.state.put(Certificate { term, unused_since: None, ..certificate });
    tx.state.put(AcmeOrder {
        domain: domain.to_owned(),
        directory,
        contact,
        kind,
        state: OrderState::Ordering,
        url: None,
        challenge_url: None,
        token: None,
        attempt,
        started_at: tx.now,
        term,
    });
    changed(tx, domain);
    Ok(())
}

fn advance(tx: &mut Tx<'_>, term: u64, change: &AcmeChange) -> Result<(), Fault> {
    match change {
        AcmeChange::Ordered { domain, url } => {
            let old = current(tx, domain, None, term)?;
            put(tx, AcmeOrder { url: Some(url.clone()), term, ..old });
        }
        AcmeChange::Challenge { domain, order, url, token, key_authorisation } => {
            let old = current(tx, domain, Some(order), term)?;
            expect(&old, old.state == OrderState::Ordering)?;
            tx.state.put(ChallengeToken {
                domain: domain.clone(),
                token: token.clone(),
                key_authorisation: key_authorisation.clone(),
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
            succeed(tx, &old, issued);
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

fn put(tx: &mut Tx<'_>, order: AcmeOrder) {
    let domain = order.domain.clone();
    tx.state.put(order);
    changed(tx, &domain);
}

/// Ends an order; its token lives on for a while.
fn end(tx: &mut Tx<'_>, order: &AcmeOrder) {
    tx.state.take::<AcmeOrder>(&order.domain);
    if let Some(token) = &order.token {
        let key = (order.domain.clone(), token.clone());
        if let Some(kept) = tx.state.challenge_tokens.get(&key).cloned() {
            let expires_at = Some(WallMs(tx.now.0.saturating_add(TOKEN_KEPT.0)));
            tx.state.put(ChallengeToken { expires_at, ..kept.as_ref().clone() });
        }
    }
    changed(tx, &order.domain);
}

fn succeed(tx: &mut Tx<'_>, order: &AcmeOrder, issued: IssuedCertificate) {
    let mut certificate = record(tx, &order.domain);
    let is_renewal = certificate.issued.is_some();
    let mut facts = vec![
        ("domain", order.domain.clone()),
        ("env", order.kind.as_str().to_owned()),
        ("not_after", issued.not_after.to_string()),
    ];
    certificate.failure = None;
    certificate.term = certificate.term.max(order.term);
    if order.kind == CaKind::Staging {
        certificate.staged_at = Some(tx.now);
    } else {
        certificate.issued = Some(issued);
        certificate.staged_at = None;
    }
    tx.state.put(certificate);
    end(tx, order);
    facts.push(("attempt", order.attempt.to_string()));
    tx.audit(if is_renewal { "certificate_renewed" } else { "certificate_issued" }, &facts);
}

fn fail(tx: &mut Tx<'_>, order: &AcmeOrder, class: &str, detail: &str, retry_at: WallMs) {
    let mut certificate = record(tx, &order.domain);
    let since = certificate.failure.as_ref().map_or(tx.now, |failure| failure.since);
    let stage = order.state.as_str().to_owned();
    certificate.failure = Some(CertificateFailure {
        stage: stage.clone(),
        class: class.to_owned(),
        detail: detail.to_owned(),
        attempts: order.attempt,
        since,
        retry_at,
    });
    certificate.term = certificate.term.max(order.term);
    tx.state.put(certificate);
    end(tx, order);
    let facts = [
        ("domain", order.domain.clone()),
        ("env", order.kind.as_str().to_owned()),
        ("stage_failed_at", stage),
        ("failure_class", class.to_owned()),
        ("retry_after", retry_at.to_string()),
        ("detail", detail.to_owned()),
    ];
    tx.audit("certificate_failed", &facts);
}

fn sweep(tx: &mut Tx<'_>) {
    let now = tx.now;
    if !is_acme_due(tx.state, now) {
        return;
    }
    let is_over =
        |token: &&std::sync::Arc<ChallengeToken>| token.expires_at.is_some_and(|end| end <= now);
    let ended: Vec<_> = tx.state.challenge_tokens.values().filter(is_over).cloned().collect();
    for token in ended {
        tx.state.take::<ChallengeToken>(&(token.domain.clone(), token.token.clone()));
        changed(tx, &token.domain);
    }
    let all: Vec<_> = tx.state.certificates.values().cloned().collect();
    for certificate in all {
        let domain = &certificate.domain;
        let is_wanted = wants_certificate(tx.state, domain);
        let unused_since = (!is_wanted).then(|| certificate.unused_since.unwrap_or(now));
        if unused_since.is_some_and(|since| now.0.saturating_sub(since.0) >= UNUSED_KEPT.0) {
            tx.state.take::<Certificate>(domain);
            changed(tx, domain);
        } else if unused_since != certificate.unused_since {
            tx.state.put(Certificate { unused_since, ..certificate.as_ref().clone() });
        }
    }
}
