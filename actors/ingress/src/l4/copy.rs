//! Bytes both ways between two connections, each direction ending by itself.

use super::counters::{Counters, add};
use socket2::SockRef;
use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tokio::net::TcpStream;

const BUFFER: usize = 64 << 10;
/// Reads of one connection before others get their turn.
const TURN: u32 = 8;

thread_local! {
    // One for all: idle connections need none.
    static BYTES: RefCell<Vec<u8>> = RefCell::new(vec![0; BUFFER]);
}

/// Copies until both sides have ended.
///
/// # Errors
/// When a side breaks, or both are silent for `idle` (at most a quarter longer).
pub(super) async fn both(
    client: &TcpStream,
    upstream: &TcpStream,
    counters: &Counters,
    idle: Duration,
) -> io::Result<()> {
    let moves = Cell::new(0);
    let up = one_way(client, upstream, &counters.received, &moves);
    let down = one_way(upstream, client, &counters.sent, &moves);
    tokio::select! {
        ended = async { tokio::try_join!(up, down) } => ended.map(|_| ()),
        () = silence(&moves, idle) => Err(ErrorKind::TimedOut.into()),
    }
}

/// Returns when the number has not changed for that long.
pub(super) async fn silence(moves: &Cell<u64>, idle: Duration) {
    let (mut seen, mut quiet) = (moves.get(), 0);
    while quiet < 4 {
        tokio::time::sleep(idle / 4).await;
        quiet = if moves.get() == seen { quiet + 1 } else { 0 };
        seen = moves.get();
    }
}

async fn one_way(
    from: &TcpStream,
    to: &TcpStream,
    counter: &AtomicU64,
    moves: &Cell<u64>,
) -> io::Result<()> {
    let (mut rest, mut turn) = (Vec::new(), 0);
    loop {
        from.readable().await?;
        let read = match step(from, to, &mut rest) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        };
        add(counter, read);
        moves.set(moves.get() + 1);
        let mut at = 0;
        while at < rest.len() {
            to.writable().await?;
            match to.try_write(&rest[at..]) {
                Ok(written) => at += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error),
            }
            moves.set(moves.get() + 1);
        }
        rest = Vec::new();
        turn += 1;
        if turn % TURN == 0 {
            tokio::task::yield_now().await;
        }
    }
    match SockRef::from(to).shutdown(Shutdown::Write) {
        Err(error) if error.kind() != ErrorKind::NotConnected => Err(error),
        _ => Ok(()),
    }
}

/// Reads once and writes what fits at once; what does not goes to `rest`.
fn step(from: &TcpStream, to: &TcpStream, rest: &mut Vec<u8>) -> io::Result<usize> {
    BYTES.with_borrow_mut(|bytes| {
        let read = from.try_read(bytes)?;
        let written = match to.try_write(&bytes[..read]) {
            Ok(written) => written,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        rest.extend_from_slice(&bytes[written..read]);
        Ok(read)
    })
}
