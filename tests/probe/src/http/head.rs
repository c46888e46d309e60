//! The head of a message: its first line and its headers.

use std::io::{self, BufRead};

/// Longest head that is read; a longer one is refused rather than kept in memory.
const HEAD_BYTES_MAX: usize = 64 * 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) first_line: String,
    headers: Vec<(String, String)>,
}

impl Head {
    /// Reads up to the empty line; `None` when the peer closed before the first byte.
    pub(crate) fn read(reader: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut left = HEAD_BYTES_MAX;
        let Some(first_line) = read_line(reader, &mut left)? else { return Ok(None) };
        let mut headers = Vec::new();
        loop {
            let line = read_line(reader, &mut left)?.ok_or_else(|| bad("head is cut off"))?;
            if line.is_empty() {
                return Ok(Some(Self { first_line, headers }));
            }
            let (name, value) = line.split_once(':').ok_or_else(|| bad("header without colon"))?;
            if name.is_empty() || name.contains([' ', '\t']) {
                return Err(bad("white space in a header name"));
            }
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
    }

    /// Value of the first header of that name, in any case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Whether a comma-separated header lists the token, in any case.
    pub(crate) fn lists(&self, name: &str, token: &str) -> bool {
        self.headers
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .flat_map(|(_, value)| value.split(','))
            .any(|item| item.trim().eq_ignore_ascii_case(token))
    }

    pub(crate) fn headers(&self) -> &[(String, String)] {
        &self.headers
    }
}

/// Reads one line without its end, at most `left` bytes of it; `None` at the end of the stream.
pub(crate) fn read_line(reader: &mut impl BufRead, left: &mut usize) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    loop {
        let available = reader.fill_buf()?;
        if available.is_empty() {
            return if line.is_empty() { Ok(None) } else { Err(bad("line is cut off")) };
        }
        let end = available.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(available.len(), |at| at + 1);
        *left = left.checked_sub(taken).ok_or_else(|| bad("head is too long"))?;
        line.extend_from_slice(&available[..taken]);
        reader.consume(taken);
        if end.is_some() {
            break;
        }
    }
    line.pop();
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    String::from_utf8(line).map(Some).map_err(|_| bad("head is not text"))
}

/// An error in what the peer sent, as opposed to a broken connection.
pub(crate) fn bad(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> io::Result<Option<Head>> {
        Head::read(&mut text.as_bytes())
    }

    #[test]
    fn first_line_and_headers_are_read() {
        let head = parse("GET / HTTP/1.1\r\nHost: a\r\nconnection: Upgrade, close\r\n\r\nrest");
        let head = head.unwrap().unwrap();
        assert_eq!(head.first_line, "GET / HTTP/1.1");
        assert_eq!(head.header("HOST"), Some("a"));
        assert!(head.lists("Connection", "CLOSE"));
        assert!(!head.lists("Connection", "clos"));
    }

    #[test]
    fn a_closed_connection_is_no_error() {
        assert_eq!(parse("").unwrap(), None);
    }

    #[test]
    fn broken_heads_are_refused() {
        for text in
            ["GET /", "GET / HTTP/1.1\r\nHost: a", "G\r\nHost\r\n\r\n", "G\r\nA b: c\r\n\r\n"]
        {
            assert!(parse(text).is_err(), "{text:?}");
        }
        let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(HEAD_BYTES_MAX));
        assert!(parse(&long).is_err());
    }
}
