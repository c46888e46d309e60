//! `GET /metrics`, on the API's socket and on a plain listener for scrapers.

use crate::answer::Answer;
use crate::backend::Backend;
use crate::look;
use crate::server::{Api, Error};
use actix_web::dev::Server;
use actix_web::web::{self, Data};
use actix_web::{App, HttpResponse, HttpServer};
use jaco_model::{ErrorCode, Fault};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

/// The media type of the text format, with its version.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// `GET /metrics`: what this node counts.
pub(crate) async fn metrics(api: Data<Api>) -> Answer<HttpResponse> {
    let text = api.backend.metrics().ok_or_else(|| {
        Fault::new(ErrorCode::NotFound, "metrics are switched off (`metrics.enabled`)")
            .with("kind", "call")
    })?;
    Ok(HttpResponse::Ok().content_type(TEXT).body(text))
}

/// Serves the metrics and nothing else on a socket that is already bound.
///
/// # Errors
/// When the listener cannot be used.
pub fn serve_metrics(backend: Arc<dyn Backend>, listener: TcpListener) -> Result<Server, Error> {
    let api = Data::new(Api::new(backend));
    let server = HttpServer::new(move || {
        App::new()
            .app_data(api.clone())
            .route("/healthz", web::get().to(look::health))
            .route("/metrics", web::get().to(metrics))
            .default_service(web::to(look::no_such_call))
    })
    .workers(1)
    .max_connections(64)
    .shutdown_timeout(1)
    .client_request_timeout(Duration::from_secs(5))
    .disable_signals()
    .listen(listener)
    .map_err(Error::Listen)?;
    Ok(server.run())
}
