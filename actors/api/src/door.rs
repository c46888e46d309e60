//! The API's TCP port: TLS with the node's certificate, and in this version two calls: by one a new
//! node joins, where the join token in its body decides; by the other a node learns that it was
//! removed.

use crate::answer::{Answer, Refusal, bad_body};
use crate::backend::BoxFuture;
use crate::look;
use crate::server::Error;
use actix_web::dev::Server;
use actix_web::web::{self, Data, Payload};
use actix_web::{App, HttpResponse, HttpServer};
use jaco_model::{ErrorCode, Fault};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

/// Largest body, in bytes: a certificate request and a few facts.
const BODY_MAX: usize = 16 * 1024;

/// Connections at once, among them those that say nothing.
const CONNECTIONS_MAX: usize = 1_024;

/// Lets nodes in.
pub trait Doorkeeper: Send + Sync + 'static {
    /// Answers a join request; both are JSON that this crate does not look into.
    fn admit(&self, request: Vec<u8>) -> BoxFuture<Result<Vec<u8>, Fault>>;

    /// Says how this member sees a node: one that was removed while it was away is refused by the
    /// peer port, and must learn it some other way.
    fn standing(&self, request: Vec<u8>) -> BoxFuture<Result<Vec<u8>, Fault>>;
}

/// Serves the door on a socket that is already bound.
///
/// # Errors
/// When the listener cannot be used.
pub fn serve_door(
    keeper: Arc<dyn Doorkeeper>,
    listener: TcpListener,
    tls: rustls::ServerConfig,
) -> Result<Server, Error> {
    let keeper: Data<dyn Doorkeeper> = Data::from(keeper);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(keeper.clone())
            .route("/healthz", web::get().to(look::health))
            .route("/v1/cluster/admit", web::post().to(admit))
            .route("/v1/cluster/standing", web::post().to(standing))
            .default_service(web::to(look::no_such_call))
    })
    .workers(1)
    .max_connections(CONNECTIONS_MAX)
    .shutdown_timeout(2)
    .client_request_timeout(Duration::from_secs(5))
    .tls_handshake_timeout(Duration::from_secs(5))
    .keep_alive(Duration::from_secs(5))
    .disable_signals()
    .listen_rustls_0_23(listener, tls)
    .map_err(Error::Listen)?;
    Ok(server.run())
}

/// Longest time for the body of a request.
const BODY_LIMIT: Duration = Duration::from_secs(5);

/// `POST /v1/cluster/admit`
async fn admit(keeper: Data<dyn Doorkeeper>, payload: Payload) -> Answer<HttpResponse> {
    let request = read(payload).await?;
    answered(keeper.admit(request).await)
}

/// `POST /v1/cluster/standing`
async fn standing(keeper: Data<dyn Doorkeeper>, payload: Payload) -> Answer<HttpResponse> {
    let request = read(payload).await?;
    answered(keeper.standing(request).await)
}

/// The whole body of a request of a stranger.
async fn read(payload: Payload) -> Answer<Vec<u8>> {
    match tokio::time::timeout(BODY_LIMIT, payload.to_bytes_limited(BODY_MAX)).await {
        Ok(Ok(Ok(body))) => Ok(body.to_vec()),
        Ok(Ok(Err(error))) => Err(bad_body(&error)),
        Ok(Err(_)) => {
            let fault = Fault::new(ErrorCode::LimitExceeded, "the request is too large");
            Err(fault.with("limit", BODY_MAX).into())
        }
        Err(_) => Err(bad_body(&"it did not come in time")),
    }
}

fn answered(answer: Result<Vec<u8>, Fault>) -> Answer<HttpResponse> {
    let answer = answer.map_err(Refusal::from)?;
    Ok(HttpResponse::Ok().content_type("application/json").body(answer))
}
