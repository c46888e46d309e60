//! Sends one snapshot on a connection of its own and reports how it went.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jaco_raft_core::encode_message;
use jaco_raft_core::eraftpb::Message;
use jaco_wire::peer::{Frame, Purpose};
use tokio::time::timeout;

use crate::transport::config::Handler;
use crate::transport::counters::count;
use crate::transport::dial::{Connection, dial};
use crate::transport::frames::{Broken, FrameWriter};
use crate::transport::peer::Peer;
use crate::transport::shared::Shared;

const CHUNK: usize = 1 << 20;

/// Reports exactly once, at the latest when dropped.
struct Report {
    handler: Arc<dyn Handler>,
    raft_id: u64,
    installed: bool,
}

impl Drop for Report {
    fn drop(&mut self) {
        self.handler.snapshot_reported(self.raft_id, self.installed);
    }
}

/// The one snapshot that may be on its way to a peer.
struct Only(Arc<Peer>);

impl Only {
    fn claim(peer: &Arc<Peer>) -> Option<Only> {
        let was_busy = peer.sends_snapshot.swap(true, Ordering::AcqRel);
        (!was_busy).then(|| Only(peer.clone()))
    }
}

impl Drop for Only {
    fn drop(&mut self) {
        self.0.sends_snapshot.store(false, Ordering::Release);
    }
}

/// Begins to send; the handler hears how it went, whatever happens.
pub(super) fn send(shared: &Arc<Shared>, message: Message) {
    let raft_id = message.to;
    let report = Report { handler: shared.handler.clone(), raft_id, installed: false };
    let peer = shared.peer_by_raft_id(raft_id);
    let only = peer.as_ref().and_then(Only::claim);
    let task_shared = shared.clone();
    let task = shared.runtime.spawn(async move {
        let mut report = report;
        let shared = task_shared;
        if let Some(only) = only {
            let sent = transfer(&shared, &only.0, message).await;
            tracing::info!(node = %only.0.node, installed = ?sent, "snapshot sent");
            report.installed = matches!(sent, Some(true));
            // Before the report: what it leads to may be the next snapshot.
            drop(only);
        }
        let tally = &shared.tally;
        count(if report.installed { &tally.snapshots_sent } else { &tally.snapshots_failed });
    });
    if let Some(peer) = peer {
        peer.own(task.abort_handle());
    }
}

/// Whether the peer installed it; `None` if the connection failed or it took too long.
async fn transfer(shared: &Shared, peer: &Peer, mut message: Message) -> Option<bool> {
    let data = message.snapshot.as_mut().map(|s| std::mem::take(&mut s.data)).unwrap_or_default();
    let head = encode_message(&message);
    let connection = dial(shared, peer, Purpose::Snapshot).await.ok()?;
    let Connection { mut reader, mut writer, id } = connection;
    let patience = shared.config.limits.snapshot_patience;
    let exchange = async {
        tokio::select! {
            // An answer before the end is a refusal.
            early = reader.next() => return early,
            sent = write_all(&mut writer, head, &data, patience) => sent?,
        }
        timeout(patience, reader.next()).await.unwrap_or(Err(Broken::Closed))
    };
    let answer = tokio::select! {
        answer = exchange => answer,
        () = shared.dismissed(&id, Some(peer.raft_id)) => Err(Broken::Closed),
    };
    match answer {
        Ok(Frame::SnapshotEnd { installed }) => {
            peer.heard(shared.clock.mono());
            writer.finish().await;
            Some(installed)
        }
        Ok(_) => None,
        Err(error) => {
            tracing::debug!(node = %peer.node, %error, "snapshot not delivered");
            None
        }
    }
}

async fn write_all<W: tokio::io::AsyncWrite + Unpin>(
    writer: &mut FrameWriter<W>,
    message: Vec<u8>,
    data: &[u8],
    patience: Duration,
) -> Result<(), Broken> {
    let size = u64::try_from(data.len()).unwrap_or(u64::MAX);
    writer.write(Frame::SnapshotBegin { message, size }).await?;
    let mut offset = 0;
    for part in data.chunks(CHUNK) {
        let chunk = Frame::SnapshotChunk { offset, data: part.to_vec() };
        timeout(patience, writer.write(chunk)).await.unwrap_or(Err(Broken::Closed))?;
        offset += u64::try_from(part.len()).unwrap_or(u64::MAX);
    }
    Ok(())
}
