//! Calls about certificates: one line for each domain that is served over TLS.

use crate::answer::Answer;
use crate::certificate::Leaf;
use crate::leaves::Leaves;
use crate::rows::stamp;
use crate::server::Api;
use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use jaco_model::entity::CaKind;
use jaco_model::spec::{DeploymentSpec, TlsMode};
use jaco_model::suggest::closest;
use jaco_model::view::CertificateView;
use jaco_model::{DeploymentName, ErrorCode, Fault, WallMs};
use jaco_state::{
    CertificateRow, CertificateStatus, RouteOf, State, certificates as certificates_of,
    own_certificate_alarm, owner_of, routed_specs, routes_of_host,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// `GET /v1/certificates`
pub(crate) async fn certificates(api: Data<Api>) -> Answer<HttpResponse> {
    let state = api.state()?;
    Ok(HttpResponse::Ok().json(rows(&state, None, &api.leaves, api.backend.now())))
}

/// `GET /v1/certificates/{domain}`
pub(crate) async fn one(api: Data<Api>, domain: Path<String>) -> Answer<HttpResponse> {
    let state = api.state()?;
    let domain = domain.into_inner();
    let rows = rows(&state, None, &api.leaves, api.backend.now());
    if let Some(row) = rows.iter().find(|row| row.domain == domain) {
        return Ok(HttpResponse::Ok().json(row));
    }
    let message = format!("no route is served with a certificate of \"{domain}\"");
    let fault = Fault::new(ErrorCode::NotFound, message).with("kind", "certificate");
    let near = closest(&domain, rows.iter().map(|row| row.domain.as_str()));
    let fault = fault.with("name", &domain);
    Err(near.map_or(fault.clone(), |near| fault.with("suggestion", near)).into())
}

/// All certificates that routes ask for, or those of a deployment's domains, by domain.
pub(crate) fn rows(
    state: &State,
    of: Option<&DeploymentName>,
    leaves: &Leaves,
    now: WallMs,
) -> Vec<CertificateView> {
    let mut domains: BTreeMap<&str, Vec<RouteOf<'_>>> = BTreeMap::new();
    for spec in routed_specs(state) {
        for route in &spec.routes {
            domains.entry(&route.domain).or_default().push((spec, route));
        }
    }
    let automatic: BTreeMap<String, CertificateRow> =
        certificates_of(state).into_iter().map(|row| (row.domain.clone(), row)).collect();
    leaves.keep(|domain| domains.contains_key(domain));
    let views = domains.into_iter().filter_map(|(domain, routes)| {
        let is_of = of.is_none_or(|of| routes.iter().any(|(spec, _)| spec.name == *of));
        let (owner, route) = owner_of(&routes)?;
        let view = match &route.tls {
            TlsMode::Own(secret) => {
                let text = owner.secrets.get(secret);
                own(text.map(|text| leaves.own(domain, text)), domain, secret, now)
            }
            _ => auto(state, automatic.get(domain)?, leaves, now),
        };
        is_of.then(|| CertificateView { deployments: names(&routes, owner), ..view })
    });
    views.collect()
}

/// Deployments of a domain, its owner first.
fn names(routes: &[RouteOf<'_>], owner: &DeploymentSpec) -> Vec<String> {
    let mut names = vec![owner.name.to_string()];
    for (spec, _) in routes {
        let name = spec.name.to_string();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// The line of a certificate that JACO gets.
fn auto(state: &State, row: &CertificateRow, leaves: &Leaves, now: WallMs) -> CertificateView {
    let known = state.certificates.get(&row.domain).filter(|known| known.issued.is_some());
    let issued = known.and_then(|known| known.issued.as_ref());
    let leaf = known.and_then(|known| leaves.automatic(known).ok());
    let kind = row.order.filter(|_| issued.is_none()).or(issued.map(|one| one.environment));
    CertificateView {
        domain: row.domain.clone(),
        environment: environment(kind).to_owned(),
        not_after: row.not_after.map(stamp),
        last_renewal_at: row.issued_at.map(stamp),
        state: row.status(now).as_str().to_owned(),
        issuer: leaf.as_ref().map(|leaf| leaf.issuer.clone()),
        names: leaf.map(|leaf| leaf.names.clone()).unwrap_or_default(),
        not_before: row.not_before.map(stamp),
        source: "auto".to_owned(),
        deployments: Vec::new(),
        step: Some(row.state.to_owned()),
        failures: row.attempts,
        alarm: row.alarm(now).map(|alarm| alarm.to_string()),
        reason: row.class.clone(),
        last_error: row.last_error.clone(),
        next_attempt_at: row.next_attempt.map(stamp),
    }
}

/// The line of a certificate that a user gave.
fn own(
    read: Option<Result<Arc<Leaf>, String>>,
    domain: &str,
    secret: &str,
    now: WallMs,
) -> CertificateView {
    let absent = || Err("its secret was not sent with the deployment".to_owned());
    let read = read.unwrap_or_else(absent);
    let view = CertificateView {
        domain: domain.to_owned(),
        environment: environment(None).to_owned(),
        source: secret.to_owned(),
        ..CertificateView::default()
    };
    let leaf = match read {
        Ok(leaf) => leaf,
        Err(why) => {
            let state = CertificateStatus::Failed.as_str().to_owned();
            return CertificateView { state, last_error: Some(why), ..view };
        }
    };
    let status = match leaf.not_after <= now {
        true => CertificateStatus::Expired,
        false => CertificateStatus::Active,
    };
    CertificateView {
        state: status.as_str().to_owned(),
        alarm: own_certificate_alarm(leaf.not_after, now).map(|alarm| alarm.to_string()),
        not_after: Some(stamp(leaf.not_after)),
        not_before: Some(stamp(leaf.not_before)),
        issuer: Some(leaf.issuer.clone()),
        names: leaf.names.clone(),
        ..view
    }
}

/// Until when the certificate is valid that a user gave for a host, or why it cannot be read;
/// `None` when there is none.
pub fn own_end(state: &State, host: &str) -> Option<Result<WallMs, String>> {
    let (owner, route) = owner_of(&routes_of_host(state, host))?;
    let TlsMode::Own(secret) = &route.tls else { return None };
    Some(Leaf::read(owner.secrets.get(secret)?.reveal()).map(|leaf| leaf.not_after))
}

/// Which kind of authority, as views call it.
fn environment(kind: Option<CaKind>) -> &'static str {
    match kind {
        Some(CaKind::Production) => "prod",
        Some(CaKind::Staging) => "staging",
        Some(CaKind::Custom) => "custom",
        None => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400_000;

    /// A certificate that ends on day 20,000, with its key.
    fn pem(name: &str) -> String {
        let mut parts = rcgen::CertificateParams::new([name.to_owned()]).unwrap();
        parts.not_before = rcgen::date_time_ymd(2024, 1, 1);
        parts.not_after = rcgen::date_time_ymd(2024, 10, 4);
        parts.distinguished_name.push(rcgen::DnType::CommonName, "the house's authority");
        let key = rcgen::KeyPair::generate().unwrap();
        parts.self_signed(&key).unwrap().pem() + &key.serialize_pem()
    }

    #[test]
    fn an_own_certificate_speaks_for_itself() {
        let text = pem("shop.test");
        let read = || Some(Leaf::read(&text).map(Arc::new));
        let view = own(read(), "shop.test", "door", WallMs(19_990 * DAY));
        assert_eq!((view.state.as_str(), view.source.as_str()), ("active", "door"));
        assert_eq!(view.issuer.as_deref(), Some("the house's authority"));
        assert_eq!(view.names, ["shop.test"]);
        assert_eq!(view.not_after.as_deref(), Some("2024-10-04T00:00:00Z"));
        assert_eq!(view.alarm.as_deref(), Some("it ends in 10 days"));
        let late = own(read(), "shop.test", "door", WallMs(20_001 * DAY));
        assert_eq!(late.state, "expired");
    }

    #[test]
    fn an_own_certificate_that_cannot_be_read_has_failed() {
        let read = Leaf::read("nonsense").map(Arc::new);
        let view = own(Some(read), "shop.test", "door", WallMs(0));
        assert_eq!(view.state, "failed");
        assert!(view.last_error.unwrap().contains("no certificate"), "{:?}", view.reason);
        assert!(!format!("{:?}", view.alarm).contains("nonsense"));
    }
}
