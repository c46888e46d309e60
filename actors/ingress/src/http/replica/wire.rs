//! A connection to a replica.

use super::head::{self, Head};
use super::{Failed, INVALID, LONGEST, RESET};
use crate::http::patience::Patience;
use crate::http::secure::Line;
use bytes::{Buf, Bytes, BytesMut};
use std::cell::{Cell, RefCell};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// Room for one read of a header, and mostly of the whole answer.
const ROOM: usize = 16 * 1024;

/// Memory that a thread's connections use in turn, none of them for longer than one call.
pub(in crate::http) struct Scratch {
    /// A request's header.
    pub(super) out: Cell<Vec<u8>>,
    read: RefCell<Box<[u8]>>,
}

impl Default for Scratch {
    fn default() -> Scratch {
        Scratch { out: Cell::default(), read: RefCell::new(vec![0; ROOM].into()) }
    }
}

/// A connection on which no request is running, or one.
pub(in crate::http) struct Wire {
    /// Shared with the task that sends the body.
    line: Rc<RefCell<Line>>,
    /// Read, and not used yet.
    left: BytesMut,
    pub(super) patience: Patience,
}

impl Wire {
    pub(in crate::http) fn new(line: Line) -> Wire {
        let line = Rc::new(RefCell::new(line));
        Wire { line, left: BytesMut::new(), patience: Patience::default() }
    }

    /// Whether the other end still waits for a request: it has neither left nor said anything.
    pub(in crate::http) fn is_quiet(&self) -> bool {
        let mut byte = [0];
        let mut cx = Context::from_waker(Waker::noop());
        let mut line = self.line.borrow_mut();
        let read = Pin::new(&mut *line).poll_read(&mut cx, &mut ReadBuf::new(&mut byte));
        self.left.is_empty() && read.is_pending()
    }

    /// The same connection for the task that writes to it.
    pub(super) fn line(&self) -> Rc<RefCell<Line>> {
        self.line.clone()
    }

    /// Puts bytes that were read in front of those that are left.
    pub(super) fn unread(&mut self, bytes: &[u8]) {
        let later = self.left.split();
        self.left.extend_from_slice(bytes);
        self.left.unsplit(later);
    }

    pub(super) fn left(&mut self) -> &mut BytesMut {
        &mut self.left
    }

    pub(super) fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match ready!(Pin::new(&mut *self.line.borrow_mut()).poll_write(cx, bytes))? {
            0 => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            count => Poll::Ready(Ok(count)),
        }
    }

    pub(super) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.line.borrow_mut()).poll_flush(cx)
    }

    /// Reads until a header is there; what came with it comes with it.
    pub(super) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        to_head: bool,
        scratch: &Scratch,
    ) -> Poll<Result<(Head, Bytes), Failed>> {
        let mut room = scratch.read.borrow_mut();
        loop {
            if !self.left.is_empty() {
                let mut bytes = std::mem::take(&mut self.left).freeze();
                if let Some((head, size)) = head::read(&bytes, to_head).map_err(|_| INVALID)? {
                    bytes.advance(size);
                    return Poll::Ready(Ok((head, bytes)));
                }
                if bytes.len() > LONGEST {
                    return Poll::Ready(Err(INVALID));
                }
                self.left.extend_from_slice(&bytes);
            }
            let mut buf = ReadBuf::new(&mut room);
            let read = Pin::new(&mut *self.line.borrow_mut()).poll_read(cx, &mut buf);
            if ready!(read).is_err() || buf.filled().is_empty() {
                return Poll::Ready(Err(RESET));
            }
            self.left.extend_from_slice(buf.filled());
        }
    }

    /// Reads at most so many bytes to those that are left; none is the end.
    pub(super) fn poll_more(
        &mut self,
        cx: &mut Context<'_>,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        self.left.reserve(most);
        let mut line = self.line.borrow_mut();
        pin!(line.read_buf(&mut self.left)).poll(cx)
    }
}

/// For what is no HTTP any more.
impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.left.is_empty() {
            return Pin::new(&mut *self.line.borrow_mut()).poll_read(cx, buf);
        }
        let count = self.left.len().min(buf.remaining());
        buf.put_slice(&self.left.split_to(count));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.line.borrow_mut()).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.line.borrow_mut()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.line.borrow_mut()).poll_shutdown(cx)
    }
}
