//! Which raft messages of a peer reach the raft core.

use jaco_raft_core::decode_message;
use jaco_raft_core::eraftpb::{Message, MessageType};

/// Where a message came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// With others, on the connection for messages.
    Messages,
    /// Alone, with its data behind it.
    Snapshot,
}

/// A message of the member `from` for the member `to`.
///
/// The sender is bound to its certificate here; what a message says about terms and indexes is
/// checked by the raft core.
pub(super) fn accept(bytes: &[u8], from: u64, to: u64, way: Way) -> Result<Message, &'static str> {
    let message = decode_message(bytes).map_err(|_| "a raft message that does not parse")?;
    if message.from != from {
        return Err("a raft message in the name of another member");
    }
    if message.to != to {
        return Err("a raft message for another member");
    }
    let kind = MessageType::from_i32(message.msg_type).ok_or("a raft message of unknown kind")?;
    if !is_for(kind, way) {
        return Err("a raft message of a kind that peers do not send here");
    }
    Ok(message)
}

fn is_for(kind: MessageType, way: Way) -> bool {
    match kind {
        MessageType::MsgAppend
        | MessageType::MsgAppendResponse
        | MessageType::MsgRequestVote
        | MessageType::MsgRequestVoteResponse
        | MessageType::MsgRequestPreVote
        | MessageType::MsgRequestPreVoteResponse
        | MessageType::MsgHeartbeat
        | MessageType::MsgHeartbeatResponse
        | MessageType::MsgTimeoutNow => way == Way::Messages,
        MessageType::MsgSnapshot => way == Way::Snapshot,
        MessageType::MsgHup
        | MessageType::MsgBeat
        | MessageType::MsgPropose
        | MessageType::MsgUnreachable
        | MessageType::MsgSnapStatus
        | MessageType::MsgCheckQuorum
        | MessageType::MsgTransferLeader
        | MessageType::MsgReadIndex
        | MessageType::MsgReadIndexResp => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jaco_raft_core::encode_message;

    fn bytes(kind: i32, from: u64, to: u64) -> Vec<u8> {
        encode_message(&Message { msg_type: kind, from, to, ..Message::default() })
    }

    #[test]
    fn only_kinds_that_peers_send_pass() {
        let passed: Vec<i32> = (-1..40)
            .filter(|kind| accept(&bytes(*kind, 1, 2), 1, 2, Way::Messages).is_ok())
            .collect();
        let expected = [
            MessageType::MsgAppend,
            MessageType::MsgAppendResponse,
            MessageType::MsgRequestVote,
            MessageType::MsgRequestVoteResponse,
            MessageType::MsgHeartbeat,
            MessageType::MsgHeartbeatResponse,
            MessageType::MsgTimeoutNow,
            MessageType::MsgRequestPreVote,
            MessageType::MsgRequestPreVoteResponse,
        ];
        let mut expected = expected.map(|kind| kind as i32);
        expected.sort_unstable();
        assert_eq!(passed, expected);
        let alone: Vec<i32> = (-1..40)
            .filter(|kind| accept(&bytes(*kind, 1, 2), 1, 2, Way::Snapshot).is_ok())
            .collect();
        assert_eq!(alone, [MessageType::MsgSnapshot as i32]);
    }

    #[test]
    fn sender_and_addressee_are_bound() {
        let kind = MessageType::MsgHeartbeat as i32;
        for (from, to) in [(3, 2), (0, 2), (2, 2), (1, 1), (1, 0)] {
            assert!(accept(&bytes(kind, from, to), 1, 2, Way::Messages).is_err(), "{from} {to}");
        }
    }
}
