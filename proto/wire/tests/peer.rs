//! Golden bytes of the peer protocol, and hostile bytes against its reader.

use jaco_wire::Error;
use jaco_wire::peer::{
    FRAME_HEADER, FRAME_MAX, Frame, Hello, Method, Outcome, PEER_PROTOCOL, Purpose, Refusal,
    Request, decode_frame, encode_frame, frame_length,
};
use proptest::prelude::*;

/// One frame of each kind, and of each kind of answer.
fn frames() -> Vec<Frame> {
    let request = |id, method: Method, timeout_ms| Request {
        id,
        method: method.number(),
        payload: b"{}".to_vec(),
        timeout_ms,
    };
    let answer = |id, outcome| Frame::Answer { id, outcome };
    vec![
        Frame::Hello(Hello {
            protocol: PEER_PROTOCOL,
            cluster_id: "3f2b8a52-8c0e-4f27-9d0c-1f2e3d4c5b6a".into(),
            epoch: 2,
            raft_id: u64::MAX,
            purpose: Purpose::Calls.number(),
        }),
        Frame::Refused { reason: Refusal::Epoch.number(), epoch: 3, protocol: 1 },
        Frame::Raft(vec![vec![8, 1], Vec::new(), vec![255; 3]]),
        Frame::SnapshotBegin { message: vec![1, 2], size: 1 << 33 },
        Frame::SnapshotChunk { offset: 1 << 20, data: vec![7; 5] },
        Frame::SnapshotEnd { installed: true },
        Frame::Call(request(1, Method::Forward, 1_500)),
        Frame::OpenStream(request(2, Method::Logs, 0)),
        answer(1, Outcome::Done(b"ok".to_vec())),
        answer(3, Outcome::Refused("no leader".into())),
        answer(4, Outcome::TooMany),
        answer(5, Outcome::UnknownMethod),
        Frame::Item { id: 2, payload: b"line".to_vec() },
        Frame::Credit { id: 2, items: 16 },
        Frame::Cancel { id: 2 },
    ]
}

fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (header, rest) = bytes.split_first_chunk::<FRAME_HEADER>()?;
    Some(rest.split_at(frame_length(*header).ok()?))
}

#[test]
fn peer_protocol_1_is_what_it_was() {
    let bytes: Vec<u8> = frames().into_iter().flat_map(|f| encode_frame(f).unwrap()).collect();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/peer-v1.bin");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, &bytes).expect("testdata is writable");
    }
    let stored = std::fs::read(path).expect("a golden file exists");
    assert_eq!(stored, bytes, "the peer protocol changed: that needs a new version");
    let mut rest = stored.as_slice();
    for expected in frames() {
        let (frame, after) = split(rest).unwrap();
        assert_eq!(decode_frame(frame).unwrap(), expected);
        rest = after;
    }
    assert!(rest.is_empty());
}

#[test]
fn sizes_are_bounded_on_both_sides() {
    let too_large = Frame::SnapshotChunk { offset: 0, data: vec![0; FRAME_MAX] };
    assert!(matches!(encode_frame(too_large), Err(Error::FrameSize { .. })));
    for len in [0, 8 * 1024 * 1024 + 1, u32::MAX] {
        assert!(matches!(frame_length(len.to_be_bytes()), Err(Error::FrameSize { .. })), "{len}");
    }
    assert_eq!(frame_length([0, 0x80, 0, 0]).unwrap(), FRAME_MAX);
}

#[test]
fn unknown_bodies_and_outcomes_are_errors() {
    assert!(matches!(decode_frame(&[]), Err(Error::Frame { .. })));
    // Field 60, a message: nothing of this version.
    assert!(matches!(decode_frame(&[0xe2, 0x03, 0]), Err(Error::Frame { .. })));
    // An answer with outcome 9.
    assert!(matches!(decode_frame(&[0x4a, 2, 0x10, 9]), Err(Error::Frame { .. })));
}

#[test]
fn numbers_mean_the_same_both_ways() {
    for number in 0..20 {
        assert!(Method::from_number(number).is_none_or(|word| word.number() == number));
        assert!(Purpose::from_number(number).is_none_or(|word| word.number() == number));
    }
    assert_eq!(Method::from_number(11), Some(Method::Removed));
    assert_eq!(Method::from_number(12), Some(Method::Look));
    assert_eq!((Method::from_number(0), Method::from_number(13)), (None, None));
}

proptest! {
    #[test]
    fn noise_never_panics(noise in prop::collection::vec(any::<u8>(), 0..300)) {
        drop(decode_frame(&noise));
    }

    #[test]
    fn damaged_frames_are_errors_or_frames(which: prop::sample::Index, at: usize, flip in 1..=255_u8, cut: usize) {
        let all = frames();
        let mut bytes = encode_frame(which.get(&all).clone()).unwrap().split_off(FRAME_HEADER);
        let at = at % bytes.len();
        bytes[at] ^= flip;
        bytes.truncate(cut % (bytes.len() + 1));
        drop(decode_frame(&bytes));
    }
}
