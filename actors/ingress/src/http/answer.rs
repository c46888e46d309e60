//! Answers that the proxy gives by itself.

use super::body::Body;
use hyper::header::{
    ACCEPT, CONNECTION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER,
    SERVER,
};
use hyper::{Response, StatusCode};

/// A request that goes no further, and why.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    /// For the log.
    pub(super) reason: &'static str,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Option<String>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, reason: &'static str) -> Refusal {
        Refusal { status, reason, headers: Vec::new(), body: None }
    }

    /// A request that cannot be understood; the connection ends with it.
    pub(super) fn bad(reason: &'static str) -> Refusal {
        let refusal = Refusal::new(StatusCode::BAD_REQUEST, reason);
        refusal.with(CONNECTION, HeaderValue::from_static("close"))
    }

    pub(super) fn no_upstream() -> Refusal {
        Refusal::unavailable("no_upstream", 5)
    }

    pub(super) fn unavailable(reason: &'static str, secs: u64) -> Refusal {
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, reason).with(RETRY_AFTER, secs.into())
    }

    pub(super) fn redirect(status: StatusCode, to: &str) -> Refusal {
        match HeaderValue::from_str(to) {
            Ok(to) => Refusal::new(status, "redirect").with(LOCATION, to),
            Err(_) => Refusal::bad("bad_request"),
        }
    }

    pub(super) fn with(mut self, name: HeaderName, value: HeaderValue) -> Refusal {
        self.headers.push((name, value));
        self
    }

    pub(super) fn saying(mut self, body: impl Into<String>) -> Refusal {
        self.body = Some(body.into());
        self
    }

    /// The answer, in the form that the client accepts. `own` is the route's page for the status.
    pub(super) fn response(self, request: &Asked, own: Option<&str>) -> Response<Body> {
        if request.is_grpc && self.status.as_u16() >= 400 {
            return grpc(self.status);
        }
        let (kind, body) = match (self.body, own) {
            (Some(body), _) => ("text/plain; charset=utf-8", body),
            (None, Some(own)) => (kind_of(own), own.to_owned()),
            (None, None) => page(self.status, request),
        };
        let mut response = Response::new(Body::own(body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(SERVER, HeaderValue::from_static("jaco"));
        for (name, value) in self.headers {
            headers.insert(name, value);
        }
        response
    }
}

/// A page has no name that would tell its type.
fn kind_of(page: &str) -> &'static str {
    match page.trim_start().as_bytes().first() {
        Some(b'<') => "text/html; charset=utf-8",
        Some(b'{' | b'[') => "application/json",
        _ => "text/plain; charset=utf-8",
    }
}

/// What the form of an answer hangs on.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    accept: String,
    pub(super) is_grpc: bool,
    /// The request's id, as a header has it.
    pub(super) id: HeaderValue,
}

impl Asked {
    pub(super) fn new(headers: &HeaderMap, id: HeaderValue) -> Asked {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
        let is_grpc = text(CONTENT_TYPE).starts_with("application/grpc");
        Asked { accept: text(ACCEPT).to_owned(), is_grpc, id }
    }

    /// The request's id.
    pub(super) fn id(&self) -> &str {
        self.id.to_str().unwrap_or_default()
    }
}

fn page(status: StatusCode, request: &Asked) -> (&'static str, String) {
    let (code, id) = (status.as_u16(), request.id());
    let reason = status.canonical_reason().unwrap_or("Error");
    if request.accept.contains("text/html") {
        let body = format!(
            "<!doctype html><title>{code} {reason}</title><h1>{code} {reason}</h1><p>{id}</p>\n"
        );
        ("text/html; charset=utf-8", body)
    } else if request.accept.contains("json") {
        let body =
            format!("{{\"status\":{code},\"error\":\"{reason}\",\"request_id\":\"{id}\"}}\n");
        ("application/json", body)
    } else {
        ("text/plain; charset=utf-8", format!("{code} {reason}\n{id}\n"))
    }
}

/// An error as gRPC wants it: status 200, and the trailers at once.
fn grpc(status: StatusCode) -> Response<Body> {
    let code = match status.as_u16() {
        400 => "13",
        401 => "16",
        403 => "7",
        404 => "12",
        429 => "8",
        504 => "4",
        _ => "14",
    };
    let mut response = Response::new(Body::own(""));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(SERVER, HeaderValue::from_static("jaco"));
    headers.insert("grpc-status", HeaderValue::from_static(code));
    response
}
