//! Commands that change a deployment without new files: rollback, scale, restart, delete.

use crate::answer::{Answer, Refusal, bad_body};
use crate::apply::applied;
use crate::server::{Api, Request};
use crate::target::{Target, known_deployment};
use actix_web::HttpResponse;
use actix_web::web::{Bytes, Data, Path, Query};
use jaco_model::command::{Command, Reply, Rollback};
use jaco_model::view::{
    RestartRequest, RestartedView, RollbackRequest, ScaleRequest, ScaledService, ScaledView,
};
use jaco_model::{ErrorCode, Fault, Revision, ServiceName};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Reads a JSON body; an empty one counts as `{}`.
pub(crate) fn body<T: DeserializeOwned>(bytes: &Bytes) -> Answer<T> {
    let text: &[u8] = if bytes.is_empty() { b"{}" } else { bytes };
    serde_json::from_slice(text).map_err(|error| bad_body(&error))
}

/// `POST /v1/cluster/init`
pub(crate) async fn init(api: Data<Api>, bytes: Bytes) -> Answer<HttpResponse> {
    let request: jaco_model::view::InitRequest = body(&bytes)?;
    let view = api.backend.init(request.name).await?;
    Ok(HttpResponse::Ok().json(view))
}

/// `POST /v1/deployments/{name}/rollback`
pub(crate) async fn rollback(
    api: Data<Api>,
    name: Path<String>,
    request: Request,
    bytes: Bytes,
) -> Answer<HttpResponse> {
    let wanted: RollbackRequest = body(&bytes)?;
    let started = api.backend.now();
    let state = api.state()?;
    let deployment = known_deployment(&state, &name)?;
    let command = Command::Rollback(Rollback {
        deployment: deployment.clone(),
        to: wanted.to.map(Revision),
        cause: None,
        expected_revision: wanted.expect_revision.map(Revision),
    });
    let reply = api.propose(&request, command).await?;
    Ok(HttpResponse::Ok().json(applied(&api, &deployment, reply, Vec::new(), started)?))
}

/// `POST /v1/deployments/{name}/scale`
pub(crate) async fn scale(
    api: Data<Api>,
    name: Path<String>,
    request: Request,
    bytes: Bytes,
) -> Answer<HttpResponse> {
    let wanted: ScaleRequest = body(&bytes)?;
    let state = api.state()?;
    let deployment = known_deployment(&state, &name)?;
    let services = wanted.services.into_iter();
    let command = Command::Scale {
        deployment: deployment.clone(),
        services: services.map(|(name, n)| (ServiceName::new(name), n)).collect(),
    };
    let Reply::Scaled { services } = api.propose(&request, command).await? else {
        return Err(unexpected_reply());
    };
    let services = services.into_iter();
    let services =
        services.map(|(name, (from, to))| ScaledService { name: name.to_string(), from, to });
    let view = ScaledView { deployment: deployment.to_string(), services: services.collect() };
    Ok(HttpResponse::Ok().json(view))
}

/// `POST /v1/restart`
pub(crate) async fn restart(
    api: Data<Api>,
    request: Request,
    bytes: Bytes,
) -> Answer<HttpResponse> {
    let wanted: RestartRequest = body(&bytes)?;
    let state = api.state()?;
    let target = Target::parse(&state, &wanted.target)?;
    let deployment = target.deployment(&state).map(|name| name.to_string()).unwrap_or_default();
    let command = Command::Restart { target: target.restart(), in_place: wanted.in_place };
    let Reply::Restarted { instances } = api.propose(&request, command).await? else {
        return Err(unexpected_reply());
    };
    let restarted = instances.iter().map(ToString::to_string).collect();
    Ok(HttpResponse::Ok().json(RestartedView { deployment, restarted }))
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeleteQuery {
    #[serde(default)]
    volumes: bool,
}

/// `DELETE /v1/deployments/{name}`
pub(crate) async fn delete(
    api: Data<Api>,
    name: Path<String>,
    query: Query<DeleteQuery>,
    request: Request,
) -> Answer<HttpResponse> {
    let state = api.state()?;
    let deployment = known_deployment(&state, &name)?;
    let held = state.volumes.values().filter(|volume| volume.deployment == deployment);
    let volumes: Vec<String> = match query.volumes {
        true => held.map(|volume| volume.name.clone()).collect(),
        false => Vec::new(),
    };
    let command = Command::Delete { deployment: deployment.clone(), volumes: query.volumes };
    api.propose(&request, command).await?;
    let answer = serde_json::json!({
        "deployment": deployment, "deleted": true, "volumes_removed": volumes,
    });
    Ok(HttpResponse::Accepted().json(answer))
}

/// The state machine answered another command's reply: a bug.
pub(crate) fn unexpected_reply() -> Refusal {
    Fault::new(ErrorCode::Internal, "the state machine gave an answer of another kind").into()
}
