//! A service of the user publishes: one POST for each change, any status of 2xx is success.

use super::{Action, DnsError, TTL};
use crate::acme::http::{CLIENT, chain, connector};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT};
use hyper::{HeaderMap, Method, Request, Response, Uri};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use jaco_model::spec::SecretText;
use std::path::Path;
use std::time::Duration;
use tokio::time::timeout;

/// Longest wait for an answer.
const LIMIT: Duration = Duration::from_secs(30);
/// Bytes of an answer that are shown.
const ANSWER_MAX: usize = 1_024;

pub(super) struct Webhook {
    url: Uri,
    headers: HeaderMap,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhook").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Webhook {
    pub(super) fn new(
        url: &str,
        headers: Option<&SecretText>,
        roots: Option<&Path>,
    ) -> Result<Webhook, DnsError> {
        let odd = || DnsError::Settings(format!("{url:?} is no https URL"));
        let url: Uri = url.parse().map_err(|_| odd())?;
        if url.scheme_str() != Some("https") || url.host().is_none() {
            return Err(odd());
        }
        let headers = headers.map_or(Ok(HeaderMap::new()), |text| read_headers(text.reveal()))?;
        let connector = connector(roots).map_err(DnsError::Settings)?;
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Webhook { url, headers, client })
    }

    pub(super) async fn call(
        &self,
        action: Action,
        name: &str,
        value: &str,
    ) -> Result<(), DnsError> {
        let body = serde_json::json!({
            "action": action.name(), "fqdn": name, "value": value, "ttl": TTL,
        });
        let url = &self.url;
        let mut request = Request::new(Full::from(body.to_string()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = url.clone();
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(CLIENT));
        request.headers_mut().extend(self.headers.clone());
        let away = |detail: String| DnsError::Away(format!("{url} does not answer: {detail}"));
        let answer = timeout(LIMIT, self.client.request(request)).await;
        let answer = answer.map_err(|_| away("not in time".to_owned()))?;
        let answer = answer.map_err(|error| away(chain(&error)))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let said = timeout(LIMIT, said(answer)).await.unwrap_or_default();
        Err(DnsError::Refused(format!("{url} answers {} with {status}{said}", action.name())))
    }
}

/// The start of an answer's body, as the end of an error's text.
async fn said(answer: Response<hyper::body::Incoming>) -> String {
    let body = Limited::new(answer.into_body(), ANSWER_MAX).collect().await;
    let body = body.map(|body| body.to_bytes()).unwrap_or_default();
    let text = String::from_utf8_lossy(&body);
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if text.is_empty() { text } else { format!(": {text}") }
}

/// Headers of a text with one `Name: value` a line. Errors do not repeat what is secret.
fn read_headers(text: &str) -> Result<HeaderMap, DnsError> {
    let mut headers = HeaderMap::new();
    let lines = text.lines().map(str::trim).enumerate();
    for (index, line) in lines.filter(|(_, line)| !line.is_empty()) {
        let odd = || DnsError::Settings(format!("line {} of the headers is no header", index + 1));
        let (name, value) = line.split_once(':').ok_or_else(odd)?;
        let name: HeaderName = name.trim().parse().map_err(|_| odd())?;
        let mut value: HeaderValue = value.trim().parse().map_err(|_| odd())?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_lines_and_never_shown() {
        let headers = read_headers("Authorization: Bearer x:y\n\n X-Key:  1 \n").unwrap();
        assert_eq!(headers["authorization"], "Bearer x:y");
        assert_eq!(headers["x-key"], "1");
        assert!(!format!("{headers:?}").contains("x:y"));
        let error = read_headers("A: b\nsecret-without-colon").unwrap_err().to_string();
        assert_eq!(error, "line 2 of the headers is no header");
    }

    #[test]
    fn only_https_is_taken() {
        for url in ["http://a.example/", "/x", "https://", "no url"] {
            assert!(Webhook::new(url, None, None).is_err(), "{url}");
        }
    }
}
