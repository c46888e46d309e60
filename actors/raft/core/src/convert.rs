//! Between the library's protobuf types and plain ones.

use prost_raft::{DecodeError, Message as _};
use raft::eraftpb::{
    ConfChange, ConfChangeTransition, ConfChangeType, ConfChangeV2, ConfState, Entry, EntryType,
    Message,
};

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

/// Whether the library can read this entry without a panic, if it is ever applied.
pub(crate) fn check_entry(entry: &Entry) -> Result<(), &'static str> {
    match EntryType::from_i32(entry.entry_type) {
        Some(EntryType::EntryNormal) => Ok(()),
        Some(EntryType::EntryConfChange) => decode_change_v1(&entry.data).map(drop),
        Some(EntryType::EntryConfChangeV2) => decode_change_v2(&entry.data).map(drop),
        None => Err("an entry of unknown type"),
    }
}

pub(crate) fn decode_change_v1(bytes: &[u8]) -> Result<ConfChange, &'static str> {
    let change = ConfChange::decode(bytes).map_err(|_| "an unreadable membership change")?;
    check_kinds([change.change_type])?;
    Ok(change)
}

/// Empty bytes are legal here: they mean "leave the joint configuration".
pub(crate) fn decode_change_v2(bytes: &[u8]) -> Result<ConfChangeV2, &'static str> {
    let change = ConfChangeV2::decode(bytes).map_err(|_| "an unreadable membership change")?;
    check_kinds(change.changes.iter().map(|single| single.change_type))?;
    match ConfChangeTransition::from_i32(change.transition) {
        Some(_) => Ok(change),
        None => Err("a membership change of unknown kind"),
    }
}

/// The library panics on kinds that it does not know.
fn check_kinds(kinds: impl IntoIterator<Item = i32>) -> Result<(), &'static str> {
    let is_known = |kind| ConfChangeType::from_i32(kind).is_some();
    match kinds.into_iter().all(is_known) {
        true => Ok(()),
        false => Err("a membership change of unknown kind"),
    }
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
