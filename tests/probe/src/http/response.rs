//! Responses as a server writes them.

use std::io::{self, Write};

/// A response with a body that is known in full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn text(status: u16, body: impl Into<String>) -> Self {
        Self { status, body: body.into().into_bytes() }
    }

    /// Writes the whole response; `head_only` is for answers to HEAD.
    pub(crate) fn write(
        &self,
        writer: &mut impl Write,
        keep_alive: bool,
        head_only: bool,
    ) -> io::Result<()> {
        let mut message = status_line(self.status).into_bytes();
        message.extend_from_slice(b"Content-Type: text/plain; charset=utf-8\r\n");
        // 204 and 304 have no body, and 204 must not announce one.
        let bodyless = matches!(self.status, 204 | 304);
        if !bodyless {
            message.extend(format!("Content-Length: {}\r\n", self.body.len()).bytes());
        }
        if !keep_alive {
            message.extend_from_slice(b"Connection: close\r\n");
        }
        message.extend_from_slice(b"\r\n");
        if !bodyless && !head_only {
            message.extend_from_slice(&self.body);
        }
        writer.write_all(&message)?;
        writer.flush()
    }
}

/// First line of a response with its line end.
pub(crate) fn status_line(status: u16) -> String {
    format!("HTTP/1.1 {status} {}\r\n", reason(status))
}

fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        200 => "OK",
        204 => "No Content",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        426 => "Upgrade Required",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Status",
    }
}

/// Writes a body in chunks as it comes up.
#[derive(Debug)]
pub(crate) struct Chunks<W> {
    writer: W,
}

impl<W: Write> Chunks<W> {
    /// Writes the head of a 200 response whose body follows in chunks.
    pub(crate) fn start(mut writer: W, content_type: &str) -> io::Result<Self> {
        write!(
            writer,
            "{}Content-Type: {content_type}\r\nCache-Control: no-store\r\n\
             Transfer-Encoding: chunked\r\n\r\n",
            status_line(200)
        )?;
        writer.flush()?;
        Ok(Self { writer })
    }

    /// Sends one chunk at once; an empty one is skipped, since it would end the body.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
        chunk.extend_from_slice(bytes);
        chunk.extend_from_slice(b"\r\n");
        self.writer.write_all(&chunk)?;
        self.writer.flush()
    }

    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.writer.write_all(b"0\r\n\r\n")?;
        self.writer.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(response: &Response, keep_alive: bool, head_only: bool) -> String {
        let mut bytes = Vec::new();
        response.write(&mut bytes, keep_alive, head_only).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_response_announces_its_size() {
        let text = written(&Response::text(200, "hi"), false, false);
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"));
        assert!(text.contains("Content-Length: 2\r\nConnection: close\r\n"));
        assert!(text.ends_with("\r\n\r\nhi"));
        assert!(written(&Response::text(200, "hi"), true, true).ends_with("\r\n\r\n"));
        assert!(!written(&Response::text(204, ""), true, false).contains("Content-Length"));
    }

    #[test]
    fn chunks_are_framed() {
        let mut bytes = Vec::new();
        let mut chunks = Chunks::start(&mut bytes, "text/event-stream").unwrap();
        chunks.send(b"").unwrap();
        chunks.send(&[b'x'; 16]).unwrap();
        chunks.finish().unwrap();
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.ends_with("\r\n\r\n10\r\nxxxxxxxxxxxxxxxx\r\n0\r\n\r\n"), "{text}");
    }
}
