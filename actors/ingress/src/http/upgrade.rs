//! Requests to speak something else: asked of the replica as `Upgrade` of HTTP/1.1, whichever way
//! the client asked.

use super::answer::Refusal;
use super::body::Body;
use hyper::body::Incoming;
use hyper::ext::Protocol;
use hyper::header::{self, CONTENT_LENGTH, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Version};

/// A client's wish to speak something else.
pub(super) struct Upgrade {
    pub(super) client: hyper::upgrade::OnUpgrade,
    protocol: HeaderValue,
    is_http2: bool,
}

impl Upgrade {
    /// Takes it from a request: `Upgrade` of HTTP/1.1, or `CONNECT` with a protocol (RFC 8441).
    pub(super) fn take(
        request: &mut Request<Incoming>,
        is_http2_upstream: bool,
    ) -> Result<Option<Upgrade>, Refusal> {
        let extended = request.extensions().get::<Protocol>().map(|it| it.as_str().to_owned());
        if is_http2_upstream {
            return match extended {
                Some(_) => Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, "upgrade")),
                None => Ok(None),
            };
        }
        if let Some(protocol) = extended {
            let bad = |_| Refusal::bad("bad_upgrade");
            let protocol = HeaderValue::from_str(&protocol).map_err(bad)?;
            let client = hyper::upgrade::on(&mut *request);
            *request.method_mut() = Method::GET;
            return Ok(Some(Upgrade { client, protocol, is_http2: true }));
        }
        let headers = request.headers();
        let asks = headers
            .get_all(header::CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|name| name.trim().eq_ignore_ascii_case("upgrade"));
        let Some(protocol) = headers.get(header::UPGRADE).filter(|_| asks).cloned() else {
            return Ok(None);
        };
        // An upgrade that carries a body is ambiguous; it goes on as an ordinary request.
        let has_body = headers.contains_key(header::TRANSFER_ENCODING)
            || headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0");
        if has_body || request.version() != Version::HTTP_11 {
            return Ok(None);
        }
        let client = hyper::upgrade::on(&mut *request);
        Ok(Some(Upgrade { client, protocol, is_http2: false }))
    }

    pub(super) fn is_websocket(&self) -> bool {
        self.protocol.as_bytes().eq_ignore_ascii_case(b"websocket")
    }

    pub(super) fn ask(&self, headers: &mut HeaderMap) {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, self.protocol.clone());
        if self.is_http2 {
            // HTTP/2 has no such key; any valid one does, and we look at no answer to it.
            let key = HeaderValue::from_static("amFjby1leHRlbmRlZC1jbw==");
            headers.insert(header::SEC_WEBSOCKET_KEY, key);
        }
    }

    pub(super) fn agree(&self, response: &mut Response<Body>) {
        if self.is_http2 {
            *response.status_mut() = StatusCode::OK;
            response.headers_mut().remove(header::SEC_WEBSOCKET_ACCEPT);
            return;
        }
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, self.protocol.clone());
    }
}
