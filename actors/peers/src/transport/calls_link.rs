//! Carries calls and streams to one peer, for as long as it is a member.

use std::convert::Infallible;
use std::sync::Arc;

use jaco_wire::peer::{Frame, Purpose};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::Instant;

use crate::transport::calls::Link;
use crate::transport::dial::{Connection, dial};
use crate::transport::frames::{Broken, FrameReader, FrameWriter};
use crate::transport::outbox::Outgoing;
use crate::transport::peer::Peer;
use crate::transport::shared::Shared;

/// Connects whenever there is a request; those that are open when it fails end with it.
pub(super) async fn run(
    shared: Arc<Shared>,
    peer: Arc<Peer>,
    mut requests: UnboundedReceiver<Outgoing>,
) {
    let mut backoff = shared.backoff();
    while let Some(first) = requests.recv().await {
        if !is_request(&first.frame) {
            // What is left of a connection that ended.
            continue;
        }
        let started = Instant::now();
        if let Ok(connection) = dial(&shared, &peer, Purpose::Calls).await {
            let Err(broken) = pump(&shared, &peer, connection, first, &mut requests).await;
            if broken.is_violation() {
                shared.violation(peer.raft_id, "a broken answer to calls");
            }
            tracing::debug!(node = %peer.node, error = %broken, "connection for calls ended");
            if started.elapsed() > shared.config.limits.backoff_max {
                backoff.reset();
            }
        }
        peer.calls.fail_all(Link::Resting);
        while requests.try_recv().is_ok() {}
        let pause = shared.pause(&mut backoff, started.elapsed());
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = peer.alive.notified() => {}
        }
        peer.calls.set_usable();
    }
}

fn is_request(frame: &Frame) -> bool {
    matches!(frame, Frame::Call(_) | Frame::OpenStream(_))
}

/// Sends requests and takes answers until the connection ends.
async fn pump(
    shared: &Shared,
    peer: &Peer,
    connection: Connection,
    first: Outgoing,
    requests: &mut UnboundedReceiver<Outgoing>,
) -> Result<Infallible, Broken> {
    let Connection { mut reader, mut writer, id } = connection;
    Err(tokio::select! {
        broken = send(peer, &mut writer, first, requests) => broken,
        broken = take(shared, peer, &mut reader) => broken,
        () = shared.dismissed(&id, Some(peer.raft_id)) => Broken::Closed,
    })
}

async fn send<W: AsyncWrite + Unpin>(
    peer: &Peer,
    writer: &mut FrameWriter<W>,
    first: Outgoing,
    requests: &mut UnboundedReceiver<Outgoing>,
) -> Broken {
    let is_wanted = |outgoing: &Outgoing| match &outgoing.frame {
        Frame::Call(request) | Frame::OpenStream(request) => peer.calls.mark_sent(request.id),
        _ => true,
    };
    let mut next = Some(first);
    while let Some(outgoing) = next {
        if is_wanted(&outgoing) {
            let waiting = || {
                let mut rest = std::iter::from_fn(|| requests.try_recv().ok());
                Some(rest.find(is_wanted)?.frame)
            };
            if let Err(broken) = writer.write_with(outgoing.frame, waiting).await {
                return broken;
            }
        }
        next = requests.recv().await;
    }
    Broken::Closed
}

async fn take<R: AsyncRead + Unpin>(
    shared: &Shared,
    peer: &Peer,
    reader: &mut FrameReader<R>,
) -> Broken {
    loop {
        let frame = match reader.next().await {
            Ok(frame) => frame,
            Err(broken) => return broken,
        };
        peer.heard(shared.clock.mono());
        match frame {
            Frame::Answer { id, outcome } => peer.calls.answered(id, outcome),
            Frame::Item { id, payload } => {
                if !peer.calls.item(id, payload) {
                    return Broken::OutOfPlace("an item without credit");
                }
            }
            _ => return Broken::OutOfPlace("no answer to a call"),
        }
    }
}
