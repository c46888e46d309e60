//! Bytes both ways after an upgrade.

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Moves bytes until both sides are through, or neither says anything for `idle`.
pub(super) async fn run(client: OnUpgrade, upstream: OnUpgrade, idle: Duration) -> io::Result<()> {
    let (client, upstream) = tokio::try_join!(client, upstream).map_err(io::Error::other)?;
    let (from_client, to_client) = tokio::io::split(TokioIo::new(client));
    let (from_upstream, to_upstream) = tokio::io::split(TokioIo::new(upstream));
    let moved = Rc::new(Cell::new(0u64));
    let there = copy(from_client, to_upstream, moved.clone());
    let back = copy(from_upstream, to_client, moved.clone());
    let both = async { tokio::try_join!(there, back).map(|_| ()) };
    tokio::select! {
        ended = both => ended,
        () = silence(moved, idle) => Err(io::ErrorKind::TimedOut.into()),
    }
}

async fn silence(moved: Rc<Cell<u64>>, idle: Duration) {
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

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    moved: Rc<Cell<u64>>,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..count]).await?;
        to.flush().await?;
        moved.set(moved.get() + 1);
    }
}
