//! Receives raft messages of one member.

use std::sync::atomic::Ordering;

use jaco_wire::peer::Frame;

use crate::transport::dial::Connection;
use crate::transport::filter::{self, Way};
use crate::transport::frames::Broken;
use crate::transport::shared::Shared;

/// Serves a connection for raft messages until it ends.
pub(super) async fn serve(
    shared: &Shared,
    connection: &mut Connection,
    raft_id: u64,
) -> Result<(), Broken> {
    loop {
        let Frame::Raft(messages) = connection.reader.next().await? else {
            return Err(Broken::OutOfPlace("no raft messages"));
        };
        shared.heard(&connection.id.node_id);
        for bytes in &messages {
            match filter::accept(bytes, raft_id, shared.config.raft_id, Way::Messages) {
                Ok(message) => {
                    shared.tally.received_messages.fetch_add(1, Ordering::Relaxed);
                    shared.handler.raft_message(message);
                }
                Err(what) => shared.violation(raft_id, what),
            }
        }
    }
}
