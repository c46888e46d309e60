//! Calls about routes.

use crate::answer::Answer;
use crate::server::Api;
use actix_web::HttpResponse;
use actix_web::web::{Data, Path, Query};
use jaco_model::entity::{Desired, Instance};
use jaco_model::spec::{DeploymentSpec, RouteSpec, TlsMode};
use jaco_model::suggest::closest;
use jaco_model::view::{RouteEntry, RouteRow, RouteView, UpstreamRow};
use jaco_model::{DeploymentName, ErrorCode, Fault};
use jaco_state::{RouteOf, State, owner_of};
use serde::Deserialize;

/// Query of the list.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    domain: Option<String>,
}

/// `GET /v1/routes`
pub(crate) async fn routes(api: Data<Api>, wanted: Query<Wanted>) -> Answer<HttpResponse> {
    let state = api.state()?;
    let mut rows = rows(&state, None);
    if let Some(domain) = wanted.into_inner().domain {
        rows.retain(|row| row.domain == domain);
    }
    Ok(HttpResponse::Ok().json(rows))
}

/// `GET /v1/routes/{domain}`
pub(crate) async fn route(api: Data<Api>, domain: Path<String>) -> Answer<HttpResponse> {
    let state = api.state()?;
    let domain = domain.into_inner();
    let mut all = routed(&state, None);
    all.retain(|(_, route)| route.domain == domain);
    if all.is_empty() {
        let message = format!("no route has the domain \"{domain}\"");
        let fault = Fault::new(ErrorCode::NotFound, message).with("kind", "route");
        let known = routed(&state, None);
        let near = closest(&domain, known.iter().map(|(_, route)| route.domain.as_str()));
        let fault = fault.with("name", &domain);
        return Err(match near {
            Some(near) => fault.with("suggestion", near),
            None => fault,
        }
        .into());
    }
    let owner = owner_of(&all).map(|(spec, _)| spec.name.to_string()).unwrap_or_default();
    // The longest path is tried first.
    all.sort_by(|(_, a), (_, b)| (b.path.len(), &a.path).cmp(&(a.path.len(), &b.path)));
    let routes = all.iter().map(|(spec, route)| entry(&state, spec, route, &owner)).collect();
    Ok(HttpResponse::Ok().json(RouteView { domain, routes }))
}

/// All routes, or those of a deployment, by domain and path.
pub(crate) fn rows(state: &State, of: Option<&DeploymentName>) -> Vec<RouteRow> {
    routed(state, of).into_iter().map(|(spec, route)| row(state, spec, route)).collect()
}

fn routed<'a>(state: &'a State, of: Option<&DeploymentName>) -> Vec<RouteOf<'a>> {
    let names = state.deployments.keys().filter(|name| of.is_none_or(|of| of == *name));
    let specs = names.filter_map(|name| state.current(name)).map(|record| &*record.spec);
    let mut all: Vec<_> =
        specs.flat_map(|spec| spec.routes.iter().map(move |route| (spec, route))).collect();
    all.sort_by(|(_, a), (_, b)| (&a.domain, &a.path).cmp(&(&b.domain, &b.path)));
    all
}

fn row(state: &State, spec: &DeploymentSpec, route: &RouteSpec) -> RouteRow {
    let upstreams = upstreams(state, spec, route);
    let ready = upstreams.iter().filter(|one| one.status.state.is_ready()).count();
    RouteRow {
        domain: route.domain.clone(),
        path: route.path.clone(),
        deployment: spec.name.to_string(),
        service: route.target.as_ref().map(|target| target.service.to_string()).unwrap_or_default(),
        port: route.target.as_ref().map(|target| target.port),
        tls: tls(&route.tls).to_owned(),
        strip_path: route.options.strip_path,
        ready_replicas: ready,
        total_replicas: upstreams.len(),
    }
}

fn entry(state: &State, spec: &DeploymentSpec, route: &RouteSpec, owner: &str) -> RouteEntry {
    let upstreams = upstreams(state, spec, route).into_iter().map(|instance| UpstreamRow {
        replica: instance.id.replica.to_string(),
        address: instance.status.addresses.values().next().cloned().unwrap_or_default(),
        state: instance.status.state.as_str().to_owned(),
    });
    RouteEntry {
        row: row(state, spec, route),
        catch_all: route.path.is_empty(),
        owner: owner.to_owned(),
        upstreams: upstreams.collect(),
    }
}

/// Instances of the route's service that are meant to run.
fn upstreams<'a>(state: &'a State, spec: &DeploymentSpec, route: &RouteSpec) -> Vec<&'a Instance> {
    let Some(target) = &route.target else { return Vec::new() };
    let replicas = state.replicas_of(&(spec.name.clone(), target.service.clone()));
    let instances = replicas.flat_map(|replica| state.instances_of(&replica.id));
    instances.map(AsRef::as_ref).filter(|one| one.desired == Desired::Run).collect()
}

fn tls(mode: &TlsMode) -> &str {
    match mode {
        TlsMode::Auto => "auto",
        TlsMode::Off => "off",
        TlsMode::Own(secret) => secret,
    }
}
