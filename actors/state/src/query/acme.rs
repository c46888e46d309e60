//! Which domains want an automatic certificate, and what there is to show about each.

use super::{RouteOf, owner_of, routed_specs};
use crate::State;
use jaco_model::entity::{CaKind, Certificate, CertificateFailure, ChallengeToken};
use jaco_model::spec::{Challenge, DeploymentSpec, DnsProvider, RouteSpec, SecretText, TlsMode};
use jaco_model::{Millis, WallMs};
use std::collections::BTreeMap;

/// How long it is tried to remove a record.
const RECORD_KEPT: Millis = Millis::secs(86_400);

/// One line about an automatic certificate; no key is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateRow {
    /// For which name.
    pub domain: String,
    /// Who issued it, or who is asked.
    pub environment: Option<&'static str>,
    /// Since when it is valid.
    pub not_before: Option<WallMs>,
    /// Until when it is valid.
    pub not_after: Option<WallMs>,
    /// When it came.
    pub issued_at: Option<WallMs>,
    /// `issued`, `wanted`, `backoff`, `preflight_failed`, `rate_limited`, `failed` when an operator
    /// is needed, or the state of its order.
    pub state: &'static str,
    /// Whom the order under way goes to.
    pub order: Option<CaKind>,
    /// Failures in a row.
    pub attempts: u32,
    /// A word for why the last order failed.
    pub class: Option<String>,
    /// Why the last order failed.
    pub last_error: Option<String>,
    /// When the next try is.
    pub next_attempt: Option<WallMs>,
}

/// How a domain wants its certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcmeWish {
    /// Mail address that its owner names; empty when it names none.
    pub contact: String,
    /// How the authority shall check the domain.
    pub challenge: Challenge,
}

/// Domains with a route that asks for an automatic certificate, as their owner wants it.
pub fn acme_domains(state: &State) -> BTreeMap<String, AcmeWish> {
    let mut routes: BTreeMap<&str, Vec<RouteOf<'_>>> = BTreeMap::new();
    for spec in routed_specs(state) {
        for route in spec.routes.iter().filter(|route| route.tls == TlsMode::Auto) {
            routes.entry(&route.domain).or_default().push((spec, route));
        }
    }
    let wish = |(domain, routes): (&str, Vec<RouteOf<'_>>)| {
        let (spec, route) = owner_of(&routes)?;
        let is_possible = route.challenge != Challenge::Http || !domain.starts_with('*');
        let contact = spec.acme_email.clone().unwrap_or_default();
        let wish = AcmeWish { contact, challenge: challenge(spec, route) };
        is_possible.then(|| (domain.to_owned(), wish))
    };
    routes.into_iter().filter_map(wish).collect()
}

/// How a route's domain is proven. A provider of the deployment's own goes by both names, so that
/// none of the cluster or of another deployment is taken for it.
fn challenge(spec: &DeploymentSpec, route: &RouteSpec) -> Challenge {
    match &route.challenge {
        Challenge::Dns(name) if spec.acme_dns.contains_key(name) => {
            Challenge::Dns(format!("{}/{name}", spec.name))
        }
        other => other.clone(),
    }
}

/// The provider of DNS-01 that a deployment brings, by the name that an order has for it, and the
/// content of the secret that it names. `None` for providers of the cluster's configuration.
pub fn own_provider<'s>(
    state: &'s State,
    name: &str,
) -> Option<(&'s DnsProvider, Option<&'s SecretText>)> {
    let (deployment, name) = name.split_once('/')?;
    let spec = routed_specs(state).find(|spec| spec.name.as_str() == deployment)?;
    let provider = spec.acme_dns.get(name)?;
    Some((provider, provider.method.secret().and_then(|secret| spec.secrets.get(secret))))
}

/// Whether a route asks for an automatic certificate of a domain.
pub(crate) fn wants_certificate(state: &State, domain: &str) -> bool {
    acme_domains(state).contains_key(domain)
}

/// When a token goes by its age; `None` while its order lives. A record must be removed where it was
/// published before; what cannot be removed there is forgotten after a day.
pub fn token_over_at(token: &ChallengeToken) -> Option<WallMs> {
    let kept = if token.record.is_some() { RECORD_KEPT.0 } else { 0 };
    token.expires_at.map(|end| WallMs(end.0.saturating_add(kept)))
}

/// Whether it is that time.
pub(crate) fn is_token_over(token: &ChallengeToken, now: WallMs) -> bool {
    token_over_at(token).is_some_and(|end| end <= now)
}

/// Whether a sweep would change something.
pub fn is_acme_due(state: &State, now: WallMs) -> bool {
    if state.challenge_tokens.values().any(|token| is_token_over(token, now)) {
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
    let wishes = acme_domains(state);
    let mut domains: Vec<&String> = wishes.keys().chain(state.certificates.keys()).collect();
    domains.sort();
    domains.dedup();
    domains.into_iter().map(|domain| row(state, domain, wishes.get(domain))).collect()
}

/// What is known of one domain's automatic certificate.
pub fn certificate(state: &State, domain: &str) -> CertificateRow {
    row(state, domain, acme_domains(state).get(domain))
}

fn row(state: &State, domain: &str, wish: Option<&AcmeWish>) -> CertificateRow {
    let known = state.certificates.get(domain);
    let order = state.acme_orders.get(domain);
    let issued = known.and_then(|known| known.issued.as_ref());
    let failure = known.and_then(|known| known.failure.as_ref());
    let without_account = || {
        let standings = state.acme_standings.values();
        let ours = |contact: &str| {
            wish.is_some_and(|wish| wish.contact.is_empty() || wish.contact == contact)
        };
        let failed = standings.filter(|standing| ours(&standing.contact));
        failed.filter_map(|standing| standing.failure.as_ref()).next()
    };
    let account = if order.is_some() || failure.is_some() { None } else { without_account() };
    let shown = match (order, issued, failure) {
        (Some(order), ..) => order.state.as_str(),
        (None, _, Some(failure)) => state_of(failure),
        (None, Some(_), None) => "issued",
        (None, None, None) if account.is_some() => "backoff",
        (None, None, None) => "wanted",
    };
    CertificateRow {
        environment: issued
            .map(|issued| issued.environment.as_str())
            .or_else(|| order.map(|order| order.kind.as_str())),
        not_before: issued.map(|issued| issued.not_before),
        not_after: issued.map(|issued| issued.not_after),
        issued_at: issued.map(|issued| issued.issued_at),
        state: shown,
        order: order.map(|order| order.kind),
        attempts: failure
            .map(|failure| failure.attempts)
            .or_else(|| account.map(|account| account.attempts))
            .unwrap_or_default(),
        class: failure
            .map(|failure| failure.class.clone())
            .or_else(|| account.map(|_| "account".to_owned())),
        last_error: failure
            .map(|failure| failure.detail.clone())
            .or_else(|| account.map(|account| account.detail.clone())),
        next_attempt: failure
            .filter(|_| order.is_none())
            .map(|failure| failure.retry_at)
            .or_else(|| account.map(|account| account.retry_at))
            .or_else(|| known.filter(|_| order.is_none()).and_then(|known| advised(known))),
        domain: domain.to_owned(),
    }
}

/// When its authority advised to renew what is served.
fn advised(known: &Certificate) -> Option<WallMs> {
    let (issued, advice) = known.issued.as_ref().zip(known.ari.as_ref())?;
    let window = advice.window.as_ref().filter(|_| advice.of == issued.issued_at)?;
    Some(window.chosen_at)
}

/// The state of a domain whose last order failed.
fn state_of(failure: &CertificateFailure) -> &'static str {
    match failure.class.as_str() {
        "preflight" => "preflight_failed",
        "rate_limited" => "rate_limited",
        "operator" => "failed",
        _ => "backoff",
    }
}
