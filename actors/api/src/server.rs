//! Routes, listeners and what all handlers share.

use crate::answer::{Answer, Refusal};
use crate::backend::{Backend, Membership};
use crate::caller::Caller;
use crate::leaves::Leaves;
use crate::{apply, certs, change, logs, look, metrics, nodes, openapi, route, wait, why};
use actix_web::dev::{Payload, Server};
use actix_web::web::{self, Data};
use actix_web::{App, FromRequest, HttpRequest, HttpServer};
use jaco_kit::Seeds;
use jaco_model::command::{Command, Envelope, Reply};
use jaco_model::{ErrorCode, Fault, RequestId};
use jaco_state::State;
use std::future::{Ready, ready};
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::time::Duration;

/// Largest body of a call, in bytes.
const BODY_MAX: usize = 16 * 1024 * 1024;

/// The API could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The listener could not be used.
    #[error("cannot serve the API")]
    Listen(#[source] std::io::Error),
}

/// Starts serving on a socket that is already bound.
///
/// # Errors
/// When the listener cannot be used.
pub fn serve(backend: Arc<dyn Backend>, listener: UnixListener) -> Result<Server, Error> {
    let api = Data::new(Api::new(backend));
    let server = HttpServer::new(move || {
        App::new()
            .app_data(api.clone())
            .app_data(web::PayloadConfig::new(BODY_MAX))
            .configure(routes)
            .default_service(web::to(look::no_such_call))
    })
    .workers(1)
    .on_connect(|connection, extensions| {
        extensions.insert(Caller::of_connection(connection));
    })
    .shutdown_timeout(2)
    .client_request_timeout(Duration::from_secs(30))
    .keep_alive(Duration::from_secs(75))
    .disable_signals()
    .listen_uds(listener)
    .map_err(Error::Listen)?;
    Ok(server.run())
}

/// Every call of the API; `openapi::CALLS` describes the same list.
fn routes(config: &mut web::ServiceConfig) {
    use web::{delete, get, post};
    config
        .route("/healthz", get().to(look::health))
        .route("/metrics", get().to(metrics::metrics))
        .route("/v1/openapi.json", get().to(openapi::openapi))
        .route("/v1/version", get().to(look::version))
        .route("/v1/cluster", get().to(look::cluster))
        .route("/v1/cluster/init", post().to(change::init))
        .route("/v1/cluster/join", post().to(nodes::join))
        .route("/v1/cluster/rejoin", post().to(nodes::rejoin))
        .route("/v1/status", get().to(look::status))
        .route("/v1/nodes", get().to(nodes::nodes))
        .route("/v1/nodes/join-tokens", post().to(nodes::issue_join_token))
        .route("/v1/nodes/{name}/remove", post().to(nodes::remove))
        .route("/v1/volumes", get().to(look::volumes))
        .route("/v1/routes", get().to(route::routes))
        .route("/v1/routes/{domain}", get().to(route::route))
        .route("/v1/certificates", get().to(certs::certificates))
        .route("/v1/certificates/{domain}", get().to(certs::one))
        .route("/v1/networks", get().to(look::networks))
        .route("/v1/audit", get().to(look::audit))
        .route("/v1/replicas", get().to(look::replicas))
        .route("/v1/replicas/{id}", get().to(look::replica))
        .route("/v1/deployments", get().to(look::deployments))
        .route("/v1/deployments", post().to(apply::apply))
        .route("/v1/plan", post().to(apply::plan))
        .route("/v1/deployments/{name}", get().to(look::deployment))
        .route("/v1/deployments/{name}", delete().to(change::delete))
        .route("/v1/deployments/{name}/history", get().to(look::history))
        .route("/v1/deployments/{name}/rollback", post().to(change::rollback))
        .route("/v1/deployments/{name}/scale", post().to(change::scale))
        .route("/v1/deployments/{name}/wait", get().to(wait::wait))
        .route("/v1/restart", post().to(change::restart))
        .route("/v1/why", get().to(why::why))
        .route("/v1/logs", get().to(logs::logs));
}

/// What all handlers share.
pub(crate) struct Api {
    /// The rest of the daemon.
    pub(crate) backend: Arc<dyn Backend>,
    /// What is read of certificates.
    pub(crate) leaves: Leaves,
}

impl Api {
    pub(crate) fn new(backend: Arc<dyn Backend>) -> Api {
        Api { backend, leaves: Leaves::default() }
    }

    /// The replicated state; refused before this daemon is in a cluster.
    pub(crate) fn state(&self) -> Answer<Arc<State>> {
        self.member()?;
        Ok(self.backend.state().borrow().clone())
    }

    /// The replicated state; with `consistent` one that holds everything that was acknowledged
    /// before the call.
    pub(crate) async fn read(&self, consistent: bool) -> Answer<Arc<State>> {
        self.member()?;
        if consistent {
            self.backend.read().await?;
        }
        self.state()
    }

    /// Refuses every call but a few before this daemon is in a cluster.
    pub(crate) fn member(&self) -> Answer<()> {
        match &*self.backend.membership().borrow() {
            Membership::Member { .. } => Ok(()),
            Membership::Failed(fault) => Err(fault.clone().into()),
            Membership::Uninitialized => Err(uninitialized()),
            Membership::CatchingUp => Err(catching_up()),
        }
    }

    /// Writes a command in the caller's name.
    pub(crate) async fn propose(&self, request: &Request, command: Command) -> Answer<Reply> {
        let envelope = Envelope {
            request_id: request.id,
            at: self.backend.now(),
            identity: Caller::identity(),
            os_user: request.caller.os_user(),
            command,
        };
        Ok(self.backend.propose(envelope).await?)
    }
}

/// An answer from an older state would deny what was acknowledged before the restart.
pub(crate) fn catching_up() -> Refusal {
    Fault::new(ErrorCode::NoLeader, "the daemon has just started and reads its log")
        .with("retry_after", 1)
        .into()
}

fn uninitialized() -> Refusal {
    Fault::new(ErrorCode::ClusterUninitialized, "this node is not in a cluster yet")
        .with("hint", "jaco cluster init")
        .into()
}

/// Who calls, and the id that makes a retry harmless.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// The local user.
    pub(crate) caller: Caller,
    /// From the `Idempotency-Key` header; random without one.
    pub(crate) id: RequestId,
}

impl FromRequest for Request {
    type Error = Refusal;
    type Future = Ready<Result<Request, Refusal>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let caller = request.conn_data::<Caller>().cloned().unwrap_or_default();
        ready(request_id(request).map(|id| Request { caller, id }))
    }
}

/// The client's idempotency key: 32 hex digits.
fn request_id(request: &HttpRequest) -> Answer<RequestId> {
    let Some(key) = request.headers().get("Idempotency-Key") else {
        let drawn = Seeds.id().map_err(|error| {
            Fault::new(ErrorCode::Internal, format!("the kernel gives no randomness: {error}"))
        })?;
        return Ok(RequestId(drawn));
    };
    let parsed = key.to_str().ok().filter(|key| key.len() == 32).and_then(|key| key.parse().ok());
    parsed.ok_or_else(|| {
        let message = "the Idempotency-Key header is not 32 hex digits";
        Fault::new(ErrorCode::ValidationFailed, message).with("field", "Idempotency-Key").into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Unborn;
    use actix_web::http::StatusCode;
    use actix_web::test;
    use std::collections::BTreeSet;

    /// Status and body of a call to a daemon that is not in a cluster.
    async fn call(method: &str, path: &str) -> (StatusCode, String) {
        let api = Data::new(Api::new(Arc::new(Unborn::default())));
        let app = App::new().app_data(api).configure(routes);
        let app = test::init_service(app.default_service(web::to(look::no_such_call))).await;
        let request = test::TestRequest::with_uri(path).method(method.parse().unwrap());
        let answer = test::call_service(&app, request.to_request()).await;
        let status = answer.status();
        let body = test::read_body(answer).await;
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    #[actix_web::test]
    async fn every_described_call_has_a_route() {
        let mut seen = BTreeSet::new();
        for (method, path, _) in openapi::CALLS {
            assert!(seen.insert((method, path)), "{method} {path} is described twice");
            let filled = path.replace("{id}", "x").replace("{name}", "x");
            let filled = if filled == "/v1/logs" { "/v1/logs?target=x".into() } else { filled };
            let (_, body) = call(&method.to_uppercase(), &filled).await;
            assert!(!body.contains("there is no call"), "{method} {path}: {body}");
        }
    }

    #[actix_web::test]
    async fn before_init_only_a_few_calls_answer() {
        for path in ["/healthz", "/v1/version", "/v1/cluster", "/v1/openapi.json"] {
            assert_eq!(call("GET", path).await.0, StatusCode::OK, "{path}");
        }
        for path in ["/v1/status", "/v1/nodes", "/v1/deployments", "/v1/audit"] {
            let (status, body) = call("GET", path).await;
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
            assert!(body.contains(r#""code":"cluster_uninitialized""#), "{body}");
        }
    }

    #[actix_web::test]
    async fn an_unknown_path_says_so() {
        let (status, body) = call("GET", "/v1/nope").await;
        assert_eq!(status, StatusCode::NOT_FOUND);
        assert!(body.contains("there is no call GET /v1/nope"), "{body}");
    }
}
