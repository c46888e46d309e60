//! Between the library's protobuf types and plain ones.

use prost_raft::{DecodeError, Message as _};
use raft::eraftpb::{ConfChange, ConfChangeType, ConfChangeV2, ConfState, Message};

use crate::durable::Members;
use crate::input::MemberChange;

/// The bytes of a peer message.
pub fn encode_message(message: &Message) -> Vec<u8> {
    message.encode_to_vec()
}

/// Reads a peer message. What it says is checked later, when the core takes it.
///
/// # Errors
/// If the bytes are not a peer message.
pub fn decode_message(bytes: &[u8]) -> Result<Message, DecodeError> {
    Message::decode(bytes)
}

pub(crate) fn decode_change_v1(bytes: &[u8]) -> Result<ConfChange, DecodeError> {
    ConfChange::decode(bytes)
}

/// Empty bytes are legal here: they mean "leave the joint configuration".
pub(crate) fn decode_change_v2(bytes: &[u8]) -> Result<ConfChangeV2, DecodeError> {
    ConfChangeV2::decode(bytes)
}

pub(crate) fn change_to_pb(change: MemberChange) -> ConfChange {
    let (kind, node_id) = match change {
        MemberChange::AddLearner(id) => (ConfChangeType::AddLearnerNode, id),
        MemberChange::AddVoter(id) => (ConfChangeType::AddNode, id),
        MemberChange::Remove(id) => (ConfChangeType::RemoveNode, id),
    };
    let mut pb = ConfChange { node_id, ..ConfChange::default() };
    pb.set_change_type(kind);
    pb
}

pub(crate) fn members_to_pb(members: &Members) -> ConfState {
    ConfState {
        voters: members.voters.clone(),
        learners: members.learners.clone(),
        ..ConfState::default()
    }
}

/// `None` for a joint configuration, which this cluster never uses.
pub(crate) fn members_from_pb(conf: &ConfState) -> Option<Members> {
    let is_joint =
        !conf.voters_outgoing.is_empty() || !conf.learners_next.is_empty() || conf.auto_leave;
    if is_joint {
        return None;
    }
    let mut members = Members { voters: conf.voters.clone(), learners: conf.learners.clone() };
    // The library keeps sets without order; equal members must have equal bytes.
    members.voters.sort_unstable();
    members.learners.sort_unstable();
    Some(members)
}
