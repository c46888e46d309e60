//! The sum of IPv4 and TCP headers (RFC 1071).

use super::{SUM_AT, TCP};

/// The sum of `bytes` onto an earlier one, not folded.
pub(super) fn add(sum: u64, bytes: &[u8]) -> u64 {
    let mut chunks = bytes.chunks_exact(8);
    let mut total = u128::from(sum);
    for chunk in &mut chunks {
        let word = <[u8; 8]>::try_from(chunk).map_or(0, u64::from_be_bytes);
        total += u128::from(word);
    }
    let mut rest = [0; 8];
    let left = chunks.remainder();
    rest[..left.len()].copy_from_slice(left);
    total += u128::from(u64::from_be_bytes(rest));
    // Carries come back in at the end: the sum is taken modulo 2^16 - 1.
    let total = (total >> 64) + (total & u128::from(u64::MAX));
    ((total >> 64) + (total & u128::from(u64::MAX))) as u64
}

/// The 16 bits of a sum.
pub(super) fn fold(sum: u64) -> u16 {
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    ((sum >> 16) + (sum & 0xffff)) as u16
}

/// The sum of what TCP adds of the IPv4 header: addresses, protocol, and the length of the part
/// with header and data.
pub(super) fn pseudo(packet: &[u8], length: usize) -> u64 {
    let addresses = packet.get(12..20).unwrap_or_default();
    add(u64::from(TCP) + length as u64, addresses)
}

/// Writes the sum of the IPv4 header, which ends at `end`.
pub(super) fn finish_ip(packet: &mut [u8], end: usize) {
    put(packet, 10, 0);
    let sum = !fold(add(0, packet.get(..end).unwrap_or_default()));
    put(packet, 10, sum);
}

/// Writes the sum of the TCP part, which begins at `start`.
pub(super) fn finish_tcp(packet: &mut [u8], start: usize) {
    put(packet, start + SUM_AT, 0);
    let part = packet.get(start..).unwrap_or_default();
    let sum = !fold(add(pseudo(packet, part.len()), part));
    put(packet, start + SUM_AT, sum);
}

/// Whether the sum of the TCP part is right.
pub(super) fn is_right(packet: &[u8], start: usize) -> bool {
    let part = packet.get(start..).unwrap_or_default();
    fold(add(pseudo(packet, part.len()), part)) == 0xffff
}

/// Writes 16 bits, if they are inside.
pub(super) fn put(packet: &mut [u8], at: usize, value: u16) {
    if let Some(place) = packet.get_mut(at..at + 2) {
        place.copy_from_slice(&value.to_be_bytes());
    }
}
