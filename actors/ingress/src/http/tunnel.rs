//! Bytes both ways after an upgrade.

use super::driver::Phase;
use super::replica::Wire;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use jaco_ingress_core::{Messages, going_away};
use std::cell::Cell;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};

/// How long the two ends are listened to after the farewell, so that they hear it.
const LISTEN: Duration = Duration::from_secs(1);

/// What a tunnel is run with.
pub(super) struct Terms {
    /// Longest silence; zero is for ever.
    pub(super) idle: Duration,
    /// Whether it speaks WebSocket, and is told so when it is ended.
    pub(super) is_websocket: bool,
    /// When the proxy ends.
    pub(super) phase: tokio::sync::watch::Receiver<Phase>,
}

/// One direction.
struct Lane<F, T> {
    from: ReadHalf<F>,
    to: WriteHalf<T>,
    /// Those that have gone on as a whole.
    messages: Option<Messages>,
    is_writing: bool,
    to_client: bool,
}

/// Moves bytes until both sides are through, neither says anything for a time, or the proxy ends.
pub(super) async fn run(client: OnUpgrade, replica: Wire, terms: Terms) -> io::Result<()> {
    let client = client.await.map_err(io::Error::other)?;
    let (from_client, to_client) = tokio::io::split(TokioIo::new(client));
    let (from_replica, to_replica) = tokio::io::split(replica);
    let mut there = Lane::new(from_client, to_replica, terms.is_websocket, false);
    let mut back = Lane::new(from_replica, to_client, terms.is_websocket, true);
    let moved = Cell::new(0);
    tokio::select! {
        ended = async { tokio::try_join!(there.copy(&moved), back.copy(&moved)) } => {
            return ended.map(|_| ());
        }
        () = silence(&moved, terms.idle) => return Err(io::ErrorKind::TimedOut.into()),
        () = Phase::stopping(terms.phase) => {}
    }
    let parting = async { tokio::join!(there.part(), back.part()) };
    // Either end may be gone, or never be silent.
    let _ = tokio::time::timeout(LISTEN, parting).await;
    Ok(())
}

async fn silence(moved: &Cell<u64>, idle: Duration) {
    if idle.is_zero() {
        return std::future::pending().await;
    }
    loop {
        let before = moved.get();
        tokio::time::sleep(idle).await;
        if moved.get() == before {
            return;
        }
    }
}

impl<F: AsyncRead, T: AsyncWrite> Lane<F, T> {
    fn new(from: ReadHalf<F>, to: WriteHalf<T>, is_websocket: bool, to_client: bool) -> Self {
        let messages = is_websocket.then(Messages::default);
        Lane { from, to, messages, is_writing: false, to_client }
    }

    async fn copy(&mut self, moved: &Cell<u64>) -> io::Result<()> {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let count = self.from.read(&mut buffer).await?;
            if count == 0 {
                return self.to.shutdown().await;
            }
            self.is_writing = true;
            self.to.write_all(&buffer[..count]).await?;
            self.to.flush().await?;
            self.is_writing = false;
            if let Some(messages) = &mut self.messages {
                messages.follow(&buffer[..count]);
            }
            moved.set(moved.get() + 1);
        }
    }

    /// Ends the direction, between two messages with a word; then hears what is still to come.
    async fn part(&mut self) -> io::Result<()> {
        let is_between = self.messages.as_ref().is_some_and(Messages::is_between);
        if is_between && !self.is_writing {
            self.to.write_all(going_away(self.to_client)).await?;
        }
        self.to.shutdown().await?;
        tokio::io::copy(&mut self.from, &mut tokio::io::sink()).await.map(|_| ())
    }
}
