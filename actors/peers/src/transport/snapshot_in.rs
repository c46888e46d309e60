//! Receives one snapshot and answers once it is installed.

use std::time::Duration;

use jaco_model::NodeId;
use jaco_raft_core::eraftpb::Message;
use jaco_wire::peer::Frame;
use tokio::io::AsyncRead;
use tokio::time::timeout;

use crate::transport::counters::count;
use crate::transport::dial::Connection;
use crate::transport::filter::{self, Way};
use crate::transport::frames::{Broken, FrameReader};
use crate::transport::shared::{Shared, lock};

/// The place of one sender among those who may send at the same time.
struct Place<'s> {
    shared: &'s Shared,
    node: NodeId,
}

impl<'s> Place<'s> {
    /// `None` if this member sends one already, or too many others do.
    fn take(shared: &'s Shared, node: &NodeId) -> Option<Place<'s>> {
        let mut receiving = lock(&shared.receiving);
        let free = receiving.len() < shared.config.limits.snapshots;
        (free && receiving.insert(node.clone())).then(|| Place { shared, node: node.clone() })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        lock(&self.shared.receiving).remove(&self.node);
    }
}

/// Serves a connection for a snapshot.
pub(super) async fn serve(
    shared: &Shared,
    connection: &mut Connection,
    raft_id: u64,
) -> Result<(), Broken> {
    let place = Place::take(shared, &connection.id.node_id);
    let installed = match &place {
        None => false,
        Some(_) => match receive(shared, &mut connection.reader, raft_id).await? {
            Some(message) => shared.handler.snapshot(message).await,
            None => false,
        },
    };
    if installed {
        count(&shared.tally.snapshots_received);
    }
    drop(place);
    connection.writer.write(Frame::SnapshotEnd { installed }).await?;
    // The sender closes once it has the answer; closing first could take it away again.
    let patience = shared.config.limits.handshake_timeout;
    let _ = timeout(patience, connection.reader.next()).await;
    connection.writer.finish().await;
    Ok(())
}

/// The whole message, or `None` if it is not wanted.
async fn receive<R: AsyncRead + Unpin>(
    shared: &Shared,
    reader: &mut FrameReader<R>,
    raft_id: u64,
) -> Result<Option<Message>, Broken> {
    let limits = &shared.config.limits;
    let Frame::SnapshotBegin { message, size } = next(reader, limits.snapshot_patience).await?
    else {
        return Err(Broken::OutOfPlace("no snapshot"));
    };
    let mut message = match filter::accept(&message, raft_id, shared.config.raft_id, Way::Snapshot)
    {
        Ok(message) => message,
        Err(what) => {
            shared.violation(raft_id, what);
            return Ok(None);
        }
    };
    if size > limits.snapshot_bytes {
        tracing::warn!(raft_id, size, "snapshot refused as too large");
        return Ok(None);
    }
    let data = collect(reader, size, limits.snapshot_patience).await?;
    message.snapshot.get_or_insert_default().data = data;
    Ok(Some(message))
}

/// Room is made as data arrives, not for the size that is claimed.
async fn collect<R: AsyncRead + Unpin>(
    reader: &mut FrameReader<R>,
    size: u64,
    patience: Duration,
) -> Result<Vec<u8>, Broken> {
    let mut data = Vec::new();
    let len = |data: &Vec<u8>| u64::try_from(data.len()).unwrap_or(u64::MAX);
    while len(&data) < size {
        let Frame::SnapshotChunk { offset, data: part } = next(reader, patience).await? else {
            return Err(Broken::OutOfPlace("no part of a snapshot"));
        };
        let end = len(&data).saturating_add(len(&part));
        if offset != len(&data) || part.is_empty() || end > size {
            return Err(Broken::OutOfPlace("a part that does not fit its snapshot"));
        }
        data.extend_from_slice(&part);
    }
    Ok(data)
}

async fn next<R: AsyncRead + Unpin>(
    reader: &mut FrameReader<R>,
    patience: Duration,
) -> Result<Frame, Broken> {
    timeout(patience, reader.next()).await.unwrap_or(Err(Broken::Closed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jaco_wire::peer::encode_frame;

    async fn collect_from(parts: &[(u64, usize)], size: u64) -> Result<Vec<u8>, Broken> {
        let frames = parts.iter().flat_map(|(offset, len)| {
            encode_frame(Frame::SnapshotChunk { offset: *offset, data: vec![7; *len] }).unwrap()
        });
        let bytes: Vec<u8> = frames.collect();
        collect(&mut FrameReader::new(bytes.as_slice()), size, Duration::from_secs(60)).await
    }

    #[tokio::test]
    async fn parts_have_to_fit() {
        assert_eq!(collect_from(&[(0, 3), (3, 2)], 5).await.unwrap(), [7; 5]);
        assert!(collect_from(&[], 0).await.unwrap().is_empty());
        for bad in [&[(0, 3), (2, 2)][..], &[(1, 4)], &[(0, 6)], &[(0, 0)], &[(u64::MAX, 1)]] {
            let refused = collect_from(bad, 5).await;
            assert!(refused.is_err_and(|broken| broken.is_violation()), "{bad:?}");
        }
        assert!(matches!(collect_from(&[(0, 3)], 5).await, Err(Broken::Closed)));
        assert!(collect_from(&[(0, 3)], u64::MAX).await.is_err(), "nothing is reserved for claims");
    }
}
