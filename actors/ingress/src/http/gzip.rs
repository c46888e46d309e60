//! Answers that are compressed on their way. What came is passed on as soon as no more is there.

use super::body::{Body, Fault};
use super::pipeline::text;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::Response;
use hyper::body::{Body as _, Frame};
use hyper::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    ETAG, HeaderMap, HeaderValue, VARY,
};
use jaco_ingress_core::request::compress::{Answer, is_worth_it, varies, weakened};
use std::io::Write;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Fast enough for a thread that serves others too.
const LEVEL: u32 = 4;
/// Compressed bytes that go out at once.
const FULL: usize = 16 * 1024;
/// Bytes that are taken in before something goes out.
const MOST: usize = 256 * 1024;

/// A body that is compressed.
pub(super) struct Gzip {
    from: Body,
    /// `None` when it is over.
    encoder: Option<GzEncoder<Vec<u8>>>,
    /// Taken in since something went out.
    held: usize,
    trailers: Option<HeaderMap>,
}

/// Makes the headers those of a compressed answer. Whether it is to be one.
pub(super) fn agree(response: &mut Response<Body>, takes_gzip: bool) -> bool {
    let headers = response.headers();
    let cache_control: Vec<&str> = values(headers, &CACHE_CONTROL).collect();
    let answer = Answer {
        status: response.status().as_u16(),
        kind: text(headers, CONTENT_TYPE.as_str()),
        encoding: text(headers, CONTENT_ENCODING.as_str()),
        cache_control: &cache_control.join(","),
        is_range: headers.contains_key(CONTENT_RANGE),
        length: response.body().size_hint().exact(),
    };
    if response.body().is_end_stream() || !is_worth_it(&answer) {
        return false;
    }
    let varies = varies(values(headers, &VARY));
    let tag = headers.get(ETAG).and_then(|tag| weakened(tag.to_str().ok()?));
    let headers = response.headers_mut();
    if !varies {
        headers.append(VARY, HeaderValue::from_static("accept-encoding"));
    }
    if !takes_gzip {
        return false;
    }
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    headers.remove(CONTENT_LENGTH);
    headers.remove(ACCEPT_RANGES);
    for digest in ["content-md5", "content-digest", "repr-digest", "digest"] {
        headers.remove(digest);
    }
    if let Some(tag) = tag.and_then(|tag| HeaderValue::from_str(&tag).ok()) {
        headers.insert(ETAG, tag);
    }
    true
}

fn values<'a>(
    headers: &'a HeaderMap,
    name: &hyper::header::HeaderName,
) -> impl Iterator<Item = &'a str> {
    headers.get_all(name).iter().filter_map(|value| value.to_str().ok())
}

impl Gzip {
    pub(super) fn new(from: Body) -> Gzip {
        let encoder = GzEncoder::new(Vec::new(), Compression::new(LEVEL));
        Gzip { from, encoder: Some(encoder), held: 0, trailers: None }
    }

    pub(super) fn is_over(&self) -> bool {
        self.encoder.is_none() && self.trailers.is_none()
    }

    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        loop {
            let Some(encoder) = &mut self.encoder else {
                return Poll::Ready(self.trailers.take().map(|it| Ok(Frame::trailers(it))));
            };
            match Pin::new(&mut self.from).poll_frame(cx) {
                Poll::Pending if self.held == 0 => return Poll::Pending,
                Poll::Pending => return Poll::Ready(Some(self.flush())),
                Poll::Ready(Some(Err(fault))) => return Poll::Ready(Some(Err(fault))),
                Poll::Ready(None) => return Poll::Ready(Some(self.finish())),
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => {
                        self.held += data.len();
                        encoder.write_all(&data).map_err(|_| Fault::Gone)?;
                        if encoder.get_ref().len() >= FULL || self.held >= MOST {
                            return Poll::Ready(Some(self.flush()));
                        }
                    }
                    Err(frame) => {
                        self.trailers = frame.into_trailers().ok();
                        return Poll::Ready(Some(self.finish()));
                    }
                },
            }
        }
    }

    /// What is there, so that the client can read all that came.
    fn flush(&mut self) -> Result<Frame<Bytes>, Fault> {
        self.held = 0;
        let encoder = self.encoder.as_mut().ok_or(Fault::Gone)?;
        encoder.flush().map_err(|_| Fault::Gone)?;
        Ok(Frame::data(std::mem::take(encoder.get_mut()).into()))
    }

    fn finish(&mut self) -> Result<Frame<Bytes>, Fault> {
        let encoder = self.encoder.take().ok_or(Fault::Gone)?;
        let rest = encoder.finish().map_err(|_| Fault::Gone)?;
        Ok(Frame::data(rest.into()))
    }
}
