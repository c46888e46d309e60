//! From a piece that the kernel handed over to the packets it is made of.

use super::{Layout, Piece, TCP4, UNFINISHED, sum};

/// FIN and PSH: of the last packet alone.
const LAST_FLAGS: u8 = 0x09;
/// CWR: of the first packet alone (RFC 3168, 6.1.2).
const FIRST_FLAGS: u8 = 0x80;

/// Hands each packet of a piece to `each`, finished. A piece that makes no sense makes none.
pub(in crate::helper) fn cut(
    frame: &[u8],
    mut each: impl FnMut(&[&[u8]], &mut dyn FnMut(&mut [u8])),
) {
    let Some((piece, packet)) = Piece::read(frame) else { return };
    match piece.kind {
        0 => each(&[packet], &mut |packet| finish(piece, packet)),
        TCP4 => {
            if let Some(layout) = Layout::of(packet)
                && piece.size > 0
            {
                cut_tcp(piece, packet, layout, &mut each);
            }
        }
        // Not asked for.
        _ => {}
    }
}

/// Finishes the sum of one packet.
fn finish(piece: Piece, packet: &mut [u8]) {
    if piece.flags & UNFINISHED == 0 {
        return;
    }
    let (start, at) = (usize::from(piece.sum_start), usize::from(piece.sum_offset));
    // The place of the sum holds the part of the IP header that belongs to it.
    let Some(part) = packet.get(start..) else { return };
    let sum = match !sum::fold(sum::add(0, part)) {
        // Of UDP, 0 would say that there is none.
        0 => 0xffff,
        sum => sum,
    };
    sum::put(packet, start + at, sum);
}

fn cut_tcp(
    piece: Piece,
    packet: &[u8],
    Layout { tcp, data }: Layout,
    each: &mut impl FnMut(&[&[u8]], &mut dyn FnMut(&mut [u8])),
) {
    let (headers, data) = packet.split_at(data);
    let size = usize::from(piece.size);
    let count = data.len().div_ceil(size).max(1);
    let number = |at: usize| headers.get(at..at + 4).and_then(|b| b.try_into().ok());
    let first = number(tcp + 4).map_or(0, u32::from_be_bytes);
    let id = u16::from_be_bytes([headers[4], headers[5]]);
    for index in 0..count {
        let from = index * size;
        let part = data.get(from..data.len().min(from + size)).unwrap_or_default();
        each(&[headers, part], &mut |packet| {
            sum::put(packet, 2, packet.len() as u16);
            sum::put(packet, 4, id.wrapping_add(index as u16));
            let sequence = first.wrapping_add(from as u32).to_be_bytes();
            packet[tcp + 4..tcp + 8].copy_from_slice(&sequence);
            if index > 0 {
                packet[tcp + 13] &= !FIRST_FLAGS;
            }
            if index + 1 < count {
                packet[tcp + 13] &= !LAST_FLAGS;
            }
            sum::finish_ip(packet, tcp);
            sum::finish_tcp(packet, tcp);
        });
    }
}
