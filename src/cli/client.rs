//! HTTP/1.1 over the daemon's unix socket.

use super::{Failure, Globals};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use jaco_kit::Seeds;
use jaco_model::view::ErrorBody;
use jaco_model::{ErrorCode, Fault};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;
use tokio::time::timeout;

/// Calls one daemon. Retryable faults are retried for a while with the same idempotency key, so
/// that nothing is done twice.
pub(crate) struct Client {
    runtime: Runtime,
    socket: PathBuf,
    limit: Duration,
}

/// One call.
pub(crate) struct Call {
    method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
    body: Option<Vec<u8>>,
}

impl Call {
    /// A call that reads.
    pub(crate) fn get(path: impl Into<String>) -> Call {
        Call { method: Method::GET, path: path.into(), query: Vec::new(), body: None }
    }

    /// A call that changes something.
    pub(crate) fn post<T: Serialize>(path: impl Into<String>, body: &T) -> Call {
        let body = serde_json::to_vec(body).unwrap_or_default();
        Call { method: Method::POST, body: Some(body), ..Call::get(path) }
    }

    /// A call that removes something.
    pub(crate) fn delete(path: impl Into<String>) -> Call {
        Call { method: Method::DELETE, ..Call::get(path) }
    }

    /// The same call with a query parameter.
    #[must_use]
    pub(crate) fn with(mut self, key: &'static str, value: impl ToString) -> Call {
        self.query.push((key, value.to_string()));
        self
    }

    /// The same call with a query parameter if there is a value.
    #[must_use]
    pub(crate) fn with_some<T: ToString>(self, key: &'static str, value: Option<T>) -> Call {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    fn uri(&self) -> String {
        let pairs = self.query.iter().map(|(key, value)| format!("{key}={}", escape(value)));
        let query = pairs.collect::<Vec<_>>().join("&");
        if query.is_empty() { self.path.clone() } else { format!("{}?{query}", self.path) }
    }
}

/// A path segment or query value with everything but unreserved characters escaped (RFC 3986).
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

/// How long retryable faults are retried.
const RETRY_FOR: Duration = Duration::from_secs(10);
/// Pause between two tries.
const RETRY_EVERY: Duration = Duration::from_millis(250);

impl Client {
    /// A client that has not connected yet.
    pub(crate) fn new(globals: &Globals) -> Result<Client, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::internal(error.to_string()))?;
        let (socket, limit) = (globals.socket.clone(), globals.request_timeout);
        Ok(Client { runtime, socket, limit })
    }

    /// Runs a future on the client's runtime.
    pub(crate) fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// Waits between two looks at something.
    pub(crate) fn pause(&self, wait: Duration) {
        self.block_on(async move { tokio::time::sleep(wait).await });
    }

    /// As [`Client::call`], without another try: for callers that look again anyway.
    pub(crate) fn look<T: DeserializeOwned>(&self, call: &Call) -> Result<T, Failure> {
        self.block_on(async {
            let answer = self.once(call, &"0".repeat(32)).await?;
            let body = timeout(self.limit, answer.into_body().collect()).await;
            let body = body.map_err(|_| self.silent())?;
            let bytes = body.map_err(|error| self.broken(&error.to_string()))?.to_bytes();
            serde_json::from_slice(&bytes).map_err(|error| {
                Failure::internal(format!("the daemon's answer is not understood: {error}"))
            })
        })
    }

    /// One call and its whole answer.
    pub(crate) fn call<T: DeserializeOwned>(&self, call: &Call) -> Result<T, Failure> {
        self.block_on(self.fetch(call))
    }

    /// As [`Client::call`], for callers that wait in their own way.
    pub(crate) async fn fetch<T: DeserializeOwned>(&self, call: &Call) -> Result<T, Failure> {
        let bytes = self.whole(call).await?;
        serde_json::from_slice(&bytes).map_err(|error| {
            Failure::internal(format!("the daemon's answer is not understood: {error}"))
        })
    }

    async fn whole(&self, call: &Call) -> Result<Bytes, Failure> {
        let answer = self.with_retries(call).await?;
        let body = timeout(self.limit, answer.into_body().collect()).await;
        match body {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) => Err(self.broken(&error.to_string())),
            Err(_) => Err(self.silent()),
        }
    }

    /// An answer that goes on, line by line. A connection that breaks ends it with a fault.
    pub(crate) async fn lines(&self, call: &Call) -> Result<Lines, Failure> {
        let answer = self.with_retries(call).await?;
        Ok(Lines { body: answer.into_body(), buffer: Vec::new() })
    }

    /// Tries until the answer is no retryable fault, or time is up.
    async fn with_retries(&self, call: &Call) -> Result<Response<Incoming>, Failure> {
        let key = Seeds.id().map_err(|error| Failure::internal(error.to_string()))?;
        let key = format!("{key:032x}");
        let tries = RETRY_FOR.as_millis() / RETRY_EVERY.as_millis();
        let mut last = self.once(call, &key).await;
        for _ in 0..tries {
            let fault = last.as_ref().err().and_then(Failure::fault);
            // A daemon that is not there is said at once: nobody waits for a typo in a path.
            let again = fault.is_some_and(|fault| {
                fault.code.is_retryable()
                    && !matches!(fault.code, ErrorCode::Unreachable | ErrorCode::ImagePullFailed)
            });
            if !again {
                break;
            }
            tokio::time::sleep(RETRY_EVERY).await;
            last = self.once(call, &key).await;
        }
        last
    }

    async fn once(&self, call: &Call, key: &str) -> Result<Response<Incoming>, Failure> {
        let mut sender = self.connect().await?;
        let body = Full::new(Bytes::from(call.body.clone().unwrap_or_default()));
        let request = Request::builder()
            .method(call.method.clone())
            .uri(call.uri())
            .header("Host", "localhost")
            .header("Content-Type", "application/json")
            .header("Idempotency-Key", key)
            .body(body)
            .map_err(|error| Failure::internal(error.to_string()))?;
        let answer = match timeout(self.limit, sender.send_request(request)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(self.broken(&error.to_string())),
            Err(_) => return Err(self.silent()),
        };
        if answer.status().is_success() { Ok(answer) } else { Err(self.refusal(answer).await) }
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, Failure> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|e| self.unreachable(&e))?;
        let (sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(|e| self.broken(&e.to_string()))?;
        tokio::spawn(async move {
            // An error of the connection reaches the caller through its request or body.
            let _ = connection.await;
        });
        Ok(sender)
    }

    /// The fault in a refused answer.
    async fn refusal(&self, answer: Response<Incoming>) -> Failure {
        let status = answer.status();
        let body = answer.into_body().collect().await;
        let bytes = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        match serde_json::from_slice::<ErrorBody>(&bytes) {
            Ok(body) => body.into(),
            Err(_) => Failure::internal(format!("the daemon answered {status} without a reason")),
        }
    }

    fn unreachable(&self, error: &io::Error) -> Failure {
        let socket = self.socket.display();
        if error.kind() == io::ErrorKind::PermissionDenied {
            return Fault::new(ErrorCode::PermissionDenied, format!("{socket}: {error}"))
                .with("path", socket)
                .with("hint", "run as root, or join the group that owns the socket")
                .into();
        }
        Fault::new(ErrorCode::Unreachable, format!("no daemon answers on {socket}: {error}"))
            .with("server", socket)
            .with("hint", "start jacod, or name another socket with --socket")
            .into()
    }

    fn broken(&self, reason: &str) -> Failure {
        let message = format!("the connection to the daemon broke: {reason}");
        Fault::new(ErrorCode::Unreachable, message).with("server", self.socket.display()).into()
    }

    fn silent(&self) -> Failure {
        let limit = self.limit.as_millis();
        let message = format!("the daemon did not answer within {limit} ms");
        Fault::new(ErrorCode::Unreachable, message)
            .with("server", self.socket.display())
            .with("hint", "--request-timeout raises the limit")
            .into()
    }
}

/// An answer that goes on.
pub(crate) struct Lines {
    body: Incoming,
    buffer: Vec<u8>,
}

impl Lines {
    /// The next value; `None` when the daemon ended the answer.
    pub(crate) async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Failure> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return parse_line(&line).map(Some);
            }
            match self.body.frame().await {
                None if self.buffer.is_empty() => return Ok(None),
                None => {
                    let line = std::mem::take(&mut self.buffer);
                    return parse_line(&line).map(Some);
                }
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.buffer.extend_from_slice(data);
                    }
                }
                Some(Err(error)) => {
                    let message = format!("the connection to the daemon broke: {error}");
                    return Err(Fault::new(ErrorCode::Unreachable, message).into());
                }
            }
        }
    }
}

/// A value, or the fault that ends the answer.
fn parse_line<T: DeserializeOwned>(line: &[u8]) -> Result<T, Failure> {
    match serde_json::from_slice(line) {
        Ok(value) => Ok(value),
        Err(error) => Err(match serde_json::from_slice::<ErrorBody>(line) {
            Ok(body) => body.into(),
            Err(_) => Failure::internal(format!("the daemon's answer is not understood: {error}")),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_escaped() {
        let call = Call::get("/v1/logs").with("target", "a/b c").with_some("tail", None::<u64>);
        assert_eq!(call.uri(), "/v1/logs?target=a%2Fb%20c");
    }
}
