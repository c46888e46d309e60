//! Calls about members: tokens, joining, leaving.

use crate::answer::Answer;
use crate::backend::Asker;
use crate::caller::Caller;
use crate::change::body;
use crate::rows;
use crate::server::{Api, Request};
use actix_web::HttpResponse;
use actix_web::web::{Bytes, Data, Path};
use jaco_model::command::Command;
use jaco_model::entity::{Leaving, Node};
use jaco_model::view::{JoinRequest, JoinTokenRequest, RemoveNodeRequest};
use jaco_model::{ErrorCode, Fault};
use jaco_state::State;
use std::time::Duration;

/// How long a join token is good for when nobody says otherwise.
const TOKEN_TTL: Duration = Duration::from_secs(24 * 60 * 60);
/// The longest life of a join token.
const TOKEN_TTL_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// `GET /v1/nodes`
pub(crate) async fn nodes(api: Data<Api>) -> Answer<HttpResponse> {
    let state = api.state()?;
    let contacts = api.backend.contacts();
    let nodes = rows::nodes(&state, &contacts);
    Ok(HttpResponse::Ok().json(serde_json::json!({ "nodes": nodes })))
}

/// `POST /v1/nodes/join-tokens`
pub(crate) async fn issue_join_token(
    api: Data<Api>,
    request: Request,
    bytes: Bytes,
) -> Answer<HttpResponse> {
    let wanted: JoinTokenRequest = body(&bytes)?;
    api.member()?;
    let ttl = wanted.ttl_ms.map_or(TOKEN_TTL, Duration::from_millis);
    if ttl.is_zero() || ttl > TOKEN_TTL_MAX {
        let message = "a join token lives from a second up to 30 days";
        let fault = Fault::new(ErrorCode::ValidationFailed, message);
        return Err(fault.with("field", "ttl").with("reason", "range").into());
    }
    let asker = Asker { identity: Caller::identity(), os_user: request.caller.os_user() };
    Ok(HttpResponse::Ok().json(api.backend.issue_join_token(asker, ttl).await?))
}

/// `POST /v1/cluster/join`
pub(crate) async fn join(api: Data<Api>, bytes: Bytes) -> Answer<HttpResponse> {
    let request: JoinRequest = body(&bytes)?;
    Ok(HttpResponse::Ok().json(api.backend.join(request).await?))
}

/// `POST /v1/cluster/rejoin`
pub(crate) async fn rejoin(api: Data<Api>) -> Answer<HttpResponse> {
    Ok(HttpResponse::Ok().json(api.backend.rejoin().await?))
}

/// `POST /v1/nodes/{name}/remove`; the removal goes on after the answer.
pub(crate) async fn remove(
    api: Data<Api>,
    name: Path<String>,
    request: Request,
    bytes: Bytes,
) -> Answer<HttpResponse> {
    let wanted: RemoveNodeRequest = body(&bytes)?;
    let state = api.state()?;
    let node = known_node(&state, &name)?.id.clone();
    let leaving = if wanted.force { Leaving::Force } else { Leaving::Drain };
    api.propose(&request, Command::RemoveNode { node, leaving }).await?;
    Ok(HttpResponse::Accepted().json(serde_json::json!({ "hostname": *name, "removed": false })))
}

fn known_node<'a>(state: &'a State, name: &str) -> Answer<&'a Node> {
    if let Some(node) = state.nodes.values().find(|node| node.name.as_str() == name) {
        return Ok(node);
    }
    let fault = Fault::new(ErrorCode::NotFound, format!("no member is called \"{name}\""))
        .with("kind", "node")
        .with("name", name);
    let names = state.nodes.values().map(|node| node.name.as_str());
    Err(match jaco_model::suggest::closest(name, names) {
        Some(near) => fault.with("suggestion", near).into(),
        None => fault.into(),
    })
}
