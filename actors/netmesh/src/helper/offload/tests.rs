//! What was cut is joined to the same, sums are right, and nothing makes it panic.

use super::*;
use proptest::prelude::*;

/// A TCP packet with right sums.
fn tcp(port: u16, sequence: u32, flags: u8, data: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 0, 0, 7, 0x40, 0, 64, TCP, 0, 0, 10, 80, 0, 1, 10, 80, 0, 2];
    packet.extend_from_slice(&port.to_be_bytes());
    packet.extend_from_slice(&80_u16.to_be_bytes());
    packet.extend_from_slice(&sequence.to_be_bytes());
    // Acknowledgement, length of the header with a time stamp, flags, window, sum, pointer.
    packet.extend_from_slice(&[0, 0, 0, 9, 0x80, flags, 1, 0, 0, 0, 0, 0]);
    packet.extend_from_slice(&[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]);
    packet.extend_from_slice(data);
    let length = packet.len() as u16;
    sum::put(&mut packet, 2, length);
    sum::finish_ip(&mut packet, 20);
    sum::finish_tcp(&mut packet, 20);
    packet
}

fn bytes(count: usize, first: usize) -> Vec<u8> {
    (first..first + count).map(|at| (at % 251) as u8).collect()
}

fn cut_all(frame: &[u8]) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    cut(frame, |parts, finish| {
        let mut packet = parts.concat();
        finish(&mut packet);
        packets.push(packet);
    });
    packets
}

fn join_all(packets: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut joiner = Joiner::default();
    for packet in packets {
        let _ = joiner.add(packet);
    }
    let frames: Vec<Vec<u8>> = joiner.take().map(<[u8]>::to_vec).collect();
    assert_eq!(joiner.take().count(), 0);
    frames
}

/// With the ids that a cut gives.
fn with_id(mut packet: Vec<u8>, id: u16) -> Vec<u8> {
    sum::put(&mut packet, 4, id);
    sum::finish_ip(&mut packet, 20);
    packet
}

#[test]
fn the_sum_is_that_of_the_rfc() {
    // RFC 1071, 3.
    let example = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
    assert_eq!(sum::fold(sum::add(0, &example)), 0xddf2);
    assert_eq!(sum::fold(sum::add(0, &[0xff; 4_096])), 0xffff);
    assert_eq!(sum::fold(sum::add(0, &[1])), 0x0100);
}

#[test]
fn a_stream_becomes_one_piece_and_the_piece_the_same_packets() {
    let mut packets: Vec<Vec<u8>> = (0..9_u16)
        .map(|at| with_id(tcp(1, u32::from(at) * 1_000, 0x10, &bytes(1_000, at.into())), 7 + at))
        .collect();
    packets.push(with_id(tcp(1, 9_000, 0x18, &bytes(300, 5)), 16));
    let frames = join_all(&packets);
    assert_eq!(frames.len(), 1);
    let (piece, whole) = Piece::read(&frames[0]).unwrap();
    assert_eq!((piece.kind, piece.size, piece.headers), (TCP4, 1_000, 52));
    assert_eq!((piece.flags, piece.sum_start, piece.sum_offset), (UNFINISHED, 20, 16));
    assert_eq!(whole.len(), 52 + 9_300);
    assert_eq!(cut_all(&frames[0]), packets);
}

#[test]
fn what_does_not_follow_is_not_joined() {
    let first = tcp(1, 0, 0x10, &bytes(100, 0));
    let good = tcp(1, 100, 0x10, &bytes(100, 0));
    assert_eq!(join_all(&[first.clone(), good.clone()]).len(), 1);
    let damaged = |at: usize, bit: u8| {
        let mut packet = good.clone();
        packet[at] ^= bit;
        packet
    };
    let mut service = damaged(1, 4);
    sum::finish_ip(&mut service, 20);
    let mut fragment = damaged(6, 0x20);
    sum::finish_ip(&mut fragment, 20);
    let mut window = damaged(34, 1);
    sum::finish_tcp(&mut window, 20);
    let mut stamp = damaged(51, 1);
    sum::finish_tcp(&mut stamp, 20);
    for other in [
        tcp(1, 101, 0x10, &bytes(100, 0)),
        tcp(2, 100, 0x10, &bytes(100, 0)),
        tcp(1, 100, 0x10, &bytes(101, 0)),
        tcp(1, 100, 0x10, &[]),
        tcp(1, 100, 0x11, &bytes(100, 0)),
        tcp(1, 100, 0x14, &bytes(100, 0)),
        tcp(1, 100, 0x30, &bytes(100, 0)),
        tcp(1, 100, 0xd0, &bytes(100, 0)),
        service,
        fragment,
        window,
        stamp,
        // Sums that are wrong.
        damaged(100, 1),
        damaged(8, 0),
        damaged(11, 1),
    ]
    .into_iter()
    .filter(|other| *other != good)
    {
        let frames = join_all(&[first.clone(), other.clone()]);
        let packets: Vec<&[u8]> = frames.iter().map(|frame| &frame[HEADER..]).collect();
        assert_eq!(packets, [&first, &other]);
    }
}

#[test]
fn a_piece_ends_with_a_short_packet_and_streams_keep_their_order() {
    let packets = [
        tcp(1, 0, 0x10, &bytes(100, 0)),
        tcp(2, 0, 0x10, &bytes(100, 0)),
        tcp(1, 100, 0x10, &bytes(40, 0)),
        tcp(1, 140, 0x10, &bytes(40, 0)),
        tcp(2, 100, 0x18, &bytes(100, 0)),
        tcp(2, 200, 0x10, &bytes(100, 0)),
        tcp(1, 180, 0x10, &bytes(40, 0)),
    ];
    let sizes: Vec<usize> =
        join_all(&packets).iter().map(|frame| frame.len() - HEADER - 52).collect();
    assert_eq!(sizes, [140, 200, 80, 100]);
}

#[test]
fn only_data_that_may_go_on_is_worth_waiting_for() {
    let mut joiner = Joiner::default();
    assert!(joiner.add(&tcp(1, 0, 0x10, &bytes(100, 0))));
    assert!(joiner.add(&tcp(1, 100, 0x10, &bytes(100, 0))));
    assert!(!joiner.add(&tcp(1, 200, 0x18, &bytes(100, 0))));
    assert!(!joiner.add(&tcp(2, 0, 0x18, &bytes(100, 0))));
    assert!(!joiner.add(&tcp(3, 0, 0x10, &[])));
    assert!(!joiner.add(&[0x45; 40]));
    assert_eq!(joiner.len(), 4);
}

#[test]
fn a_single_packet_gets_its_sum() {
    let whole = tcp(1, 5, 0x18, &bytes(77, 1));
    let mut unfinished = whole.clone();
    let part = sum::fold(sum::pseudo(&whole, whole.len() - 20));
    sum::put(&mut unfinished, 36, part);
    let piece = Piece { flags: UNFINISHED, sum_start: 20, sum_offset: 16, ..Piece::default() };
    let mut frame = Vec::new();
    piece.write(&mut frame);
    frame.extend_from_slice(&unfinished);
    assert_eq!(cut_all(&frame), [whole]);
}

proptest! {
    #[test]
    fn streams_survive(parts in prop::collection::vec((1_u16..4, 1_usize..1_400, any::<bool>()), 1..200)) {
        let mut at = [0_u32; 4];
        let packets: Vec<Vec<u8>> = parts
            .iter()
            .map(|(port, length, push)| {
                let sequence = at[usize::from(*port)];
                at[usize::from(*port)] += *length as u32;
                let flags = if *push { 0x18 } else { 0x10 };
                tcp(*port, sequence, flags, &bytes(*length, sequence as usize))
            })
            .collect();
        let out: Vec<Vec<u8>> = join_all(&packets).iter().flat_map(|frame| cut_all(frame)).collect();
        let of = |packets: &[Vec<u8>], port: u16| -> Vec<Vec<u8>> {
            let own = packets.iter().filter(|packet| packet[20..22] == port.to_be_bytes());
            own.map(|packet| with_id(packet.clone(), 0)).collect()
        };
        for port in 1..4 {
            prop_assert_eq!(of(&out, port), of(&packets, port));
        }
        for packet in &out {
            prop_assert!(sum::is_right(packet, 20));
        }
    }

    #[test]
    fn nonsense_makes_no_harm(
        mut frame in prop::collection::vec(any::<u8>(), 0..200),
        kind in 0_u8..4,
        is_ip in any::<bool>(),
    ) {
        if frame.len() > 24 && is_ip {
            frame[1] = kind;
            frame[10] = 0x45;
            frame[19] = TCP;
            frame[16] = 0x40;
            frame[17] = 0;
        }
        let packets = cut_all(&frame);
        prop_assert!(packets.len() <= 200);
        join_all(&packets);
        join_all(&[frame.clone(), frame.split_off(frame.len() / 2)]);
    }
}
