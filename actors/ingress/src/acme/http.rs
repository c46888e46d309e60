//! HTTPS to the authority, with the two things of an answer that the ACME client does not hand on.

use bytes::Bytes;
use hyper::Request;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What requests say who asks.
pub(super) const CLIENT: &str = concat!("jaco/", env!("CARGO_PKG_VERSION"));

type Connections = Client<HttpsConnector<HttpConnector>, BodyWrapper<Bytes>>;

pub(super) fn connections(roots: Option<&Path>) -> Result<Connections, String> {
    Ok(Client::builder(TokioExecutor::new()).build(connector(roots)?))
}

/// What connects by TLS alone and trusts the host's roots, or the given ones alone.
pub(super) fn connector(roots: Option<&Path>) -> Result<HttpsConnector<HttpConnector>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = match roots {
        None => HttpsConnectorBuilder::new()
            .with_provider_and_platform_verifier(provider)
            .map_err(|error| format!("the host's trusted roots cannot be read: {error}"))?,
        Some(path) => {
            let config = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .map_err(|error| error.to_string())?
                .with_root_certificates(read_roots(path)?)
                .with_no_client_auth();
            HttpsConnectorBuilder::new().with_tls_config(config)
        }
    };
    Ok(builder.https_only().enable_http1().enable_http2().build())
}

fn read_roots(path: &Path) -> Result<RootCertStore, String> {
    let shown = path.display();
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(path)
        .map_err(|error| format!("root certificates {shown} cannot be read: {error}"))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| format!("{shown}: {error}"))?;
        roots.add(certificate).map_err(|error| format!("{shown}: {error}"))?;
    }
    match roots.is_empty() {
        true => Err(format!("there is no certificate in {shown}")),
        false => Ok(roots),
    }
}

/// An error with all its causes.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

/// What the last answer of a conversation said beside its body.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    /// HTTP status.
    pub(super) status: u16,
    /// `Retry-After` in seconds (RFC 9110 §10.2.3); a date is not understood.
    pub(super) retry_after: Option<Duration>,
}

/// One conversation.
pub(super) struct Conversation {
    pub(super) connections: Connections,
    pub(super) seen: Arc<Mutex<Seen>>,
}

impl HttpClient for Conversation {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let answer = self.connections.request(request);
        let seen = self.seen.clone();
        Box::pin(async move {
            let answer = answer.await.map_err(|error| Error::Other(Box::new(error)))?;
            let retry_after = answer.headers().get(hyper::header::RETRY_AFTER);
            let seconds = retry_after.and_then(|text| text.to_str().ok()?.trim().parse().ok());
            let now = Seen {
                status: answer.status().as_u16(),
                retry_after: seconds.map(Duration::from_secs),
            };
            if let Ok(mut seen) = seen.lock() {
                *seen = now;
            }
            Ok(BytesResponse::from(answer))
        })
    }
}
