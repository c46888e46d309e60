//! Golden bytes per version, and hostile bytes against the readers.

use jaco_wire::{
    EntryHeader, Error, Section, Snapshot, SnapshotHeader, decode_entry, decode_snapshot,
    encode_entry, encode_snapshot, verify_snapshot,
};
use proptest::prelude::*;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

fn header() -> EntryHeader {
    EntryHeader {
        request_id: *b"0123456789abcdef",
        at_ms: 1_700_000_000_123,
        identity: "ci".into(),
    }
}

fn snapshot() -> Snapshot {
    let header = SnapshotHeader {
        feature_level: 1,
        cluster_id: *b"fedcba9876543210",
        epoch: 3,
        index: 8_200,
        term: 7,
        voters: vec![11, u64::MAX],
        learners: vec![12],
        state_hash: [0xa5; 32],
    };
    let replicas = b"{\"service\":\"web\",\"index\":0}".repeat(20);
    let sections = vec![
        Section { name: "nodes".into(), count: 3, body: b"[1,2,3]".to_vec() },
        Section { name: "empty".into(), count: 0, body: Vec::new() },
        Section { name: "replicas".into(), count: 20, body: replicas },
    ];
    Snapshot { header, sections }
}

/// Compares with the stored bytes; `UPDATE_GOLDEN=1` writes them for a new version.
fn check_golden(name: &str, bytes: &[u8]) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, bytes).expect("testdata is writable");
    }
    let stored = std::fs::read(&path).expect("a golden file exists");
    assert_eq!(stored, bytes, "{name} changed: that needs a new version");
}

/// Puts a right digest behind changed bytes, to reach the checks beneath it.
fn seal(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.len().saturating_sub(32));
    let digest = Sha256::digest(&bytes);
    bytes.extend_from_slice(&digest);
    bytes
}

#[test]
fn entry_format_1_is_what_it_was() {
    let command = json!({"type": "node_cordon", "node": "n1"});
    check_golden("entry-v1.bin", &encode_entry(&header(), &command).unwrap());
    let stored = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/entry-v1.bin"));
    let (decoded, body) = decode_entry::<Value>(&stored.unwrap()).unwrap();
    assert_eq!((decoded, body), (header(), command));
}

#[test]
fn snapshot_format_1_is_what_it_was() {
    let expected = snapshot();
    check_golden(
        "snapshot-v1.bin",
        &encode_snapshot(&expected.header, &expected.sections).unwrap(),
    );
    let stored = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/snapshot-v1.bin"));
    assert_eq!(decode_snapshot(&stored.unwrap()).unwrap(), expected);
}

#[test]
fn unknown_versions_are_refused_by_name() {
    let mut entry = encode_entry(&header(), &json!(null)).unwrap();
    assert_eq!(entry[..2], [8, 1], "the format is the first field");
    entry[1] = 2;
    let refused = decode_entry::<Value>(&entry);
    assert!(matches!(refused, Err(Error::UnknownFormat { found: 2, supported: 1, .. })));

    let s = snapshot();
    let mut bytes = encode_snapshot(&s.header, &s.sections).unwrap();
    bytes[8] = 9;
    assert!(matches!(decode_snapshot(&bytes), Err(Error::UnknownFormat { found: 9, .. })));
}

#[test]
fn no_single_bit_and_no_cut_goes_unnoticed() {
    let s = snapshot();
    let good = encode_snapshot(&s.header, &s.sections).unwrap();
    for at in 0..good.len() {
        assert!(decode_snapshot(&good[..at]).is_err(), "cut at {at}");
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            assert!(decode_snapshot(&bad).is_err(), "byte {at} bit {bit}");
            assert!(verify_snapshot(&bad).is_err(), "byte {at} bit {bit}");
        }
    }
}

#[test]
fn a_claimed_length_does_not_allocate() {
    let s = Section { name: "n".into(), count: 1, body: vec![7; 100] };
    let good = encode_snapshot(&SnapshotHeader::default(), &[s]).unwrap();
    let plain_len = 100_u64.to_le_bytes();
    let at = good.windows(8).rposition(|w| w == plain_len).unwrap();
    for claim in [u64::MAX, 1 << 40, 101, 99] {
        let mut bad = good.clone();
        bad[at..at + 8].copy_from_slice(&claim.to_le_bytes());
        assert!(matches!(decode_snapshot(&seal(bad)), Err(Error::Malformed { .. })), "{claim}");
    }
}

proptest! {
    #[test]
    fn entries_round_trip(id: [u8; 16], at_ms: u64, identity in ".{0,40}", text in ".{0,80}") {
        let header = EntryHeader { request_id: id, at_ms, identity };
        let bytes = encode_entry(&header, &text).unwrap();
        prop_assert_eq!(decode_entry::<String>(&bytes).unwrap(), (header, text));
    }

    #[test]
    fn damaged_entries_are_errors_or_entries(at: usize, flip in 1..=255_u8, cut: usize) {
        let mut bytes = encode_entry(&header(), &json!({"a": [1, 2]})).unwrap();
        let at = at % bytes.len();
        bytes[at] ^= flip;
        bytes.truncate(cut % (bytes.len() + 1));
        drop(decode_entry::<Value>(&bytes));
    }

    #[test]
    fn snapshots_round_trip(bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..600), 0..6)) {
        let sections: Vec<Section> = bodies
            .into_iter()
            .map(|body| Section { name: body.len().to_string(), count: body.len() as u64, body })
            .collect();
        let header = snapshot().header;
        let bytes = encode_snapshot(&header, &sections).unwrap();
        prop_assert_eq!(decode_snapshot(&bytes).unwrap(), Snapshot { header, sections });
    }

    /// With the digest repaired, the inner checks stand alone against the damage.
    #[test]
    fn hostile_snapshots_never_panic(at: usize, bytes: [u8; 8], cut: usize) {
        let s = snapshot();
        let mut bad = encode_snapshot(&s.header, &s.sections).unwrap();
        let at = at % (bad.len() - 8);
        bad[at..at + 8].copy_from_slice(&bytes);
        bad.truncate(bad.len() - cut % 200);
        drop(decode_snapshot(&seal(bad)));
    }

    #[test]
    fn noise_never_panics(noise in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut bytes = b"JACOSNP1\x01\0\0\0".to_vec();
        bytes.extend_from_slice(&noise);
        drop(decode_snapshot(&bytes));
        drop(decode_snapshot(&seal(bytes)));
        drop(decode_entry::<Value>(&noise));
    }
}
