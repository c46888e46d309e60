//! Options of the sockets, and a bound on what is read from strangers.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::net::sockopt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// How long sent bytes may stay unacknowledged before a connection counts as broken. After a
/// partition the kernel would otherwise wait for many times as long before it tries again.
pub(super) const PROMPT: Duration = Duration::from_secs(3);

/// The same for snapshots, where a reader that stands still for a while costs less than to begin
/// again.
pub(super) const PATIENT: Duration = Duration::from_secs(30);

/// An idle connection is tested after this time, and again after each further second.
const IDLE: Duration = Duration::from_secs(5);
const TESTS: u32 = 3;

/// Sends at once, and notices when the other side is gone.
pub(super) fn tune(socket: &TcpStream, unacknowledged: Duration) -> io::Result<()> {
    socket.set_nodelay(true)?;
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, IDLE)?;
    sockopt::set_tcp_keepintvl(socket, Duration::from_secs(1))?;
    sockopt::set_tcp_keepcnt(socket, TESTS)?;
    let ms = u32::try_from(unacknowledged.as_millis()).unwrap_or(u32::MAX);
    Ok(sockopt::set_tcp_user_timeout(socket, ms)?)
}

/// A socket from which only so many bytes can be read until [`Bounded::lift`].
#[derive(Debug)]
pub(super) struct Bounded {
    socket: TcpStream,
    left: Option<usize>,
}

impl Bounded {
    pub(super) fn new(socket: TcpStream, bytes: usize) -> Bounded {
        Bounded { socket, left: Some(bytes) }
    }

    /// Ends the bound: the other side has shown who it is.
    pub(super) fn lift(&mut self) {
        self.left = None;
    }
}

impl AsyncRead for Bounded {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.socket).poll_read(context, buffer);
        if let (Some(left), Poll::Ready(Ok(()))) = (&mut this.left, &read) {
            match left.checked_sub(buffer.filled().len() - before) {
                Some(rest) => *left = rest,
                None => return Poll::Ready(Err(too_much())),
            }
        }
        read
    }
}

fn too_much() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "too many bytes before authentication")
}

impl AsyncWrite for Bounded {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write(context, bytes)
    }

    /// Also what TLS says last, all at once: it tries only once to tell why it refuses.
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(context)
    }
}
