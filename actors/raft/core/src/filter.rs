//! What a peer may say. raft-rs panics on messages that no correct member sends, so they stop here.
//!
//! The transport has already bound `from` to the peer's certificate and refused strangers.

use raft::eraftpb::{Message, MessageType};
use raft::{Raft, StateRole, Storage};

use crate::convert::{check_entry, members_from_pb};

/// No cluster holds so many elections, nor so many entries; the distance keeps every later sum from
/// overflowing.
const COUNT_MAX: u64 = u64::MAX >> 8;

/// Checks `message` against the state of this member; the error says what is wrong.
pub(crate) fn check<S: Storage>(message: &Message, raft: &Raft<S>) -> Result<(), &'static str> {
    if message.to != raft.id {
        return Err("addressed to another member");
    }
    if message.from == raft::INVALID_ID || message.from == raft.id {
        return Err("sent by nobody or by this member");
    }
    // The library takes term 0 for a message of its own, and counts on from the highest.
    if message.term == 0 || message.term > COUNT_MAX {
        return Err("an impossible term");
    }
    let Some(kind) = MessageType::from_i32(message.msg_type) else {
        return Err("unknown message type");
    };
    // The library answers or ignores messages of an older term without looking inside.
    let is_stale = message.term < raft.term;
    match kind {
        MessageType::MsgAppend if is_stale => Ok(()),
        MessageType::MsgAppend => check_append(message, raft),
        MessageType::MsgHeartbeat if is_stale || message.commit <= raft.raft_log.last_index() => {
            Ok(())
        }
        MessageType::MsgHeartbeat => Err("commits more than this member ever acknowledged"),
        MessageType::MsgSnapshot => check_snapshot(message),
        // Only a leader counts acknowledgements, and within its term its log only grows.
        MessageType::MsgAppendResponse if is_stale || raft.state != StateRole::Leader => Ok(()),
        MessageType::MsgAppendResponse => check_acknowledgement(message, raft),
        MessageType::MsgTimeoutNow => check_hand_over(message, raft),
        // A member that has not finished writing has not asked yet; the library would let it lead,
        // and then panics over the unwritten entries.
        MessageType::MsgRequestVoteResponse
            if raft.state == StateRole::Candidate && !is_written(raft) =>
        {
            Err("answers a question that was not asked")
        }
        // The library cannot refuse in term 0, and nobody counts the vote of a member so new.
        MessageType::MsgRequestPreVote if raft.term == 0 => Err("asks a member without a term"),
        MessageType::MsgRequestVote
        | MessageType::MsgRequestPreVote
        | MessageType::MsgRequestVoteResponse
        | MessageType::MsgRequestPreVoteResponse
        | MessageType::MsgHeartbeatResponse => Ok(()),
        MessageType::MsgHup
        | MessageType::MsgBeat
        | MessageType::MsgPropose
        | MessageType::MsgUnreachable
        | MessageType::MsgSnapStatus
        | MessageType::MsgCheckQuorum
        | MessageType::MsgTransferLeader
        | MessageType::MsgReadIndex
        | MessageType::MsgReadIndexResp => Err("a message type that peers do not use"),
    }
}

fn check_append<S: Storage>(message: &Message, raft: &Raft<S>) -> Result<(), &'static str> {
    let (mut index, mut term) = (message.index, message.log_term);
    // Every log begins with a snapshot, so nobody has an entry 1 to send. And the library takes
    // term 0 for a match with any index past its log.
    if index == 0 || term == 0 {
        return Err("entries after an impossible position");
    }
    for entry in &message.entries {
        if index.checked_add(1) != Some(entry.index) {
            return Err("entries with gaps");
        }
        if entry.term < term || entry.term > message.term {
            return Err("entries with impossible terms");
        }
        check_entry(entry)?;
        (index, term) = (entry.index, entry.term);
        let is_committed = entry.index <= raft.raft_log.committed;
        let own = raft.raft_log.term(entry.index).ok();
        // Below the truncation the term is unknown; the library does not look there either.
        if is_committed && own.is_some_and(|own| own != 0 && own != entry.term) {
            return Err("entries that contradict committed ones");
        }
    }
    Ok(())
}

fn check_acknowledgement<S: Storage>(
    message: &Message,
    raft: &Raft<S>,
) -> Result<(), &'static str> {
    if message.index.max(message.reject_hint) > raft.raft_log.last_index() {
        return Err("acknowledges more than was sent");
    }
    // Members wait until the leader finds out that they need one.
    if message.request_snapshot != raft::INVALID_INDEX {
        return Err("asks for a snapshot");
    }
    Ok(())
}

fn check_hand_over<S: Storage>(message: &Message, raft: &Raft<S>) -> Result<(), &'static str> {
    if message.term < raft.term {
        return Ok(());
    }
    // A member that began an election or started anew knows its term, and no more who leads it.
    let may_lead = raft.leader_id == raft::INVALID_ID || raft.leader_id == message.from;
    if !may_lead || message.term != raft.term {
        return Err("hands over leadership without having it");
    }
    // It would win at once, with entries that are not durable.
    if raft.prs().is_singleton() && !is_written(raft) {
        return Err("hands over leadership to the only voter");
    }
    Ok(())
}

fn is_written<S: Storage>(raft: &Raft<S>) -> bool {
    raft.raft_log.persisted == raft.raft_log.last_index()
}

fn check_snapshot(message: &Message) -> Result<(), &'static str> {
    let metadata = message.get_snapshot().get_metadata();
    if metadata.index == 0
        || metadata.index > COUNT_MAX
        || metadata.term == 0
        || metadata.term > message.term
    {
        return Err("a snapshot at an impossible position");
    }
    match members_from_pb(metadata.get_conf_state()) {
        Some(members) if members.is_valid() => Ok(()),
        _ => Err("a snapshot with an invalid member list"),
    }
}
