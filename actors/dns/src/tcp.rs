//! Questions by TCP on one gateway (RFC 7766): many on one connection, answered as they are ready.

use crate::counters::count;
use crate::shared::{Shared, Taken};
use crate::udp::container;
use jaco_dns_core::Transport;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// The longest time without a whole question, and for writing an answer.
const IDLE: Duration = Duration::from_secs(10);
/// Answers of one connection that may wait to be written before no more questions are read.
const WAITING_MAX: usize = 64;
/// After an error of the listener.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts until it is aborted; its connections end with it.
pub(crate) async fn serve(shared: Rc<Shared>, listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "dns connection not accepted");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let Some(source) = container(peer).filter(|source| shared.is_known(*source)) else {
            count(&shared.counters.ignored);
            continue;
        };
        let Some(seat) = Seat::take(&shared, source) else {
            count(&shared.counters.connections_refused);
            continue;
        };
        connections.spawn_local(talk(shared.clone(), stream, seat));
    }
}

/// One of the connections that a container may have; given back when dropped.
struct Seat {
    shared: Rc<Shared>,
    source: Ipv4Addr,
}

impl Seat {
    fn take(shared: &Rc<Shared>, source: Ipv4Addr) -> Option<Seat> {
        let is_free = shared.connections.borrow_mut().begin(source);
        is_free.then(|| Seat { shared: shared.clone(), source })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.shared.connections.borrow_mut().end(self.source);
    }
}

/// One connection, from accept to close.
async fn talk(shared: Rc<Shared>, stream: TcpStream, seat: Seat) {
    let (read, write) = stream.into_split();
    let (answers, waiting) = mpsc::channel(WAITING_MAX);
    // When either side ends so does the other: the writer when all answers are out, the reader
    // when an answer cannot be written.
    let reading = listen(&shared, read, seat.source, answers);
    tokio::join!(reading, answer(write, waiting));
}

async fn listen(
    shared: &Rc<Shared>,
    read: OwnedReadHalf,
    source: Ipv4Addr,
    answers: mpsc::Sender<Vec<u8>>,
) {
    let mut read = BufReader::new(read);
    let mut packet = Vec::new();
    let mut out = Vec::new();
    loop {
        let next = timeout(IDLE, next_message(&mut read, &mut packet));
        let is_whole = tokio::select! {
            read = next => matches!(read, Ok(Ok(()))),
            () = answers.closed() => false,
        };
        // A container that is gone keeps no connection.
        if !is_whole || !shared.is_known(source) {
            return;
        }
        match shared.take(source, &packet, Transport::Tcp, &mut out) {
            Taken::Silence => {}
            Taken::Answered => {
                if answers.send(std::mem::take(&mut out)).await.is_err() {
                    return;
                }
            }
            Taken::Forward(asked) => {
                let (shared, answers) = (shared.clone(), answers.clone());
                tokio::task::spawn_local(async move {
                    let answer = shared.forwarder.resolve(&shared, asked).await;
                    // The connection may be gone by now.
                    let _ = answers.send(answer).await;
                });
            }
        }
    }
}

async fn next_message(
    read: &mut BufReader<OwnedReadHalf>,
    packet: &mut Vec<u8>,
) -> std::io::Result<()> {
    let length = usize::from(read.read_u16().await?);
    packet.resize(length, 0);
    read.read_exact(packet).await.map(|_| ())
}

async fn answer(mut write: OwnedWriteHalf, mut waiting: mpsc::Receiver<Vec<u8>>) {
    let mut framed = Vec::new();
    while let Some(first) = waiting.recv().await {
        framed.clear();
        frame(&mut framed, &first);
        while let Ok(next) = waiting.try_recv() {
            frame(&mut framed, &next);
        }
        if !matches!(timeout(IDLE, write.write_all(&framed)).await, Ok(Ok(()))) {
            return;
        }
    }
}

/// An answer with its length before it.
fn frame(framed: &mut Vec<u8>, answer: &[u8]) {
    let length = u16::try_from(answer.len()).unwrap_or(0);
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(&answer[..usize::from(length)]);
}
