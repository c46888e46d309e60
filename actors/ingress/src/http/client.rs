//! A client's bytes before the parser sees them: silence between requests and within a header is
//! bounded here, as each has a bound of its own.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// What a connection is doing.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    running: AtomicU32,
    begun: AtomicU64,
}

/// A running request; it counts until it is dropped.
#[derive(Debug)]
pub(super) struct Beat(Arc<Pulse>);

impl Pulse {
    pub(super) fn begin(self: &Arc<Self>) -> Beat {
        self.running.fetch_add(1, Ordering::Relaxed);
        self.begun.fetch_add(1, Ordering::Relaxed);
        Beat(self.clone())
    }

    pub(super) fn running(&self) -> u32 {
        self.running.load(Ordering::Relaxed)
    }

    /// Requests so far.
    pub(super) fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }
}

impl Drop for Beat {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Waits {
    ForRequest,
    ForHeader,
    NotAtAll,
}

/// The connection of an HTTP/1 client.
pub(super) struct Client<S> {
    stream: S,
    pulse: Arc<Pulse>,
    header: Duration,
    idle: Duration,
    waits: Waits,
    timer: Pin<Box<Sleep>>,
}

impl<S> Client<S> {
    /// The first byte must come as soon as a header must be complete.
    pub(super) fn new(stream: S, pulse: Arc<Pulse>, header: Duration, idle: Duration) -> Client<S> {
        let timer = Box::pin(tokio::time::sleep(header));
        Client { stream, pulse, header, idle, waits: Waits::ForRequest, timer }
    }

    fn wait(&mut self, waits: Waits, longest: Duration) {
        self.waits = waits;
        self.timer.as_mut().reset(Instant::now() + longest);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Client<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.pulse.running() > 0 {
            this.waits = Waits::NotAtAll;
            return Pin::new(&mut this.stream).poll_read(cx, buf);
        }
        if this.waits == Waits::NotAtAll {
            let idle = this.idle;
            this.wait(Waits::ForRequest, idle);
        }
        match Pin::new(&mut this.stream).poll_read(cx, buf) {
            Poll::Ready(outcome) => {
                if this.waits == Waits::ForRequest {
                    let header = this.header;
                    this.wait(Waits::ForHeader, header);
                }
                Poll::Ready(outcome)
            }
            Poll::Pending => {
                ready!(this.timer.as_mut().poll(cx));
                // What was begun late is served; the parser asks again only when it needs more.
                if this.pulse.running() > 0 {
                    return Poll::Pending;
                }
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Client<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
