//! Headers as they are written to a replica and read from it.

use super::Invalid;
use crate::http::headers::{Said, X_REQUEST_ID, tells_no_body, write_line};
use bytes::Bytes;
use hyper::ext::ReasonPhrase;
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING,
};
use hyper::http::{request, response};
use hyper::{Method, Response, StatusCode, Version};
use jaco_ingress_core::request::response::{Length, length, may_trail};
use std::mem::MaybeUninit;

/// Most lines of an answer's header.
const LINES: usize = 100;

/// How a request's body is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Nothing,
    Empty,
    Known(u64),
    Chunked,
}

impl Coding {
    /// `length` is that of the body, as far as it is known; zero when there is none.
    pub(super) fn of(method: &Method, length: Option<u64>) -> Coding {
        match length {
            Some(0) if tells_no_body(method) => Coding::Empty,
            Some(0) => Coding::Nothing,
            Some(length) => Coding::Known(length),
            None => Coding::Chunked,
        }
    }
}

/// Writes a request's header.
pub(super) fn write(
    out: &mut Vec<u8>,
    parts: &request::Parts,
    said: Option<&Said>,
    coding: Coding,
) {
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    put(out, &[parts.method.as_str().as_bytes(), b" ", target.as_bytes(), b" HTTP/1.1\r\n"]);
    for (name, value) in &parts.headers {
        write_line(out, name, value);
    }
    if let Some(Said { lines, id }) = said {
        out.extend_from_slice(lines);
        write_line(out, &X_REQUEST_ID, id);
    }
    match coding {
        Coding::Nothing => {}
        Coding::Empty => out.extend_from_slice(b"content-length: 0\r\n"),
        Coding::Known(length) => {
            put(out, &[b"content-length: ", length.to_string().as_bytes(), b"\r\n"]);
        }
        Coding::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
    }
    out.extend_from_slice(b"\r\n");
}

fn put(out: &mut Vec<u8>, parts: &[&[u8]]) {
    for part in parts {
        out.extend_from_slice(part);
    }
}

/// Writes what comes after the last chunk.
pub(super) fn write_trailers(out: &mut Vec<u8>, trailers: &HeaderMap) {
    for (name, value) in trailers.iter().filter(|(name, _)| may_trail(name.as_str())) {
        write_line(out, name, value);
    }
    out.extend_from_slice(b"\r\n");
}

/// An answer's header.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) parts: response::Parts,
    pub(super) length: Length,
    /// Whether the connection may serve another request after it.
    pub(super) stays: bool,
}

/// Reads a header when it is all there; also how long it is.
pub(super) fn read(bytes: &Bytes, to_head: bool) -> Result<Option<(Head, usize)>, Invalid> {
    let mut lines = [const { MaybeUninit::uninit() }; LINES];
    let mut read = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default()
        .parse_response_with_uninit_headers(&mut read, bytes, &mut lines)
        .map_err(|_| Invalid)?;
    let httparse::Status::Complete(size) = parsed else { return Ok(None) };
    let mut parts = Response::new(()).into_parts().0;
    parts.status = read.code.and_then(|it| StatusCode::from_u16(it).ok()).ok_or(Invalid)?;
    parts.version = if read.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
    // Most say what everybody says, which need not be kept.
    let own = read.reason.filter(|own| parts.status.canonical_reason() != Some(own));
    if let Some(own) = own.and_then(|own| ReasonPhrase::try_from(own.as_bytes()).ok()) {
        parts.extensions.insert(own);
    }
    parts.headers = fields(bytes, read.headers)?;
    let is_old = parts.version == Version::HTTP_10;
    let (status, headers) = (parts.status.as_u16(), &parts.headers);
    let all = |name: HeaderName| headers.get_all(name).into_iter().map(HeaderValue::as_bytes);
    let length = length(status, is_old, to_head, all(CONTENT_LENGTH), all(TRANSFER_ENCODING));
    let length = length.ok_or(Invalid)?;
    let says = |word| {
        let mut values = headers.get_all(CONNECTION).into_iter().filter_map(|it| it.to_str().ok());
        values.any(|it| it.split(',').any(|it| it.trim().eq_ignore_ascii_case(word)))
    };
    let stays = if is_old { says("keep-alive") } else { !says("close") };
    Ok(Some((Head { parts, length, stays }, size)))
}

/// Reads lines of trailers, without the empty one after them.
pub(super) fn read_trailers(bytes: &Bytes) -> Result<HeaderMap, Invalid> {
    let mut lines = [httparse::EMPTY_HEADER; LINES];
    let mut whole = bytes.to_vec();
    whole.extend_from_slice(b"\r\n");
    let whole = Bytes::from(whole);
    match httparse::parse_headers(&whole, &mut lines) {
        Ok(httparse::Status::Complete((_, lines))) => fields(&whole, lines),
        _ => Err(Invalid),
    }
}

fn fields(bytes: &Bytes, lines: &[httparse::Header<'_>]) -> Result<HeaderMap, Invalid> {
    let mut headers = HeaderMap::with_capacity(lines.len() + 1);
    for line in lines {
        let name = HeaderName::from_bytes(line.name.as_bytes()).map_err(|_| Invalid)?;
        let value = HeaderValue::from_maybe_shared(bytes.slice_ref(line.value));
        headers.append(name, value.map_err(|_| Invalid)?);
    }
    Ok(headers)
}
