//! Requests as a server reads them.

use std::io::{self, BufRead};

use super::body::{Body, Framing};
use super::head::{Head, bad};
use super::url;

/// One request: its head is read, its body is not.
#[derive(Debug)]
pub(crate) struct Request<'a, R> {
    pub(crate) method: String,
    pub(crate) path: String,
    query: String,
    pub(crate) head: Head,
    pub(crate) body: Body<'a, R>,
    /// Whether the connection may serve another request.
    pub(crate) keep_alive: bool,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub(crate) expects_continue: bool,
}

impl<'a, R: BufRead> Request<'a, R> {
    /// Reads the next request; `None` when the client closed the connection.
    pub(crate) fn read(reader: &'a mut R) -> io::Result<Option<Self>> {
        let Some(head) = Head::read(reader)? else { return Ok(None) };
        let mut words = head.first_line.split(' ');
        let (Some(method), Some(target), Some(version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(bad("wrong request line"));
        };
        let keep_alive = match version {
            "HTTP/1.1" => !head.lists("connection", "close"),
            "HTTP/1.0" => head.lists("connection", "keep-alive"),
            _ => return Err(bad("unknown HTTP version")),
        };
        if version == "HTTP/1.1" && head.header("host").is_none() {
            return Err(bad("no Host header"));
        }
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let (method, path, query) = (method.to_owned(), path.to_owned(), query.to_owned());
        let framing = Framing::of(&head)?;
        let expects_continue = head.lists("expect", "100-continue") && framing.is_some();
        let body = Body::new(reader, framing);
        Ok(Some(Self { method, path, query, head, body, keep_alive, expects_continue }))
    }

    pub(crate) fn query(&self, name: &str) -> Option<String> {
        url::query_value(&self.query, name)
    }

    /// A query parameter as a number, or the default when it is absent.
    pub(crate) fn number(&self, name: &str, default: u64) -> Result<u64, String> {
        self.query(name).map_or(Ok(default), |text| {
            text.parse().map_err(|_| format!("{name}={text} is not a number"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_one_after_another() {
        let mut reader = "POST /a?b=1 HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nxxGET / \
                          HTTP/1.0\r\n\r\n"
            .as_bytes();
        let mut first = Request::read(&mut reader).unwrap().unwrap();
        assert_eq!((first.method.as_str(), first.path.as_str()), ("POST", "/a"));
        assert_eq!(first.number("b", 0), Ok(1));
        assert!(first.keep_alive);
        io::copy(&mut first.body, &mut io::sink()).unwrap();
        let second = Request::read(&mut reader).unwrap().unwrap();
        assert!(!second.keep_alive);
        assert_eq!(second.path, "/");
    }

    #[test]
    fn wrong_requests_are_refused() {
        for text in ["GET /\r\n\r\n", "GET / HTTP/2\r\n\r\n", "GET / HTTP/1.1\r\n\r\n"] {
            assert!(Request::read(&mut text.as_bytes()).is_err(), "{text:?}");
        }
    }
}
