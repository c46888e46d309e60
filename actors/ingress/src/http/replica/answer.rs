//! The body of an answer that has not come whole with its header.

use super::head;
use super::upload::Uploading;
use super::wire::Wire;
use crate::http::body::Fault;
use crate::http::pool::Home;
use bytes::Bytes;
use hyper::HeaderMap;
use hyper::body::{Frame, SizeHint};
use jaco_ingress_core::request::response::{Chunk, Chunks, Length};
use std::task::{Context, Poll, ready};

/// Bytes that are read at once: the first time, and at most.
const FIRST: usize = 8 * 1024;
const MOST: usize = 64 * 1024;

/// A body on its way, and the connection that it comes by. Dropped before its end it takes the
/// connection with it.
pub(in crate::http) struct Answer {
    /// `None` when it is over.
    wire: Option<Wire>,
    rest: Rest,
    uploading: Option<Uploading>,
    /// Where the connection goes afterwards, if it may.
    home: Option<Home>,
    reads: usize,
}

enum Rest {
    Known(u64),
    Chunked(Chunks),
    UntilClose,
}

type Item = Option<Result<Frame<Bytes>, Fault>>;

impl Answer {
    pub(super) fn new(
        wire: Wire,
        length: Length,
        uploading: Option<Uploading>,
        home: Option<Home>,
    ) -> Answer {
        let rest = match length {
            Length::Known(length) => Rest::Known(length),
            Length::Chunked => Rest::Chunked(Chunks::default()),
            Length::UntilClose => Rest::UntilClose,
        };
        let mut answer = Answer { wire: Some(wire), rest, uploading, home, reads: FIRST };
        if answer.is_over() {
            answer.end();
        }
        answer
    }

    pub(in crate::http) fn is_over(&self) -> bool {
        self.wire.is_none() || matches!(self.rest, Rest::Known(0))
    }

    pub(in crate::http) fn size_hint(&self) -> SizeHint {
        match self.rest {
            Rest::Known(left) => SizeHint::with_exact(left),
            _ if self.wire.is_none() => SizeHint::with_exact(0),
            _ => SizeHint::new(),
        }
    }

    pub(in crate::http) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Item> {
        loop {
            if let Some(item) = self.next() {
                return Poll::Ready(item);
            }
            let Some(wire) = &mut self.wire else { return Poll::Ready(None) };
            let most = match self.rest {
                Rest::Known(left) => usize::try_from(left).unwrap_or(MOST).min(self.reads),
                _ => self.reads,
            };
            match ready!(wire.poll_more(cx, most)) {
                Ok(0) if matches!(self.rest, Rest::UntilClose) => self.home = None,
                Ok(0) | Err(_) => return Poll::Ready(self.break_off()),
                Ok(count) => {
                    if count >= most {
                        self.reads = MOST.min(2 * self.reads);
                    }
                    continue;
                }
            }
            self.end();
        }
    }

    /// What can be told without reading more; `Some(None)` is the end.
    fn next(&mut self) -> Option<Item> {
        loop {
            let left = self.wire.as_mut()?.left();
            match &mut self.rest {
                Rest::Known(0) => {
                    self.end();
                    return Some(None);
                }
                _ if left.is_empty() => return None,
                Rest::Known(length) => {
                    let count = usize::try_from(*length).unwrap_or(usize::MAX).min(left.len());
                    let data = left.split_to(count).freeze();
                    *length -= count as u64;
                    if *length == 0 {
                        self.end();
                    }
                    return Some(Some(Ok(Frame::data(data))));
                }
                Rest::UntilClose => return Some(Some(Ok(Frame::data(left.split().freeze())))),
                Rest::Chunked(chunks) => match chunks.next(left) {
                    Ok(Chunk::Unknown) => return None,
                    Ok(Chunk::Framing(count)) => drop(left.split_to(count)),
                    Ok(Chunk::Data(count)) => {
                        return Some(Some(Ok(Frame::data(left.split_to(count).freeze()))));
                    }
                    Ok(Chunk::Trailers(count)) => {
                        let lines = left.split_to(count).freeze();
                        drop(left.split_to(2));
                        return Some(self.trailers(&lines));
                    }
                    Err(_) => return Some(self.break_off()),
                },
            }
        }
    }

    fn trailers(&mut self, lines: &Bytes) -> Item {
        if lines.is_empty() {
            self.end();
            return None;
        }
        let Ok(all) = head::read_trailers(lines) else { return self.break_off() };
        let mut trailers = HeaderMap::with_capacity(all.len());
        for (name, value) in &all {
            if jaco_ingress_core::request::response::may_trail(name.as_str()) {
                trailers.append(name, value.clone());
            }
        }
        self.end();
        Some(Ok(Frame::trailers(trailers)))
    }

    /// The connection is of no use any more.
    fn break_off(&mut self) -> Item {
        self.wire = None;
        Some(Err(Fault::Gone))
    }

    /// All of the body is read.
    fn end(&mut self) {
        let Some(mut wire) = self.wire.take() else { return };
        self.rest = Rest::Known(0);
        let is_sent = self.uploading.as_ref().is_none_or(Uploading::is_whole);
        if let Some(home) = self.home.take()
            && is_sent
            && wire.left().is_empty()
        {
            home.take_back(wire);
        }
    }
}
