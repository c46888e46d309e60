//! Routes against services, secrets and each other.

use super::cx::{Cx, Spot};
use super::graph::unknown_service;
use super::objects::Declared;
use super::route_secrets::RouteSecrets;
use super::routes::Route;
use super::service_index::Services;
use crate::{Problem, Reason};
use jaco_model::ErrorCode;
use jaco_model::spec::{NetworkMode, RouteSpec, RouteTarget, UpstreamProtocol};
use std::collections::{BTreeMap, BTreeSet};

/// Routes of one source; sources come with the strongest first.
pub(super) type Source = Vec<Route>;

/// Merges the sources by (domain, path), checks what is left, and gives it sorted.
pub(super) fn check(
    cx: &mut Cx,
    sources: Vec<Source>,
    services: &Services<'_>,
    objects: &Declared,
    acme: bool,
    secrets: &mut RouteSecrets<'_>,
) -> Vec<RouteSpec> {
    let mut kept: Vec<Route> = Vec::new();
    for source in sources {
        let stronger: BTreeSet<(String, String)> = kept.iter().map(key).collect();
        for route in source {
            if !stronger.contains(&key(&route)) {
                kept.push(route);
            }
        }
    }
    check_unique(cx, &kept);
    check_tls(cx, &kept, acme);
    let mut specs = Vec::new();
    for route in &kept {
        check_service(cx, route, services);
        let mut spec = route.spec(acme);
        if let Some(target) = spec.target.as_mut().filter(|_| route.protocol.is_none()) {
            target.protocol = spoken(services, target);
        }
        if let Some(secret) = route.certificate() {
            secrets.certificate(cx, objects, secret);
        }
        if let Some(secret) = &route.password_file
            && let Some(users) = secrets.users(cx, objects, secret)
            && let Some(auth) = &mut spec.options.basic_auth
        {
            auth.users = users;
        }
        for (status, config) in &route.pages {
            let page = secrets.page(cx, objects, config);
            spec.options.error_pages.extend(page.map(|page| (*status, page)));
        }
        specs.push(spec);
    }
    specs.sort_by(|a, b| (&a.domain, &a.path).cmp(&(&b.domain, &b.path)));
    specs
}

fn key(route: &Route) -> (String, String) {
    (route.domain.value.clone(), route.path.value.clone())
}

fn check_unique(cx: &mut Cx, routes: &[Route]) {
    let mut known: BTreeMap<(String, String), &Route> = BTreeMap::new();
    for route in routes {
        let Some(first) = known.get(&key(route)).copied() else {
            known.insert(key(route), route);
            continue;
        };
        let domain = &route.domain.value;
        if !route.path.value.is_empty() {
            let message = format!("{domain}{} is routed twice", route.path.value);
            cx.fail(&route.path.place, Reason::Conflict, message);
            continue;
        }
        let message = format!("{domain} has two routes without path");
        let place = &route.domain.place;
        cx.push(
            Problem::new(ErrorCode::RouteMultipleCatchall, place.at, &place.path, message)
                .with("domain", domain)
                .with("services", services_of([first, route])),
        );
    }
}

fn services_of<'r>(routes: impl IntoIterator<Item = &'r Route>) -> String {
    let names = routes.into_iter().filter_map(|route| route.service.as_ref());
    names.map(|service| service.value.as_str()).collect::<Vec<_>>().join(", ")
}

fn check_tls(cx: &mut Cx, routes: &[Route], acme: bool) {
    let default = if acme { "auto" } else { "off" };
    let mode = |route: &Route| {
        route.tls.as_ref().map_or_else(|| default.to_owned(), |tls| tls.value.clone())
    };
    let mut first: BTreeMap<&str, &Route> = BTreeMap::new();
    for route in routes {
        let domain = route.domain.value.as_str();
        let known = *first.entry(domain).or_insert(route);
        if mode(known) == mode(route) {
            continue;
        }
        let message = format!("{domain} has two TLS modes: {} and {}", mode(known), mode(route));
        let place = route.tls.as_ref().map_or(&route.domain.place, |tls| &tls.place);
        cx.push(
            Problem::new(ErrorCode::RouteTlsMixed, place.at, &place.path, message)
                .with("domain", domain)
                .with("services", services_of([known, route])),
        );
    }
}

/// What a service says is spoken at its port (`app_protocol`).
fn spoken(services: &Services<'_>, target: &RouteTarget) -> UpstreamProtocol {
    let ports = services.enabled(&target.service).into_iter().flat_map(|draft| &draft.ports);
    let mut ports = ports.filter(|port| port.value.target == target.port);
    match ports.find_map(|port| port.value.app_protocol.as_deref()) {
        Some("https") => UpstreamProtocol::Https,
        Some("h2c" | "http2" | "kubernetes.io/h2c") => UpstreamProtocol::H2c,
        Some("grpc") => UpstreamProtocol::Grpc,
        _ => UpstreamProtocol::Http,
    }
}

fn check_service(cx: &mut Cx, route: &Route, services: &Services<'_>) {
    let Some(Spot { value: name, place }) = &route.service else { return };
    let Some(draft) = services.enabled(name) else {
        return unknown_service(cx, name.as_str(), place, services);
    };
    if draft.container.network_mode != NetworkMode::Networks {
        let message = format!("{name} has no network of its own, a route cannot reach it");
        return cx.fail(place, Reason::Conflict, message);
    }
    if draft.deploy.is_job() || draft.options.is_job() {
        let message = format!("{name} is a job, a route cannot reach it");
        cx.fail(place, Reason::Conflict, message);
    }
}
