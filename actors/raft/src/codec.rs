//! The bytes of one stored value: CRC32C over key and body, then the body.
//!
//! The key is part of the checksum, so a value that a disk put in another's place is noticed.

use jaco_raft_core::eraftpb::{ConfState, HardState};
use jaco_raft_core::{Members, Position, SnapshotMeta};
use prost_raft::Message;

const CRC_LEN: usize = 4;

/// The stored form of `body` under `key`.
pub(crate) fn seal(key: &[u8], body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(CRC_LEN + body.len());
    out.extend_from_slice(&checksum(key, body).to_le_bytes());
    out.extend_from_slice(body);
    out
}

/// The body stored under `key`, or `None` if the checksum does not match.
pub(crate) fn open<'a>(key: &[u8], stored: &'a [u8]) -> Option<&'a [u8]> {
    let (crc, body) = stored.split_first_chunk::<CRC_LEN>()?;
    (u32::from_le_bytes(*crc) == checksum(key, body)).then_some(body)
}

fn checksum(key: &[u8], body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(key), body)
}

/// A value of the log database.
pub(crate) trait Value: Sized {
    fn encode(&self) -> Vec<u8>;
    fn decode(bytes: &[u8]) -> Option<Self>;
}

impl Value for HardState {
    fn encode(&self) -> Vec<u8> {
        self.encode_to_vec()
    }

    fn decode(bytes: &[u8]) -> Option<HardState> {
        Message::decode(bytes).ok()
    }
}

impl Value for u64 {
    fn encode(&self) -> Vec<u8> {
        self.to_le_bytes().to_vec()
    }

    fn decode(bytes: &[u8]) -> Option<u64> {
        bytes.try_into().ok().map(u64::from_le_bytes)
    }
}

impl Value for Position {
    fn encode(&self) -> Vec<u8> {
        [self.index.to_le_bytes(), self.term.to_le_bytes()].concat()
    }

    fn decode(bytes: &[u8]) -> Option<Position> {
        let (index, term) = bytes.split_first_chunk::<8>()?;
        Some(Position { index: u64::from_le_bytes(*index), term: Value::decode(term)? })
    }
}

impl Value for Members {
    fn encode(&self) -> Vec<u8> {
        let (voters, learners) = (self.voters.clone(), self.learners.clone());
        ConfState { voters, learners, ..ConfState::default() }.encode_to_vec()
    }

    fn decode(bytes: &[u8]) -> Option<Members> {
        let conf: ConfState = Message::decode(bytes).ok()?;
        Some(Members { voters: conf.voters, learners: conf.learners })
    }
}

impl Value for (u64, Members) {
    fn encode(&self) -> Vec<u8> {
        [Value::encode(&self.0), Value::encode(&self.1)].concat()
    }

    fn decode(bytes: &[u8]) -> Option<(u64, Members)> {
        let (index, members) = bytes.split_first_chunk::<8>()?;
        Some((u64::from_le_bytes(*index), Value::decode(members)?))
    }
}

impl Value for SnapshotMeta {
    fn encode(&self) -> Vec<u8> {
        [self.at.encode(), self.members.encode()].concat()
    }

    fn decode(bytes: &[u8]) -> Option<SnapshotMeta> {
        let (at, members) = bytes.split_first_chunk::<16>()?;
        Some(SnapshotMeta { at: Value::decode(at)?, members: Value::decode(members)? })
    }
}
