//! Any bytes as a log entry and as a snapshot: damage is reported, never a panic.

#![no_main]

use jaco_wire::{decode_entry, decode_snapshot, encode_snapshot, verify_snapshot};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = decode_entry::<serde_json::Value>(bytes);
    let verified = verify_snapshot(bytes);
    if let Ok(snapshot) = decode_snapshot(bytes) {
        assert_eq!(verified.as_ref().ok(), Some(&snapshot.header), "two readings of one header");
        let again = encode_snapshot(&snapshot.header, &snapshot.sections);
        let again = decode_snapshot(&again.expect("what was read can be written"));
        assert_eq!(again.expect("what was written can be read"), snapshot);
    }
});
