//! A client's bytes before the parser sees them. Silence between requests and within a header is
//! bounded here, as each has a bound of its own. Headers are held back until they are complete and
//! found to be clear; in place of one that is not, the parser sees a request of ours, so that its
//! answer keeps its place after those to earlier requests.

use super::patience::Patience;
use super::pulse::Pulse;
use jaco_ingress_core::request::framing::Framing;
use jaco_kit::Clock;
use jaco_kit_core::Mono;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::server::TlsStream;

/// The host of the request that stands for one that was not clear.
pub(super) const STAND_IN: &str = "stand-in.invalid";
/// How long a client is listened to that was answered before it had asked.
const LINGERS: Duration = Duration::from_secs(2);
/// What no chunk and no trailer can be.
const POISON: &[u8] = b"\0\r\n\r\n";

/// How long a client may be silent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Until a header that has begun is complete, and until the first one is.
    pub(super) header: Duration,
    /// Between requests.
    pub(super) idle: Duration,
    pub(super) clock: Clock,
}

/// Silence after which a connection keeps no buffers.
const AWHILE: Duration = Duration::from_millis(200);

/// A connection whose bytes can be waited for without room for them.
pub(super) trait Socket: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Ready when there may be something to read.
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()>;
}

impl Socket for TcpStream {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        // Who reads then hears of an error.
        self.poll_read_ready(cx).map(drop)
    }
}

/// Only while nothing that was read is left in the session.
impl Socket for Box<TlsStream<TcpStream>> {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.get_ref().0.poll_readable(cx)
    }
}

/// The connection of an HTTP/1 client.
pub(super) struct Client<S> {
    stream: S,
    pulse: Arc<Pulse>,
    limits: Limits,
    /// When the header began that is not complete, or the connection.
    since: Mono,
    /// When to look whether it was silent for too long.
    until: Instant,
    patience: Patience,
    /// When it is left, once that has begun.
    leaves: Option<Instant>,
    framing: Framing,
    /// What the parser may not see yet: the beginning of a header, or what is not clear.
    held: Vec<u8>,
    /// What the parser gets next.
    ready: Vec<u8>,
    /// The parser was told, or will be by what is ready, that the client was stopped.
    is_told: bool,
    /// All that was written is out.
    is_flushed: bool,
}

impl<S> Client<S> {
    /// The first byte must come as soon as a header must be complete.
    pub(super) fn new(stream: S, pulse: Arc<Pulse>, limits: Limits) -> Client<S> {
        Client {
            stream,
            pulse,
            since: limits.clock.mono(),
            until: Instant::now() + AWHILE.min(limits.header),
            limits,
            patience: Patience::default(),
            leaves: None,
            framing: Framing::default(),
            held: Vec::new(),
            ready: Vec::new(),
            is_told: false,
            is_flushed: true,
        }
    }

    /// Whether client and parser owe each other nothing.
    fn is_quiet(&self) -> bool {
        let is_empty = self.held.is_empty() && self.ready.is_empty();
        let is_between = self.framing.is_between() && self.pulse.begun() == self.framing.heads();
        is_empty && is_between && self.is_flushed && self.pulse.wrong().is_none()
    }

    /// How long the client has been silent, and how long it may be.
    fn silence(&self) -> (Duration, Duration) {
        let limits = &self.limits;
        let is_begun = !self.held.is_empty() || self.pulse.begun() == 0;
        let longest = if is_begun { limits.header } else { limits.idle };
        let since = self.since.max(self.pulse.last());
        (limits.clock.mono().since(since), longest)
    }

    /// Takes back what a parser that goes has not looked at, and waits as long as a client may be
    /// silent.
    pub(super) fn rest(&mut self, unread: &[u8]) {
        self.held = Vec::new();
        self.ready = unread.to_vec();
        let (silent, longest) = self.silence();
        self.until = Instant::now() + longest.saturating_sub(silent);
    }

    fn hand_over(&mut self, buf: &mut ReadBuf<'_>) {
        let count = self.ready.len().min(buf.remaining());
        buf.put_slice(&self.ready[..count]);
        self.ready.drain(..count);
    }

    /// Looks at the bytes after `from`, and takes out what the parser may not see yet, or ever.
    fn check(&mut self, buf: &mut ReadBuf<'_>, from: usize) {
        let fresh = &buf.filled()[from..];
        match self.framing.follow(fresh) {
            Ok(good) if self.held.is_empty() => {
                self.held.extend_from_slice(&fresh[good..]);
                buf.set_filled(from + good);
            }
            Ok(good) => {
                let (good, held) = fresh.split_at(good);
                if !good.is_empty() {
                    self.ready.append(&mut self.held);
                    self.ready.extend_from_slice(good);
                }
                self.held.extend_from_slice(held);
                buf.set_filled(from);
                self.hand_over(buf);
            }
            Err((good, wrong)) => {
                self.pulse.stop(wrong);
                if good > 0 {
                    self.ready.append(&mut self.held);
                    self.ready.extend_from_slice(&fresh[..good]);
                }
                if self.framing.is_in_header() {
                    self.held.extend_from_slice(&fresh[good..]);
                } else {
                    self.is_told = true;
                    self.ready.extend_from_slice(POISON);
                }
                buf.set_filled(from);
                self.hand_over(buf);
            }
        }
    }

    /// Whether all requests before the one that is not clear are answered. Until then one of them
    /// may turn out to end HTTP, and what came after it was never a request.
    fn is_due(&self) -> bool {
        let heads = self.framing.heads();
        !self.is_told && self.pulse.running() == 0 && self.pulse.begun() >= heads
    }

    /// Puts a request of ours in place of the one that is not clear.
    fn stand_in(&mut self) {
        self.is_told = true;
        self.held.clear();
        let text = format!("GET / HTTP/1.1\r\nHost: {STAND_IN}\r\nConnection: close\r\n\r\n");
        self.ready.extend_from_slice(text.as_bytes());
    }
}

impl<S: AsyncRead + Unpin> Client<S> {
    /// Reads until there is something for the parser.
    fn poll_checked(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if !self.ready.is_empty() {
                self.hand_over(buf);
                return Poll::Ready(Ok(()));
            }
            let is_tunnel = self.pulse.is_tunnel();
            if is_tunnel && !self.held.is_empty() {
                // It spoke before it was told that it may.
                self.ready.append(&mut self.held);
                continue;
            }
            if !is_tunnel && self.pulse.wrong().is_some() {
                if !self.is_due() {
                    self.pulse.wait(cx.waker());
                    return Poll::Pending;
                }
                self.stand_in();
                continue;
            }
            let (from, was_held) = (buf.filled().len(), !self.held.is_empty());
            ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
            if buf.filled().len() == from || is_tunnel {
                return Poll::Ready(Ok(()));
            }
            self.check(buf, from);
            if !was_held && !self.held.is_empty() {
                self.since = self.limits.clock.mono();
            }
            if buf.filled().len() > from {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Client<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Poll::Ready(outcome) = this.poll_checked(cx, buf) {
            return Poll::Ready(outcome);
        }
        this.poll_late(cx)
    }
}

impl<S: AsyncRead + Unpin> Client<S> {
    /// Ready when the client has been silent for too long.
    fn poll_late<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        loop {
            ready!(self.patience.poll(cx, self.until));
            let mut next = AWHILE;
            if self.pulse.running() == 0 {
                let (silent, longest) = self.silence();
                if silent >= longest {
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
                if silent >= AWHILE && self.is_quiet() {
                    self.pulse.may_rest();
                    return Poll::Pending;
                }
                next = next.min(longest - silent);
            }
            self.until = Instant::now() + next;
        }
    }
}

impl<S: Socket> Client<S> {
    /// Waits for the client without room for what it says. Whether it speaks, in time.
    pub(super) async fn speaks(&mut self) -> bool {
        poll_fn(|cx| {
            if !self.ready.is_empty() || self.stream.poll_readable(cx).is_ready() {
                // The parser looks again after a while.
                self.until = self.until.min(Instant::now() + AWHILE);
                return Poll::Ready(true);
            }
            self.patience.poll(cx, self.until).map(|()| false)
        })
        .await
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Client<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.is_flushed = false;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.is_flushed = true;
        Poll::Ready(Ok(()))
    }

    /// What a client still sends when it was answered early would reset the connection, and with it
    /// the answer: it is listened to for a while.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        if self.framing.is_between() || self.pulse.is_tunnel() {
            return Poll::Ready(Ok(()));
        }
        let until = *self.leaves.get_or_insert_with(|| Instant::now() + LINGERS);
        let mut waste = [0; 4 * 1024];
        loop {
            let mut buf = ReadBuf::new(&mut waste);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buf) {
                Poll::Pending => return self.patience.poll(cx, until).map(Ok),
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {}
                // It has heard it, or is gone.
                Poll::Ready(_) => return Poll::Ready(Ok(())),
            }
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.is_flushed = false;
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
