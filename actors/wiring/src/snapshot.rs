//! The state as the bytes of a snapshot file.

use crate::step::Error;
use jaco_raft_core::{Members, Position};
use jaco_state::State;
use jaco_wire::{Section, SnapshotHeader, decode_snapshot, encode_snapshot};

/// The bytes of a snapshot file.
///
/// # Errors
/// When a section is larger than the format can hold.
pub fn encode_state(
    state: &State,
    at: Position,
    members: &Members,
) -> Result<Vec<u8>, jaco_wire::Error> {
    let cluster = state.cluster.as_ref();
    let header = SnapshotHeader {
        feature_level: cluster.map_or(1, |cluster| cluster.feature_level),
        cluster_id: cluster.map_or([0; 16], |cluster| uuid_bytes(cluster.cluster_id.as_str())),
        epoch: cluster.map_or(1, |cluster| cluster.epoch),
        index: at.index,
        term: at.term,
        voters: members.voters.clone(),
        learners: members.learners.clone(),
        state_hash: state.hash(),
    };
    encode_snapshot(&header, &sections(state))
}

/// The sections of a state as the snapshot format carries them.
fn sections(state: &State) -> Vec<Section> {
    let sections = state.to_sections().into_iter();
    sections.map(|s| Section { name: s.name, count: s.count, body: s.bytes }).collect()
}

/// The state in the bytes of a snapshot file.
///
/// # Errors
/// For bytes of another format or version, or that were changed.
pub fn decode_state(index: u64, bytes: &[u8]) -> Result<State, Error> {
    let snapshot = decode_snapshot(bytes).map_err(|source| Error::Decode { index, source })?;
    let sections = snapshot.sections.into_iter().map(|section| jaco_state::Section {
        name: section.name,
        count: section.count,
        bytes: section.body,
    });
    State::from_sections(&sections.collect::<Vec<_>>())
        .map_err(|source| Error::Snapshot { index, source })
}

/// The 16 bytes of a UUID; other texts give the bytes of their hex digits, zeros after.
fn uuid_bytes(text: &str) -> [u8; 16] {
    let mut digits = text.chars().filter_map(|c| c.to_digit(16));
    let mut byte = || {
        let (high, low) = (digits.next().unwrap_or(0), digits.next().unwrap_or(0));
        // Two hex digits never exceed a byte.
        u8::try_from(high << 4 | low).unwrap_or_default()
    };
    std::array::from_fn(|_| byte())
}

#[cfg(test)]
mod tests {
    use super::uuid_bytes;

    #[test]
    fn a_uuid_is_its_bytes() {
        let bytes = uuid_bytes("00112233-4455-6677-8899-aabbccddeeff");
        assert_eq!(bytes[1], 0x11);
        assert_eq!(bytes[15], 0xff);
    }
}
