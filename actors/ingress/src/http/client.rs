//! A client's bytes before the parser sees them. Silence between requests and within a header is
//! bounded here, as each has a bound of its own. Headers are held back until they are complete and
//! found to be clear; in place of one that is not, the parser sees a request of ours, so that its
//! answer keeps its place after those to earlier requests.

use super::crowd::{Place, Seat, Young};
use super::patience::Patience;
use jaco_ingress_core::request::framing::{Framing, Wrong};
use jaco_kit::Clock;
use jaco_kit_core::Mono;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::Instant;

/// What a connection is doing.
#[derive(Debug)]
pub(super) struct Pulse {
    /// Given back with the last that is left of the connection, which may be a tunnel.
    _held: (Place, Option<Seat>),
    /// Until the first request.
    young: Mutex<Option<Young>>,
    running: AtomicU32,
    begun: AtomicU64,
    is_tunnel: AtomicBool,
    wrong: AtomicU8,
    /// Waits for the answers before the one to what was wrong.
    waiter: Mutex<Option<Waker>>,
    /// When the last request ended, in milliseconds on the monotonic clock.
    rested: AtomicU64,
    ended: Notify,
}

/// A running request; it counts until it is dropped.
#[derive(Debug)]
pub(super) struct Beat(Arc<Pulse>);

impl Pulse {
    pub(super) fn new(place: Place, seat: Option<Seat>, young: Option<Young>) -> Pulse {
        Pulse {
            _held: (place, seat),
            young: Mutex::new(young),
            running: AtomicU32::default(),
            begun: AtomicU64::default(),
            is_tunnel: AtomicBool::default(),
            wrong: AtomicU8::default(),
            waiter: Mutex::default(),
            rested: AtomicU64::default(),
            ended: Notify::new(),
        }
    }

    pub(super) fn begin(self: &Arc<Self>) -> Beat {
        self.running.fetch_add(1, Ordering::Relaxed);
        if self.begun.fetch_add(1, Ordering::Relaxed) == 0 {
            self.young.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
        Beat(self.clone())
    }

    /// A request is over.
    pub(super) fn rests(&self, now: Mono) {
        self.rested.store(now.0, Ordering::Relaxed);
    }

    pub(super) fn running(&self) -> u32 {
        self.running.load(Ordering::Relaxed)
    }

    /// What comes from now on is no HTTP.
    pub(super) fn becomes_tunnel(&self) {
        self.is_tunnel.store(true, Ordering::Relaxed);
    }

    /// Why the client was stopped.
    pub(super) fn wrong(&self) -> Option<Wrong> {
        match self.wrong.load(Ordering::Relaxed) {
            0 => None,
            1 => Some(Wrong::Malformed),
            2 => Some(Wrong::LongTarget),
            _ => Some(Wrong::LongHeader),
        }
    }

    fn stop(&self, wrong: Wrong) {
        let code = match wrong {
            Wrong::Malformed => 1,
            Wrong::LongTarget => 2,
            Wrong::LongHeader => 3,
        };
        self.wrong.store(code, Ordering::Relaxed);
    }

    /// The connection takes no more requests.
    pub(super) fn end(&self) {
        self.ended.notify_one();
    }

    /// Returns when the connection is to take no more requests.
    pub(super) async fn ended(&self) {
        self.ended.notified().await;
    }

    /// Requests so far.
    pub(super) fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }
}

impl Drop for Beat {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
        if self.0.wrong.load(Ordering::Relaxed) > 0 {
            let waiter = self.0.waiter.lock().unwrap_or_else(PoisonError::into_inner).take();
            waiter.into_iter().for_each(Waker::wake);
        }
    }
}

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
}

impl<S> Client<S> {
    /// The first byte must come as soon as a header must be complete.
    pub(super) fn new(stream: S, pulse: Arc<Pulse>, limits: Limits) -> Client<S> {
        Client {
            stream,
            pulse,
            since: limits.clock.mono(),
            until: Instant::now() + limits.header,
            limits,
            patience: Patience::default(),
            leaves: None,
            framing: Framing::default(),
            held: Vec::new(),
            ready: Vec::new(),
            is_told: false,
        }
    }

    /// How long it may be silent yet; `None` is no longer.
    fn left(&self) -> Option<Duration> {
        let limits = &self.limits;
        if self.pulse.running() > 0 {
            // Only the time after the answer counts.
            return Some(limits.header);
        }
        let is_begun = !self.held.is_empty() || self.pulse.begun() == 0;
        let longest = if is_begun { limits.header } else { limits.idle };
        let since = self.since.max(Mono(self.pulse.rested.load(Ordering::Relaxed)));
        let left = longest.checked_sub(limits.clock.mono().since(since));
        left.filter(|left| !left.is_zero())
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
            let is_tunnel = self.pulse.is_tunnel.load(Ordering::Relaxed);
            if is_tunnel && !self.held.is_empty() {
                // It spoke before it was told that it may.
                self.ready.append(&mut self.held);
                continue;
            }
            if !is_tunnel && self.pulse.wrong().is_some() {
                if !self.is_due() {
                    let waiter = &self.pulse.waiter;
                    *waiter.lock().unwrap_or_else(PoisonError::into_inner) =
                        Some(cx.waker().clone());
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
                self.until = Instant::now() + self.limits.header;
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
        loop {
            ready!(this.patience.poll(cx, this.until));
            match this.left() {
                Some(left) => this.until = Instant::now() + left,
                None => return Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Client<S> {
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

    /// What a client still sends when it was answered early would reset the connection, and with it
    /// the answer: it is listened to for a while.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        if self.framing.is_between() || self.pulse.is_tunnel.load(Ordering::Relaxed) {
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
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
