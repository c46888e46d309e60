//! Calls that read: cluster, status, lists and details.

use crate::answer::{Answer, Refusal};
use crate::backend::{Contacts, Membership};
use crate::rows;
use crate::server::{Api, catching_up};
use crate::stream::ndjson;
use crate::target::{Target, known_deployment};
use actix_web::web::{Data, Path, Query};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::stream;
use jaco_model::entity::{Deployment, Instance, Node, NodeStatus, Replica, RolloutState};
use jaco_model::view::{
    ClusterView, DeploymentRow, NetworkView, QuorumView, ReplicaRow, RolloutView, StatusView,
    VolumeView,
};
use jaco_model::{DeploymentName, ErrorCode, Fault, NodeId};
use jaco_state::State;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// `GET /healthz`: the process answers.
pub(crate) async fn health() -> HttpResponse {
    HttpResponse::Ok().body("ok\n")
}

/// `GET /v1/version`
pub(crate) async fn version(api: Data<Api>) -> HttpResponse {
    HttpResponse::Ok().json(api.backend.version())
}

/// Any path or method that is not in the table of routes.
pub(crate) async fn no_such_call(request: HttpRequest) -> Answer<HttpResponse> {
    let message = format!("there is no call {} {}", request.method(), request.path());
    Err(Fault::new(ErrorCode::NotFound, message).with("kind", "call").into())
}

/// `GET /v1/cluster`; answers before `cluster init` as well.
pub(crate) async fn cluster(api: Data<Api>) -> Answer<HttpResponse> {
    let membership = api.backend.membership().borrow().clone();
    let leader = match membership {
        Membership::Uninitialized => {
            return Ok(HttpResponse::Ok().json(ClusterView::default()));
        }
        Membership::CatchingUp => return Err(catching_up()),
        Membership::Failed(fault) => return Err(fault.into()),
        Membership::Member { leader, .. } => leader,
    };
    let state = api.backend.state().borrow().clone();
    let free_bind_paths = api.backend.free_bind_paths();
    let contacts = api.backend.contacts();
    let view = ClusterView { free_bind_paths, ..cluster_view(&state, leader.as_ref(), &contacts) };
    Ok(HttpResponse::Ok().json(view))
}

fn cluster_view(state: &State, leader: Option<&NodeId>, contacts: &Contacts) -> ClusterView {
    let voting = || state.nodes.values().filter(|node| node.voter);
    let is_healthy = |node: &&Arc<Node>| {
        node.status != NodeStatus::Down && !contacts.suspects.contains(&node.id)
    };
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let (voters, healthy) = (count(voting().count()), count(voting().filter(is_healthy).count()));
    ClusterView {
        initialized: true,
        leader: leader.map(|node| rows::hostname(state, node)),
        raft_index: state.applied_index,
        nodes: rows::nodes(state, contacts),
        cluster_id: state.cluster.as_ref().map(|cluster| cluster.cluster_id.to_string()),
        name: state.cluster.as_ref().map(|cluster| cluster.name.clone()),
        epoch: state.cluster.as_ref().map(|cluster| cluster.epoch),
        pool: Some(state.pool().to_string()),
        block_prefix: Some(state.ipam().block_prefix),
        pool_use: Some(state.pool_use(state.cluster_time())),
        quorum: leader.map(|_| QuorumView {
            voters,
            healthy,
            can_lose: healthy.saturating_sub(voters / 2 + 1),
        }),
        free_bind_paths: Vec::new(),
    }
}

/// Query of `GET /v1/status`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StatusQuery {
    target: Option<String>,
    #[serde(default)]
    all: bool,
    #[serde(default)]
    watch: bool,
    #[serde(default)]
    consistent: bool,
}

/// `GET /v1/status`; with `watch` one snapshot per change, at most five per second.
pub(crate) async fn status(api: Data<Api>, query: Query<StatusQuery>) -> Answer<HttpResponse> {
    let state = api.read(query.consistent).await?;
    let target = query.target.as_deref().map(|text| Target::parse(&state, text)).transpose()?;
    let view = status_view(&state, target.as_ref(), query.all, &api);
    if !query.watch {
        return Ok(HttpResponse::Ok().json(view));
    }
    let states = api.backend.state();
    let all = query.all;
    let snapshots = stream::unfold((states, None), move |(mut states, last)| {
        let (target, api) = (target.clone(), api.clone());
        async move {
            loop {
                let state = states.borrow_and_update().clone();
                let view = status_view(&state, target.as_ref(), all, &api);
                if last.as_ref() != Some(&view) {
                    return Some((view.clone(), (states, Some(view))));
                }
                next_state(&mut states).await?;
            }
        }
    });
    Ok(ndjson(snapshots))
}

/// Waits for a new state, and a little longer so that a burst counts once. `None` at the end.
pub(crate) async fn next_state(states: &mut watch::Receiver<Arc<State>>) -> Option<()> {
    states.changed().await.ok()?;
    tokio::time::sleep(Duration::from_millis(200)).await;
    Some(())
}

/// The status of everything, or of a target.
pub(crate) fn status_view(
    state: &State,
    target: Option<&Target>,
    all: bool,
    api: &Api,
) -> StatusView {
    let of = target.and_then(|target| target.deployment(state));
    let wanted = |deployment: &Deployment| {
        target.is_none_or(|t| t.deployment(state).as_ref() == Some(&deployment.name))
    };
    let deployments = state.deployments.values().filter(|deployment| wanted(deployment));
    let mut replicas = Vec::new();
    for (replica, instances) in slots(state, target) {
        if all {
            replicas.extend(replica.past.iter().map(|i| rows::instance_status(state, i)));
        }
        if instances.is_empty() {
            replicas.push(rows::waiting_status(replica));
        }
        replicas.extend(instances.iter().map(|i| rows::instance_status(state, i)));
    }
    StatusView {
        deployments: deployments.map(|deployment| deployment_row(state, deployment)).collect(),
        replicas,
        routes: crate::route::rows(state, of.as_ref()),
        certs: crate::certs::rows(state, of.as_ref(), &api.leaves, api.backend.now()),
    }
}

/// The slots of a target with their instances, by service and index.
fn slots<'a>(state: &'a State, target: Option<&Target>) -> Vec<(&'a Replica, Vec<&'a Instance>)> {
    let held = |replica: &Replica| {
        target.is_none_or(|t| t.holds(&replica.deployment, &replica.service, &replica.id))
    };
    let replicas = state.replicas.values().map(AsRef::as_ref);
    let mut slots: Vec<(&Replica, Vec<&Instance>)> = replicas
        .filter(|replica| held(replica))
        .map(|replica| (replica, state.instances_of(&replica.id).map(AsRef::as_ref).collect()))
        .collect();
    slots.sort_by(|(a, _), (b, _)| {
        (&a.deployment, &a.service, &a.slot).cmp(&(&b.deployment, &b.service, &b.slot))
    });
    slots
}

fn deployment_row(state: &State, deployment: &Deployment) -> DeploymentRow {
    let status = jaco_state::deployment_status(state, deployment);
    DeploymentRow {
        name: deployment.name.to_string(),
        applied_revision: deployment.revision.0,
        previous_revision: deployment.previous.map(|revision| revision.0),
        status: status.status.as_str().to_owned(),
        status_details: status.details,
        wanted: status.wanted,
        running: status.running,
        rollout: rollout_view(state, deployment),
    }
}

/// The status of a deployment as a word; `deleted` when there is no such deployment.
pub(crate) fn status_word(state: &State, name: &DeploymentName) -> String {
    let deployment = state.deployments.get(name);
    let status = deployment.map(|deployment| jaco_state::deployment_status(state, deployment));
    status.map_or("deleted", |status| status.status.as_str()).to_owned()
}

/// All rollouts under way of a deployment as one.
fn rollout_view(state: &State, deployment: &Deployment) -> Option<RolloutView> {
    let of_deployment = state.rollouts.values().filter(|r| r.deployment == deployment.name);
    let active: Vec<_> = of_deployment
        .filter(|r| matches!(r.state, RolloutState::InProgress | RolloutState::Paused))
        .collect();
    let first = active.first()?;
    let paused = active.iter().find(|rollout| rollout.state == RolloutState::Paused);
    Some(RolloutView {
        state: paused.unwrap_or(first).state.as_str().to_owned(),
        step: active.iter().map(|rollout| rollout.done).sum(),
        total: active.iter().map(|rollout| rollout.total).sum(),
    })
}

/// `GET /v1/volumes`
pub(crate) async fn volumes(api: Data<Api>) -> Answer<HttpResponse> {
    let state = api.state()?;
    let volumes = state.volumes.values().map(|volume| {
        let users = state.instances_on(&volume.node).filter(|i| mounts(&state, i, &volume.key));
        let users = users.filter(|instance| instance.deployment == volume.deployment);
        VolumeView {
            name: volume.name.clone(),
            deployment: volume.deployment.to_string(),
            host: rows::hostname(&state, &volume.node),
            driver: volume.driver.clone(),
            in_use_by: users.map(|instance| instance.id.to_string()).collect(),
        }
    });
    Ok(HttpResponse::Ok().json(volumes.collect::<Vec<_>>()))
}

/// Whether an instance mounts a named volume.
fn mounts(state: &State, instance: &Instance, key: &str) -> bool {
    use jaco_model::spec::MountKind;
    let spec = state.spec_of(instance);
    spec.is_some_and(|spec| {
        let mut mounts = spec.container.mounts.iter();
        mounts.any(|m| matches!(&m.kind, MountKind::Volume { volume, .. } if volume == key))
    })
}

/// `GET /v1/networks`
pub(crate) async fn networks(api: Data<Api>) -> Answer<HttpResponse> {
    let state = api.state()?;
    let mut used: BTreeMap<(String, String, String), u32> = BTreeMap::new();
    for instance in state.instances.values() {
        let host = rows::hostname(&state, &instance.node);
        for network in instance.status.addresses.keys() {
            let name = jaco_model::name::network_name(&instance.deployment, network);
            *used.entry((name, instance.deployment.to_string(), host.clone())).or_default() += 1;
        }
    }
    let views = used.into_iter();
    let views =
        views.map(|((name, deployment, host), used)| NetworkView { name, deployment, host, used });
    Ok(HttpResponse::Ok().json(views.collect::<Vec<_>>()))
}

/// Query of `GET /v1/replicas`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReplicasQuery {
    target: Option<String>,
    deployment: Option<String>,
    service: Option<String>,
    node: Option<String>,
    state: Option<String>,
    #[serde(default)]
    all: bool,
}

impl ReplicasQuery {
    fn wants(&self, row: &ReplicaRow) -> bool {
        let is = |wanted: &Option<String>, is: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(is))
        };
        is(&self.deployment, &row.deployment)
            && is(&self.service, &row.service)
            && is(&self.node, &row.host)
            && is(&self.state, &row.state)
    }
}

/// `GET /v1/replicas`
pub(crate) async fn replicas(api: Data<Api>, query: Query<ReplicasQuery>) -> Answer<HttpResponse> {
    let state = api.state()?;
    if let Some(deployment) = &query.deployment {
        known_deployment(&state, deployment)?;
    }
    let target = query.target.as_deref().map(|text| Target::parse(&state, text)).transpose()?;
    let mut found = Vec::new();
    for (replica, instances) in slots(&state, target.as_ref()) {
        if query.all {
            found.extend(replica.past.iter().map(|i| rows::instance_row(&state, i)));
        }
        if instances.is_empty() {
            found.push(rows::waiting_row(&state, replica));
        }
        found.extend(instances.iter().map(|i| rows::instance_row(&state, i)));
    }
    found.retain(|row| query.wants(row));
    Ok(HttpResponse::Ok().json(found))
}

/// Query of `GET /v1/audit`; times in milliseconds since the Unix epoch.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AuditQuery {
    since: Option<u64>,
    until: Option<u64>,
    /// Comma-separated types.
    #[serde(rename = "type")]
    kinds: Option<String>,
    identity: Option<String>,
    #[serde(default)]
    follow: bool,
}

impl AuditQuery {
    fn wants(&self, event: &jaco_model::entity::AuditEvent) -> bool {
        self.since.is_none_or(|since| event.ts.0 >= since)
            && self.until.is_none_or(|until| event.ts.0 < until)
            && self.kinds.as_deref().is_none_or(|k| k.split(',').any(|k| k == event.kind))
            && self.identity.as_deref().is_none_or(|who| who == event.identity.as_str())
    }
}

/// `GET /v1/audit`; with `follow` one event per line as they happen.
pub(crate) async fn audit(api: Data<Api>, query: Query<AuditQuery>) -> Answer<HttpResponse> {
    let state = api.state()?;
    let events = state.audit().filter(|event| query.wants(event));
    if !query.follow {
        return Ok(HttpResponse::Ok().json(events.collect::<Vec<_>>()));
    }
    let query = query.into_inner();
    let states = api.backend.state();
    let batches = stream::unfold((states, 0, true), move |(mut states, after, first)| {
        let query = query.clone();
        async move {
            if !first {
                next_state(&mut states).await?;
            }
            let state = states.borrow_and_update().clone();
            let events = state.audit().filter(|event| event.raft_index > after);
            let events: Vec<_> = events.filter(|event| query.wants(event)).cloned().collect();
            Some((stream::iter(events), (states, state.applied_index, false)))
        }
    });
    Ok(ndjson(futures_util::StreamExt::flatten(batches)))
}

/// A replica that does not exist.
pub(crate) fn no_such_replica(state: &State, id: &str) -> Refusal {
    let ids = state.replicas.keys().map(|replica| replica.as_str());
    let fault = Fault::new(ErrorCode::NotFound, format!("there is no replica named \"{id}\""))
        .with("kind", "replica")
        .with("name", id);
    match jaco_model::suggest::closest(id, ids) {
        Some(near) => fault.with("suggestion", near).into(),
        None => fault.into(),
    }
}

pub(crate) use crate::detail::{deployment, deployments, history, replica};

/// A path parameter.
pub(crate) type Name = Path<String>;
