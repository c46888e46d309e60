//! A small client of the Docker Engine API: HTTP/1.1 over a unix socket, one connection a call.
//!
//! Tests look at the engine through this client and not through the product's, so that a mistake
//! of the one does not hide a mistake of the other.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// Limit of one read or write; stopping a container takes up to ten seconds.
const STEP_LIMIT: Duration = Duration::from_secs(60);

/// The engine behind one socket.
#[derive(Debug, Clone)]
pub struct Engine {
    socket: PathBuf,
}

/// An answer of the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Body without its framing.
    pub body: Vec<u8>,
}

impl Engine {
    /// A client of whatever speaks HTTP on this socket.
    #[must_use]
    pub fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// Whether the engine answers.
    ///
    /// # Errors
    /// When it does not.
    pub fn ping(&self) -> Result<()> {
        self.request("GET", "/_ping", "text/plain", b"")?.success().map(drop)
    }

    /// Gets a path such as `/containers/json?all=1` as JSON.
    ///
    /// # Errors
    /// When the engine does not answer with success and JSON.
    pub fn get(&self, path: &str) -> Result<Value> {
        let body = self.request("GET", path, "text/plain", b"")?.success()?;
        serde_json::from_slice(&body).with_context(|| format!("answer to GET {path}"))
    }

    /// Posts JSON; `Value::Null` for no body or no answer.
    ///
    /// # Errors
    /// When the engine does not answer with success.
    pub fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = self.request("POST", path, "application/json", body.as_bytes())?.success()?;
        if answer.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&answer).with_context(|| format!("answer to POST {path}"))
    }

    /// Deletes a path.
    ///
    /// # Errors
    /// When the engine does not answer with success.
    pub fn delete(&self, path: &str) -> Result<()> {
        self.request("DELETE", path, "text/plain", b"")?.success().map(drop)
    }

    /// All containers, running or not.
    ///
    /// # Errors
    /// When the engine does not answer with success.
    pub fn containers(&self) -> Result<Vec<Value>> {
        match self.get("/containers/json?all=1")? {
            Value::Array(containers) => Ok(containers),
            other => bail!("containers are no list: {other}"),
        }
    }

    /// Full description of one container, by id or name.
    ///
    /// # Errors
    /// When there is none.
    pub fn inspect(&self, container: &str) -> Result<Value> {
        self.get(&format!("/containers/{container}/json"))
    }

    /// Kills and removes a container with its anonymous volumes.
    ///
    /// # Errors
    /// When there is none.
    pub fn remove(&self, container: &str) -> Result<()> {
        self.delete(&format!("/containers/{container}?force=1&v=1"))
    }

    /// Imports a tar archive as an image; `change` is one Dockerfile instruction.
    pub(crate) fn import(&self, tag: &str, change: &str, archive: &[u8]) -> Result<()> {
        let (name, tag) = tag.rsplit_once(':').unwrap_or((tag, "latest"));
        let path = format!(
            "/images/create?fromSrc=-&repo={}&tag={}&changes={}",
            escape(name),
            escape(tag),
            escape(change)
        );
        self.upload(&path, archive)
    }

    /// Loads images from an archive as `docker save` makes it.
    pub(crate) fn load(&self, archive: &[u8]) -> Result<()> {
        self.upload("/images/load?quiet=1", archive)
    }

    fn upload(&self, path: &str, archive: &[u8]) -> Result<()> {
        let answer = self.request("POST", path, "application/x-tar", archive)?.success()?;
        // Progress is a stream of JSON values, and an error in its midst comes with status 200.
        let mut progress = serde_json::Deserializer::from_slice(&answer).into_iter::<Value>();
        progress.try_for_each(|step| {
            let step = step.context("import progress")?;
            ensure!(step.get("error").is_none(), "import: {step}");
            Ok(())
        })
    }

    /// Sends one request and reads the whole answer, whatever its status.
    ///
    /// # Errors
    /// When the socket or the answer is broken.
    pub fn request(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> Result<Response> {
        let at = || format!("{method} {path} at {}", self.socket.display());
        let mut stream = UnixStream::connect(&self.socket).with_context(at)?;
        stream.set_read_timeout(Some(STEP_LIMIT))?;
        stream.set_write_timeout(Some(STEP_LIMIT))?;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\
             Content-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        )
        .with_context(at)?;
        stream.write_all(body).with_context(at)?;
        read_response(&mut BufReader::new(stream)).with_context(at)
    }
}

impl Response {
    /// The body of a successful answer; the engine's message otherwise.
    fn success(self) -> Result<Vec<u8>> {
        let message = || String::from_utf8_lossy(&self.body).trim().to_owned();
        ensure!((200..300).contains(&self.status), "status {}: {}", self.status, message());
        Ok(self.body)
    }
}

fn read_response(reader: &mut impl BufRead) -> Result<Response> {
    let first = line(reader)?;
    let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.with_context(|| format!("wrong status line {first:?}"))?;
    let mut size = None;
    let mut chunked = false;
    loop {
        let header = line(reader)?.to_ascii_lowercase();
        match header.split_once(':') {
            None => break,
            Some(("content-length", value)) => size = Some(value.trim().parse()?),
            Some(("transfer-encoding", value)) => chunked = value.trim() == "chunked",
            Some(_) => {}
        }
    }
    let mut body = Vec::new();
    match size {
        _ if chunked => read_chunks(reader, &mut body)?,
        Some(size) => {
            body = vec![0; size];
            reader.read_exact(&mut body)?;
        }
        None => drop(reader.read_to_end(&mut body)?),
    }
    Ok(Response { status, body })
}

fn read_chunks(reader: &mut impl BufRead, body: &mut Vec<u8>) -> Result<()> {
    loop {
        let size = u64::from_str_radix(&line(reader)?, 16).context("chunk size")?;
        let read = reader.by_ref().take(size).read_to_end(body)?;
        ensure!(read as u64 == size, "chunk is cut off");
        line(reader)?;
        if size == 0 {
            return Ok(());
        }
    }
}

fn line(reader: &mut impl BufRead) -> Result<String> {
    let mut text = String::new();
    ensure!(reader.read_line(&mut text)? > 0, "answer is cut off");
    Ok(text.trim_end().to_owned())
}

/// Escapes a query value.
fn escape(value: &str) -> String {
    value.bytes().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_every_framing_are_read() {
        for (text, status, body) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", 200, "hi"),
            ("HTTP/1.1 201 X\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", 201, "hi"),
            ("HTTP/1.1 204 No Content\r\n\r\n", 204, ""),
        ] {
            let response = read_response(&mut text.as_bytes()).unwrap();
            assert_eq!((response.status, response.body.as_slice()), (status, body.as_bytes()));
        }
        for text in ["", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi", "nonsense\r\n\r\n"] {
            assert!(read_response(&mut text.as_bytes()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn query_values_are_escaped() {
        assert_eq!(escape(r#"CMD ["/a"]"#), "CMD%20%5B%22%2Fa%22%5D");
    }
}
