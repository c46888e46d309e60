//! Calls that read one thing whole: a deployment, its history, a replica.

use crate::answer::Answer;
use crate::look::{Name, no_such_replica, status_word};
use crate::rows::{self, stamp};
use crate::server::Api;
use crate::target::known_deployment;
use actix_web::HttpResponse;
use actix_web::web::{Data, Query};
use jaco_model::entity::{Deployment, Instance, Replica, RevisionRecord};
use jaco_model::spec::{Condition, PlacementPolicy, ServiceMode};
use jaco_model::view::{
    DependencyView, DeploymentSummary, DeploymentView, PlacementView, ReplicaDetail, RevisionView,
    ServiceSummary,
};
use jaco_model::{ErrorCode, Fault, Revision};
use jaco_state::State;
use serde::Deserialize;

/// `GET /v1/deployments`
pub(crate) async fn deployments(api: Data<Api>) -> Answer<HttpResponse> {
    let state = api.state()?;
    let summaries = state.deployments.values().map(|deployment| DeploymentSummary {
        name: deployment.name.to_string(),
        applied_revision: deployment.revision.0,
        previous_revision: deployment.previous.map(|revision| revision.0),
        status: status_word(&state, &deployment.name),
        services: state
            .current(&deployment.name)
            .map(|record| record.spec.services.keys().map(ToString::to_string).collect())
            .unwrap_or_default(),
    });
    Ok(HttpResponse::Ok().json(summaries.collect::<Vec<_>>()))
}

/// Query of `GET /v1/deployments/{name}`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeploymentQuery {
    revision: Option<u64>,
    #[serde(default)]
    reveal: bool,
}

/// `GET /v1/deployments/{name}`
pub(crate) async fn deployment(
    api: Data<Api>,
    name: Name,
    query: Query<DeploymentQuery>,
) -> Answer<HttpResponse> {
    let state = api.state()?;
    let name = known_deployment(&state, &name)?;
    let Some(deployment) = state.deployments.get(&name) else {
        return Err(Fault::new(ErrorCode::Internal, "the deployment vanished").into());
    };
    let number = query.revision.map_or(deployment.revision, Revision);
    let record =
        state.revision(&name, number).ok_or_else(|| no_revision(&state, deployment, number))?;
    let (compose_yaml, env_masked) = shown(&record.documents.compose, query.reveal);
    let (jaco_yaml, _) = shown(&record.documents.jaco, query.reveal);
    Ok(HttpResponse::Ok().json(DeploymentView {
        name: name.to_string(),
        applied_revision: number.0,
        previous_revision: deployment.previous.map(|revision| revision.0),
        status: status_word(&state, &deployment.name),
        services: services(&state, deployment, record),
        jaco_yaml,
        compose_yaml,
        env_masked,
        origin_directory: deployment.origin.directory.clone(),
        origin_user: deployment.origin.user.clone(),
    }))
}

/// A document as it may be shown, and whether anything in it was hidden.
fn shown(document: &str, reveal: bool) -> (String, bool) {
    if reveal || document.is_empty() {
        return (document.to_owned(), false);
    }
    // What was stored was parsed before; a document that no longer parses is not shown at all.
    let Ok(mut tree) = jaco_manifest::parse_document(document, "compose.yaml") else {
        return (String::new(), true);
    };
    if jaco_manifest::mask(&mut tree) {
        (jaco_manifest::emit(&tree), true)
    } else {
        (document.to_owned(), false)
    }
}

/// A revision that is not kept.
pub(crate) fn no_revision(state: &State, deployment: &Deployment, number: Revision) -> Fault {
    let kept = state.revisions.keys().filter(|(name, _)| *name == deployment.name);
    let kept: Vec<String> = kept.map(|(_, revision)| revision.to_string()).collect();
    let message = format!("deployment \"{}\" has no revision {number}", deployment.name);
    Fault::new(ErrorCode::RevisionNotFound, message)
        .with("revision", number)
        .with("kept", kept.join(", "))
}

fn services(
    state: &State,
    deployment: &Deployment,
    record: &RevisionRecord,
) -> Vec<ServiceSummary> {
    let services = record.spec.services.values().map(|service| {
        let image = record.images.get(&service.name);
        let networks = service.container.networks.iter();
        ServiceSummary {
            name: service.name.to_string(),
            replicas: state.wanted_replicas(deployment, service).unwrap_or_default(),
            placement: match service.placement.policy {
                PlacementPolicy::Spread => "spread",
                PlacementPolicy::Pack => "pack",
                PlacementPolicy::Hosts => "hosts",
                PlacementPolicy::Global => "global",
            }
            .to_owned(),
            hosts: service.placement.hosts.iter().map(ToString::to_string).collect(),
            networks: networks.map(|attachment| attachment.network.clone()).collect(),
            image: service.container.image.clone(),
            digest: image.map(|pin| pin.digest.clone()).unwrap_or_default(),
            mode: match service.mode {
                ServiceMode::Replicated { .. } => "replicated",
                ServiceMode::Global => "global",
            }
            .to_owned(),
        }
    });
    services.collect()
}

/// `GET /v1/deployments/{name}/history`; newest first.
pub(crate) async fn history(api: Data<Api>, name: Name) -> Answer<HttpResponse> {
    let state = api.state()?;
    let name = known_deployment(&state, &name)?;
    let kept = state.revisions.iter().filter(|((deployment, _), _)| *deployment == name);
    let mut views: Vec<RevisionView> = kept.map(|(_, record)| revision(record)).collect();
    views.reverse();
    Ok(HttpResponse::Ok().json(views))
}

fn revision(record: &RevisionRecord) -> RevisionView {
    let images = record.images.iter();
    RevisionView {
        revision: record.number.0,
        applied_at: stamp(record.applied_at),
        identity: record.identity.to_string(),
        status: record.status.as_str().to_owned(),
        restored_from: record.restored_from.map(|revision| revision.0),
        images: images.map(|(name, pin)| (name.to_string(), pin.digest.clone())).collect(),
        summary: record.summary.clone(),
    }
}

/// `GET /v1/replicas/{id}`: a replica by id, or one of its instances.
pub(crate) async fn replica(api: Data<Api>, id: Name) -> Answer<HttpResponse> {
    let state = api.state()?;
    let by_instance = id.parse::<jaco_model::InstanceId>().ok();
    let replica = state.replicas.get(id.as_str()).or_else(|| {
        by_instance.as_ref().and_then(|instance| state.replicas.get(&instance.replica))
    });
    let replica = replica.ok_or_else(|| no_such_replica(&state, &id))?;
    let instances: Vec<&Instance> =
        state.instances_of(&replica.id).map(AsRef::as_ref).chain(&replica.past).collect();
    let shown = match by_instance.filter(|instance| *instance.replica.as_str() != *id.as_str()) {
        Some(wanted) => instances.iter().find(|instance| instance.id == wanted).copied(),
        None => jaco_state::shown_instance(&state, replica).map(AsRef::as_ref),
    };
    Ok(HttpResponse::Ok().json(detail(&state, replica, shown)))
}

fn detail(state: &State, replica: &Replica, instance: Option<&Instance>) -> ReplicaDetail {
    let row = match instance {
        Some(instance) => rows::instance_row(state, instance),
        None => rows::waiting_row(state, replica),
    };
    let rejected = replica.waiting.as_ref().filter(|_| instance.is_none());
    let history = instance.map(|instance| instance.status.history.as_slice()).unwrap_or_default();
    let past = replica.past.iter().rev();
    ReplicaDetail {
        row,
        digest: instance.map(|instance| instance.image.digest.clone()).unwrap_or_default(),
        depends_on: dependencies(state, replica),
        placement: PlacementView {
            rejected: rejected.map(|fault| fault.details.clone()).unwrap_or_default(),
        },
        state_history: history.iter().map(rows::transition).collect(),
        past: past.map(|instance| rows::instance_row(state, instance)).collect(),
    }
}

fn dependencies(state: &State, replica: &Replica) -> Vec<DependencyView> {
    let record = state.current(&replica.deployment);
    let service = record.and_then(|record| record.spec.services.get(&replica.service));
    let dependencies = service.map(|service| service.depends_on.as_slice()).unwrap_or_default();
    let views = dependencies.iter().map(|dependency| {
        let met = jaco_state::dependency_met(state, &replica.deployment, dependency);
        DependencyView {
            service: dependency.service.to_string(),
            condition: match dependency.condition {
                Condition::ServiceStarted => "service_started",
                Condition::ServiceHealthy => "service_healthy",
                Condition::ServiceCompletedSuccessfully => "service_completed_successfully",
            }
            .to_owned(),
            satisfied: met.is_ok(),
            state: met.err().and_then(|f| f.detail("state").map(str::to_owned)).unwrap_or_default(),
        }
    });
    views.collect()
}
