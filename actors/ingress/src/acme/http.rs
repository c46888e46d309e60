//! HTTPS to the authority, with what of an answer the ACME client does not hand on.

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{DATE, HeaderMap, HeaderName, LINK, LOCATION, RETRY_AFTER, USER_AGENT};
use hyper::{Request, Response};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use jaco_ingress_core::acme::{http_date, is_skewed, retry_after};
use jaco_model::WallMs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What requests say who asks: authorities insist on it (RFC 8555 §6.1).
pub(super) const CLIENT: &str = concat!("jaco/", env!("CARGO_PKG_VERSION"));
/// Bytes of the largest answer.
const BODY_MAX: usize = 1024 * 1024;

pub(super) type Connections = Client<HttpsConnector<HttpConnector>, BodyWrapper<Bytes>>;

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

/// What the last answer of a conversation said, beside what the ACME client makes of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// HTTP status.
    pub(super) status: u16,
    /// `Retry-After` (RFC 9110 §10.2.3), as a time from the answer on.
    pub(super) retry_after: Option<Duration>,
    /// `Location`.
    pub(super) location: Option<String>,
    /// Where the next part of a list is (`Link`, RFC 8555 §7.1.2.1).
    pub(super) next: Option<String>,
    pub(super) body: Bytes,
    /// The authority's clock, when it differs too much from cluster time.
    pub(super) clock: Option<WallMs>,
}

/// One conversation. It ends at the first answer of an authority that lives in another time.
#[derive(Clone)]
pub(super) struct Conversation {
    pub(super) connections: Connections,
    /// Cluster time.
    pub(super) at: WallMs,
    pub(super) seen: Arc<Mutex<Seen>>,
}

impl Conversation {
    pub(super) fn new(connections: Connections, at: WallMs) -> Conversation {
        Conversation { connections, at, seen: Arc::default() }
    }

    pub(super) fn seen(&self) -> Seen {
        self.seen.lock().map_or_else(|_| Seen::default(), |seen| seen.clone())
    }

    /// An unsigned question; the answer is in `seen`.
    pub(super) async fn get(&self, url: &str) -> Result<Seen, Error> {
        let request = Request::get(url).header(USER_AGENT, CLIENT).body(BodyWrapper::default())?;
        self.request(request).await?;
        Ok(self.seen())
    }
}

impl HttpClient for Conversation {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let answer = self.connections.request(request);
        let (at, seen) = (self.at, self.seen.clone());
        Box::pin(async move {
            let answer = answer.await.map_err(|error| Error::Other(Box::new(error)))?;
            let (parts, body) = answer.into_parts();
            let body = Limited::new(body, BODY_MAX).collect().await.map_err(Error::Other)?;
            let now = look(&parts.headers, parts.status.as_u16(), body.to_bytes(), at);
            let (body, clock) = (now.body.clone(), now.clock);
            if let Ok(mut seen) = seen.lock() {
                *seen = now;
            }
            match clock {
                Some(_) => Err(Error::Str("a clock that agrees with ours")),
                None => Ok(BytesResponse::from(Response::from_parts(parts, Full::new(body)))),
            }
        })
    }
}

fn look(headers: &HeaderMap, status: u16, body: Bytes, at: WallMs) -> Seen {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let asked = text(RETRY_AFTER).and_then(|value| retry_after(value, text(DATE)));
    let links = headers.get_all(LINK).into_iter().filter_map(|value| value.to_str().ok());
    let mut links = links.flat_map(|value| value.split(','));
    let next = links.find_map(|link| {
        let (url, rest) = link.trim().strip_prefix('<')?.split_once('>')?;
        rest.replace(' ', "").contains("rel=\"next\"").then(|| url.to_owned())
    });
    let location = text(LOCATION).map(str::to_owned);
    let clock = text(DATE).and_then(http_date).filter(|date| is_skewed(at, *date));
    Seen { status, retry_after: asked, location, next, body, clock }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(headers: &[(HeaderName, &'static str)], at: u64) -> Seen {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, value.parse().unwrap());
        }
        look(&map, 200, Bytes::new(), WallMs(at))
    }

    #[test]
    fn a_clock_that_differs_is_seen() {
        let at = 1_767_225_600_000;
        let date = (DATE, "Thu, 01 Jan 2026 00:00:05 GMT");
        assert_eq!(seen(std::slice::from_ref(&date), at).clock, None);
        assert_eq!(seen(std::slice::from_ref(&date), at + 700_000).clock, Some(WallMs(at + 5_000)));
        assert_eq!(seen(&[date], at - 700_000).clock, Some(WallMs(at + 5_000)));
        assert_eq!(seen(&[(DATE, "Yesterday")], at).clock, None);
    }

    #[test]
    fn the_next_part_of_a_list_is_found() {
        let links = [
            (LINK, "<https://ca.example/dir>;rel=\"index\""),
            (LINK, "<https://ca.example/2>; rel=\"next\""),
        ];
        assert_eq!(seen(&links, 0).next.as_deref(), Some("https://ca.example/2"));
        assert_eq!(seen(&links[..1], 0).next, None);
    }
}
