//! Sends raft messages to one peer, for as long as it is a member.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use jaco_wire::peer::{Frame, Purpose};
use tokio::time::Instant;

use crate::transport::dial::{Connection, dial};
use crate::transport::frames::Broken;
use crate::transport::peer::Peer;
use crate::transport::shared::Shared;

/// Messages that share a frame have at most so many bytes together.
const BATCH: usize = 1 << 20;

/// Connects whenever there is something to send; what cannot be sent is dropped and reported.
pub(super) async fn run(shared: Arc<Shared>, peer: Arc<Peer>) {
    let mut backoff = shared.backoff();
    loop {
        peer.queue.wait().await;
        let started = Instant::now();
        if let Ok(connection) = dial(&shared, &peer, Purpose::Raft).await {
            let Err(broken) = pump(&shared, &peer, connection).await;
            if broken.is_violation() {
                shared.violation(peer.raft_id, "an answer to raft messages");
            }
            tracing::debug!(node = %peer.node, error = %broken, "connection for messages ended");
            if started.elapsed() > shared.config.limits.backoff_max {
                backoff.reset();
            }
        }
        let lost = u64::try_from(peer.queue.clear()).unwrap_or(u64::MAX);
        shared.tally.dropped_messages.fetch_add(lost, Ordering::Relaxed);
        shared.report_unreachable(&peer);
        let pause = shared.pause(&mut backoff, started.elapsed());
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = peer.alive.notified() => {}
        }
    }
}

/// Sends until the connection ends. The other side says nothing on it.
async fn pump(
    shared: &Shared,
    peer: &Peer,
    connection: Connection,
) -> Result<std::convert::Infallible, Broken> {
    let Connection { mut reader, mut writer, id } = connection;
    let write = async {
        loop {
            let batch = peer.queue.take(BATCH).await;
            let size = u64::try_from(batch.len()).unwrap_or(u64::MAX);
            if let Err(broken) = writer.write(Frame::Raft(batch)).await {
                shared.tally.dropped_messages.fetch_add(size, Ordering::Relaxed);
                return broken;
            }
        }
    };
    let read = async {
        match reader.next().await {
            Ok(_) => Broken::OutOfPlace("an answer to raft messages"),
            Err(broken) => broken,
        }
    };
    Err(tokio::select! {
        broken = write => broken,
        broken = read => broken,
        () = shared.dismissed(&id, Some(peer.raft_id)) => Broken::Closed,
    })
}
