//! What becomes of a request for a host and a path.
//!
//! dns → listener of each node → route → replicas → what each node chooses among → certificate.

use crate::cert;
use crate::chain::{Broken, Chain, Link, list};
use crate::door::{dns_link, door_links};
use crate::links::View;
use crate::replica::fix_of;
use crate::subject::domains;
use jaco_model::entity::{Desired, Instance, Replica};
use jaco_model::suggest::closest;
use jaco_model::view::WhyView;
use jaco_model::{DeploymentName, ErrorCode, ServiceName};
use jaco_state::{RouteOf, owner_of, route_of_path, routes_of_host, shown_instance};

/// The chain.
pub(crate) fn explain(view: View<'_>, host: &str, path: &str) -> WhyView {
    let shown = if path == "/" { host.to_owned() } else { format!("{host}{path}") };
    let mut chain = Chain::new("route", shown);
    dns_link(view, &mut chain, host);
    let routes = routes_of_host(view.state, host);
    let tls = routes.first().map(|(_, route)| &route.tls);
    door_links(view, &mut chain, tls);
    let found = route(view, &mut chain, host, path, &routes);
    let Some((spec, route)) = found else { return chain.end("") };
    match &route.target {
        Some(target) => {
            let service = (&spec.name, &target.service);
            let ready = replicas(view, &mut chain, service);
            choices(view, &mut chain, service, ready);
        }
        None => {
            chain.add("answer", "state", Ok("the proxy answers by itself".to_owned()));
        }
    }
    cert::links(view, &mut chain, host, &routes);
    let to = route.target.as_ref().map_or("an answer of the proxy".to_owned(), |target| {
        format!("{}/{} port {}", spec.name, target.service, target.port)
    });
    chain.end(format!("leads to {to}"))
}

/// Adds which route it is, and says it.
fn route<'a>(
    view: View<'_>,
    chain: &mut Chain,
    host: &str,
    path: &str,
    routes: &[RouteOf<'a>],
) -> Option<RouteOf<'a>> {
    let Some((owner, first)) = owner_of(routes) else {
        chain.add("route", "state", Err(unknown(view, host)));
        return None;
    };
    let via = match first.domain == host {
        true => String::new(),
        false => format!(" under {}", first.domain),
    };
    let Some((spec, route)) = route_of_path(routes, path) else {
        let paths = list(routes.iter().map(|(_, route)| route.path.as_str()));
        let detail = format!("no route of {host}{via} is for {path}; there is {paths}");
        let fix = format!("add a route without a path, or with this one, to {}", owner.name);
        chain.add("route", "state", Err(Broken::new("no_route", detail, fix)));
        return None;
    };
    let shares = |name: &DeploymentName| {
        let mut own = routes.iter().filter(|(spec, _)| spec.name == owner.name);
        own.any(|(_, route)| route.shared_with.contains(name))
    };
    let link = match spec.name == owner.name || shares(&spec.name) {
        true => Ok(described(spec, route, &via)),
        false => {
            let (owner, name) = (&owner.name, &spec.name);
            let detail = format!("{host} belongs to {owner}, so the route of {name} is not served");
            let fix = format!("list {name} under `shared_with` of a route of {owner}, and apply");
            Err(Broken::new(ErrorCode::HostClaimed, detail, fix))
        }
    };
    chain.add("route", "state", link).then_some((spec, route))
}

fn described(
    spec: &jaco_model::spec::DeploymentSpec,
    route: &jaco_model::spec::RouteSpec,
    via: &str,
) -> String {
    let path = if route.path.is_empty() { "every path" } else { &route.path };
    match &route.target {
        Some(target) => {
            format!("{path}{via} is {}/{} port {}", spec.name, target.service, target.port)
        }
        None => format!("{path}{via} of {} is answered without a service", spec.name),
    }
}

fn unknown(view: View<'_>, host: &str) -> Broken {
    let known: Vec<String> = domains(view.state).collect();
    let near = closest(host, known.iter().map(String::as_str));
    let fix = match near {
        Some(near) => format!("did you mean {near}? `jaco get routes` lists all"),
        None => "add a route to jaco.yaml and apply; `jaco get routes` lists all".to_owned(),
    };
    Broken::new("no_route", format!("no deployment has a route of {host}"), fix)
}

/// Adds how many replicas take requests; says how many.
fn replicas(
    view: View<'_>,
    chain: &mut Chain,
    (deployment, service): (&DeploymentName, &ServiceName),
) -> usize {
    let slots = view.state.replicas.values().map(AsRef::as_ref);
    let slots: Vec<&Replica> =
        slots.filter(|slot| slot.deployment == *deployment && slot.service == *service).collect();
    let serving = |slot: &&&Replica| {
        let mut all = view.state.instances_of(&slot.id);
        all.any(|one| one.status.state.is_ready() && one.desired == Desired::Run)
    };
    let ready = slots.iter().filter(serving).count();
    let total = slots.len();
    let first = slots.iter().find(|slot| !serving(slot));
    let link: Link = match (first, ready) {
        (None, 0) => {
            let detail = format!("{deployment}/{service} has no replica");
            let fix = format!("`jaco scale {deployment}/{service}=1`");
            Err(Broken::new("no_upstream", detail, fix))
        }
        (None, _) => Ok(format!("{ready} of {total} ready")),
        (Some(slot), 0) => Err(nobody(view, slot, total)),
        (Some(slot), _) => {
            let (words, _) = why_not(view, slot);
            Ok(format!("{ready} of {total} ready; {words}"))
        }
    };
    chain.add("replicas", "state", link);
    ready
}

fn nobody(view: View<'_>, slot: &Replica, total: usize) -> Broken {
    let (words, code) = why_not(view, slot);
    let detail = format!("none of {total} is ready: {words}");
    let fix = match code {
        Some(code) => fix_of(code, &slot.id),
        None => format!("`jaco why {}` says more", slot.id),
    };
    Broken::new("no_upstream", detail, fix)
}

/// Why a replica takes no requests.
fn why_not(view: View<'_>, slot: &Replica) -> (String, Option<ErrorCode>) {
    let instance: Option<&Instance> = shown_instance(view.state, slot).map(AsRef::as_ref);
    let fault = match instance {
        Some(instance) => instance.status.fault.as_ref(),
        None => slot.waiting.as_ref(),
    };
    let state = instance.map_or("pending", |instance| instance.status.state.as_str());
    let at = instance.map(|one| format!(" on {}", view.host(&one.node))).unwrap_or_default();
    let because = fault.map(|fault| format!(" ({}: {})", fault.code, fault.message));
    let words = format!("{} is {state}{at}{}", slot.id, because.unwrap_or_default());
    (words, fault.map(|fault| fault.code))
}

/// Adds nodes whose proxy does not choose among the replicas that are ready.
fn choices(
    view: View<'_>,
    chain: &mut Chain,
    (deployment, service): (&DeploymentName, &ServiceName),
    ready: usize,
) {
    let key = format!("{deployment}/{service}");
    for id in view.state.nodes.keys() {
        let Some(door) = view.facts(id).and_then(|facts| facts.door.as_ref()) else { continue };
        if ready == 0 || (door.http.is_empty() && door.https.is_empty()) {
            continue;
        }
        let host = view.host(id);
        match door.upstreams.get(&key).copied().unwrap_or_default() {
            0 => {
                let detail = format!(
                    "{host} chooses among none of the {ready} that are ready: it takes their \
                     nodes for dead, or its state is old"
                );
                let fix = format!("`jaco why node {host}`");
                chain.add("upstreams", &host, Err(Broken::new("no_upstream", detail, fix)));
            }
            some if some < ready => {
                let detail = format!("{host} chooses among {some} of the {ready} that are ready");
                chain.add("upstreams", &host, Ok(detail));
            }
            _ => {}
        }
    }
}
