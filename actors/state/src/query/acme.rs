//! Which domains want an automatic certificate, and what there is to show about each.

use super::routed_specs;
use crate::State;
use jaco_model::WallMs;
use jaco_model::spec::{Challenge, TlsMode};
use std::collections::BTreeMap;

/// One line about an automatic certificate; no key is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateRow {
    /// For which name.
    pub domain: String,
    /// Who issued it, or who is asked.
    pub environment: Option<&'static str>,
    /// Until when it is valid.
    pub not_after: Option<WallMs>,
    /// When it came.
    pub issued_at: Option<WallMs>,
    /// `issued`, `wanted`, `backoff`, or the state of its order.
    pub state: &'static str,
    /// Why the last order failed.
    pub last_error: Option<String>,
    /// When the next try is.
    pub next_attempt: Option<WallMs>,
}

/// Domains with a route that asks for a certificate by HTTP-01, with the contact of their owner;
/// empty without one.
pub fn acme_domains(state: &State) -> BTreeMap<String, String> {
    let mut domains = BTreeMap::new();
    for spec in routed_specs(state) {
        let contact = spec.acme_email.clone().unwrap_or_default();
        for route in &spec.routes {
            let by_http = route.tls == TlsMode::Auto && route.challenge == Challenge::Http;
            if by_http && !route.domain.starts_with('*') {
                domains.entry(route.domain.clone()).or_insert_with(|| contact.clone());
            }
        }
    }
    domains
}

/// Whether a route asks for an automatic certificate of a domain.
pub(crate) fn wants_certificate(state: &State, domain: &str) -> bool {
    acme_domains(state).contains_key(domain)
}

/// Whether a sweep would change something.
pub fn is_acme_due(state: &State, now: WallMs) -> bool {
    let ended = |token: &std::sync::Arc<jaco_model::entity::ChallengeToken>| {
        token.expires_at.is_some_and(|end| end <= now)
    };
    if state.challenge_tokens.values().any(ended) {
        return true;
    }
    let domains = acme_domains(state);
    let kept = crate::apply::UNUSED_KEPT.0;
    state.certificates.values().any(|certificate| {
        match (domains.contains_key(&certificate.domain), certificate.unused_since) {
            (true, since) => since.is_some(),
            (false, None) => true,
            (false, Some(since)) => now.0.saturating_sub(since.0) >= kept,
        }
    })
}

/// What is known of every automatic certificate, wanted or there, by domain.
pub fn certificates(state: &State) -> Vec<CertificateRow> {
    let mut domains: Vec<String> = acme_domains(state).into_keys().collect();
    domains.extend(state.certificates.keys().cloned());
    domains.sort();
    domains.dedup();
    domains.into_iter().map(|domain| row(state, domain)).collect()
}

fn row(state: &State, domain: String) -> CertificateRow {
    let known = state.certificates.get(&domain);
    let order = state.acme_orders.get(&domain);
    let issued = known.and_then(|known| known.issued.as_ref());
    let failure = known.and_then(|known| known.failure.as_ref());
    let shown = match (order, issued, failure) {
        (Some(order), ..) => order.state.as_str(),
        (None, _, Some(_)) => "backoff",
        (None, Some(_), None) => "issued",
        (None, None, None) => "wanted",
    };
    CertificateRow {
        environment: issued
            .map(|issued| issued.environment.as_str())
            .or_else(|| order.map(|order| order.kind.as_str())),
        not_after: issued.map(|issued| issued.not_after),
        issued_at: issued.map(|issued| issued.issued_at),
        state: shown,
        last_error: failure.map(|failure| failure.detail.clone()),
        next_attempt: failure.filter(|_| order.is_none()).map(|failure| failure.retry_at),
        domain,
    }
}
