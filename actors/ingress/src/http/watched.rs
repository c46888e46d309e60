//! A client's HTTP/2 connection, whose frames are counted before the parser works on them.

use super::bell::Bell;
use jaco_ingress_core::{Flood, FloodGuard};
use jaco_kit::Clock;
use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

/// How long, and how much, a client that is told to go is listened to: what it has sent already
/// would reset the connection, and with it what we say.
const LISTEN: Duration = Duration::from_secs(1);
const LISTEN_BYTES: u64 = 256 * 1024;

/// The connection; clones are the same one.
pub(super) struct Watched<S>(Rc<Eyes<S>>);

struct Eyes<S> {
    stream: RefCell<S>,
    /// Whether there may be something to read: the parser tries more often than something comes.
    readable: Bell,
    guard: RefCell<FloodGuard>,
    flood: Cell<Option<Flood>>,
    clock: Clock,
}

impl<S> Clone for Watched<S> {
    fn clone(&self) -> Watched<S> {
        Watched(self.0.clone())
    }
}

impl<S> Watched<S> {
    pub(super) fn new(stream: S, clock: Clock) -> Watched<S> {
        let guard = RefCell::new(FloodGuard::new(clock.mono()));
        Watched(Rc::new(Eyes {
            stream: RefCell::new(stream),
            readable: Bell::new(),
            guard,
            flood: Cell::new(None),
            clock,
        }))
    }

    /// Why the parser was cut off.
    pub(super) fn flood(&self) -> Option<Flood> {
        self.0.flood.get()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Watched<S> {
    /// Tells the client to calm down, and goes. The parser must have ended.
    pub(super) async fn part(mut self) {
        let farewell = self.0.guard.borrow().farewell();
        let parting = async {
            if let Some(frame) = farewell {
                self.write_all(&frame).await?;
            }
            self.shutdown().await?;
            tokio::io::copy(&mut self.take(LISTEN_BYTES), &mut tokio::io::sink()).await
        };
        // It may be gone, or never end.
        let _ = tokio::time::timeout(LISTEN, parting).await;
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let from = buf.filled().len();
        let mut stream = self.0.stream.borrow_mut();
        ready!(self.0.readable.poll(cx, |cx| Pin::new(&mut *stream).poll_read(cx, buf)))?;
        if self.0.flood.get().is_some() {
            return Poll::Ready(Ok(()));
        }
        let fresh = &buf.filled()[from..];
        match self.0.guard.borrow_mut().read(self.0.clock.mono(), fresh) {
            Ok(()) => Poll::Ready(Ok(())),
            Err(flood) => {
                self.0.flood.set(Some(flood));
                Poll::Ready(Err(io::Error::other("a flood of frames")))
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut *self.0.stream.borrow_mut()).poll_write(cx, bytes))?;
        self.0.guard.borrow_mut().wrote(&bytes[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.stream.borrow_mut()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.stream.borrow_mut()).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut stream = self.0.stream.borrow_mut();
        let count = ready!(Pin::new(&mut *stream).poll_write_vectored(cx, parts))?;
        let (mut left, mut guard) = (count, self.0.guard.borrow_mut());
        for part in parts {
            let here = part.len().min(left);
            guard.wrote(&part[..here]);
            left -= here;
        }
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        self.0.stream.borrow().is_write_vectored()
    }
}
