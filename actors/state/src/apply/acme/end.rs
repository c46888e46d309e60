//! Ends: of orders, of what is answered to challenges, of certificates nobody asks for.

use super::{UNUSED_KEPT, changed, record};
use crate::apply::Tx;
use crate::query::{CERTIFICATES_WINDOW, acme_domains, is_acme_due, is_token_over};
use jaco_model::entity::{
    AcmeOrder, CaKind, Certificate, CertificateFailure, ChallengeToken, IssuedCertificate,
};
use jaco_model::{Millis, WallMs};

/// How long a token is answered after its order has ended: authorities look more than once.
const TOKEN_KEPT: Millis = Millis::secs(600);
/// Most certificates of a domain that are remembered.
const REMEMBERED: usize = 64;

/// Ends an order; its token lives on for a while.
fn end(tx: &mut Tx<'_>, order: &AcmeOrder) {
    tx.state.take::<AcmeOrder>(&order.domain);
    if let Some(token) = &order.token {
        let key = (order.domain.clone(), token.clone());
        if let Some(kept) = tx.state.challenge_tokens.get(&key).cloned() {
            // A record is not asked for again, and stands in the way of others.
            let kept_for = if kept.record.is_some() { 0 } else { TOKEN_KEPT.0 };
            let expires_at = Some(WallMs(tx.now.0.saturating_add(kept_for)));
            tx.state.put(ChallengeToken { expires_at, ..kept.as_ref().clone() });
        }
    }
    changed(tx, &order.domain);
}

pub(super) fn succeed(tx: &mut Tx<'_>, order: &AcmeOrder, issued: IssuedCertificate) {
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
        certificate.ari = None;
        if order.counted {
            count(&mut certificate.counted, tx.now);
        }
    }
    tx.state.put(certificate);
    end(tx, order);
    facts.push(("attempt", order.attempt.to_string()));
    tx.audit(if is_renewal { "certificate_renewed" } else { "certificate_issued" }, &facts);
}

fn count(counted: &mut Vec<WallMs>, now: WallMs) {
    counted.push(now);
    counted.retain(|at| now.0.saturating_sub(at.0) < CERTIFICATES_WINDOW.0);
    let n_extra = counted.len().saturating_sub(REMEMBERED);
    counted.drain(..n_extra);
}

pub(super) fn fail(
    tx: &mut Tx<'_>,
    order: &AcmeOrder,
    class: &str,
    detail: &str,
    retry_at: WallMs,
) {
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

pub(super) fn sweep(tx: &mut Tx<'_>) {
    let now = tx.now;
    if !is_acme_due(tx.state, now) {
        return;
    }
    let all = tx.state.challenge_tokens.values();
    let ended: Vec<_> = all.filter(|token| is_token_over(token, now)).cloned().collect();
    for token in ended {
        tx.state.take::<ChallengeToken>(&(token.domain.clone(), token.token.clone()));
        changed(tx, &token.domain);
    }
    let wanted = acme_domains(tx.state);
    let all: Vec<_> = tx.state.certificates.values().cloned().collect();
    for certificate in all {
        let domain = &certificate.domain;
        let is_wanted = wanted.contains_key(domain);
        let unused_since = (!is_wanted).then(|| certificate.unused_since.unwrap_or(now));
        if unused_since.is_some_and(|since| now.0.saturating_sub(since.0) >= UNUSED_KEPT.0) {
            tx.state.take::<Certificate>(domain);
            changed(tx, domain);
        } else if unused_since != certificate.unused_since {
            tx.state.put(Certificate { unused_since, ..certificate.as_ref().clone() });
        }
    }
}
