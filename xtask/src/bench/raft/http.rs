//! HTTP/1.1 over a unix socket on a connection that stays: what a client of the API does that
//! calls all the time.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

/// Limit of one read or write.
const STEP_LIMIT: Duration = Duration::from_secs(20);

/// Longest answer that is believed.
const BODY_MAX: u64 = 64 << 20;

/// A connection.
#[derive(Debug)]
pub(super) struct Http {
    stream: BufReader<UnixStream>,
}

impl Http {
    /// Connects to a socket.
    pub(super) fn connect(socket: &Path) -> Result<Http> {
        let stream =
            UnixStream::connect(socket).with_context(|| format!("{}", socket.display()))?;
        stream.set_read_timeout(Some(STEP_LIMIT))?;
        stream.set_write_timeout(Some(STEP_LIMIT))?;
        Ok(Http { stream: BufReader::new(stream) })
    }

    /// Posts JSON and gives the body of a successful answer.
    pub(super) fn post(&mut self, path: &str, body: &str) -> Result<Vec<u8>> {
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: jaco\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.get_mut().write_all(request.as_bytes())?;
        let (status, body) = read_answer(&mut self.stream)?;
        let text = || String::from_utf8_lossy(&body).into_owned();
        ensure!((200..300).contains(&status), "POST {path}: status {status}: {}", text());
        Ok(body)
    }
}

fn read_answer(reader: &mut impl BufRead) -> Result<(u16, Vec<u8>)> {
    let mut line = String::new();
    read_line(reader, &mut line)?;
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.with_context(|| format!("wrong status line {line:?}"))?;
    let (mut size, mut chunked) = (0, false);
    loop {
        read_line(reader, &mut line)?;
        let Some((name, value)) = line.split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            size = value.trim().parse()?;
        }
        chunked |= name.eq_ignore_ascii_case("transfer-encoding");
    }
    let mut body = Vec::new();
    if !chunked {
        take(reader, size, &mut body)?;
        return Ok((status, body));
    }
    loop {
        read_line(reader, &mut line)?;
        let size = u64::from_str_radix(&line, 16).context("chunk size")?;
        take(reader, size, &mut body)?;
        read_line(reader, &mut line)?;
        if size == 0 {
            return Ok((status, body));
        }
    }
}

fn take(reader: &mut impl BufRead, size: u64, body: &mut Vec<u8>) -> Result<()> {
    ensure!(size <= BODY_MAX, "an answer of {size} bytes");
    let read = reader.take(size).read_to_end(body)?;
    ensure!(read as u64 == size, "the answer is cut off");
    Ok(())
}

fn read_line(reader: &mut impl BufRead, line: &mut String) -> Result<()> {
    line.clear();
    if reader.read_line(line)? == 0 {
        bail!("the answer is cut off");
    }
    line.truncate(line.trim_end().len());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_follow_one_another_on_one_connection() {
        let mut text = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi\
                        HTTP/1.1 503 No\r\ntransfer-encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n\
                        HTTP/1.1 204 No Content\r\n\r\n"
            .as_bytes();
        for (status, body) in [(200, "hi"), (503, "no"), (204, "")] {
            assert_eq!(read_answer(&mut text).unwrap(), (status, body.as_bytes().to_vec()));
        }
        assert!(read_answer(&mut text).is_err());
        assert!(read_answer(&mut &b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi"[..]).is_err());
    }
}
