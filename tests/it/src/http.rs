//! One call of the product's API on a unix socket, under a key of the caller's choice.
//!
//! The lab's client sends no key, and a write that is tried again elsewhere must keep its own.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

/// Longest time until an answer: longer than a member waits for the leader.
const LIMIT: Duration = Duration::from_secs(20);

/// What a daemon answered.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// HTTP status.
    pub(crate) status: u16,
    /// The body; null when it is empty.
    pub(crate) body: Value,
}

impl Answer {
    /// The error code of a refusal; empty when there is none.
    pub(crate) fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or_default()
    }
}

/// A request's parts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    /// Under the same key nothing is done twice.
    pub(crate) key: Option<u128>,
    pub(crate) body: &'a str,
}

/// Calls the daemon behind a socket.
///
/// # Errors
/// When it is away, or goes before it has answered.
pub(crate) fn call(socket: &Path, call: Call<'_>) -> Result<Answer> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(LIMIT))?;
    let Call { method, path, key, body } = call;
    let key = key.map(|key| format!("Idempotency-Key: {key:032x}\r\n")).unwrap_or_default();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: jaco\r\nConnection: close\r\n\
         Content-Type: application/json\r\n{key}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    read(&text).with_context(|| format!("answer to {method} {path}: {text:?}"))
}

fn read(text: &str) -> Result<Answer> {
    let (head, body) = text.split_once("\r\n\r\n").context("no head")?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.context("no status")?;
    let body = if body.is_empty() { Value::Null } else { serde_json::from_str(body)? };
    Ok(Answer { status, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_off_is_no_answer() {
        let whole = "HTTP/1.1 503 X\r\nA: b\r\n\r\n{\"error\":{\"code\":\"no_leader\"}}";
        let answer = read(whole).unwrap();
        assert_eq!((answer.status, answer.code()), (503, "no_leader"));
        assert_eq!(read("HTTP/1.1 204 X\r\n\r\n").unwrap().body, Value::Null);
        for end in [0, 8, whole.len() - 1] {
            assert!(read(&whole[..end]).is_err(), "{end}");
        }
    }
}
