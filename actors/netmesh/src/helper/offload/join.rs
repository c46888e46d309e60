//! From packets that came together to pieces that the kernel takes at once.
//!
//! Only packets that follow each other in a TCP stream are joined, and only when cutting the piece
//! again would give the same packets: so nobody behind the kernel sees a difference.

use super::{HEADER, Layout, Piece, SUM_AT, TCP4, UNFINISHED, sum};

/// Packets in one piece.
const PACKETS_MAX: usize = 64;
/// Bytes of one piece.
const BYTES_MAX: usize = 65_535;
/// ACK, and PSH, with which a piece ends.
const ACK: u8 = 0x10;
const PSH: u8 = 0x08;

/// Packets on their way to the kernel.
#[derive(Debug, Default)]
pub(in crate::helper) struct Joiner {
    groups: Vec<Group>,
    /// Buffers of earlier groups.
    spare: Vec<Vec<u8>>,
}

/// One packet or more, as the kernel will get them.
#[derive(Debug)]
struct Group {
    /// Header and packet.
    frame: Vec<u8>,
    /// Addresses and ports, of TCP only.
    flow: Option<[u8; 12]>,
    layout: Layout,
    /// Data bytes of the first packet.
    size: usize,
    count: usize,
    /// What the next packet must be, unless nothing may follow.
    next: Option<u32>,
}

impl Joiner {
    /// Adds a packet after those that were added before; whether the next may join it.
    pub(in crate::helper) fn add(&mut self, packet: &[u8]) -> bool {
        let found = Layout::of(packet);
        let flow = found.and_then(|layout| flow(packet, layout));
        if let (Some(layout), Some(flow)) = (found, flow)
            && let Some(last) = self.groups.iter_mut().rev().find(|g| g.flow == Some(flow))
            && last.takes(packet, layout)
        {
            last.push(packet, layout);
            return last.next.is_some();
        }
        let mut frame = self.spare.pop().unwrap_or_default();
        frame.clear();
        Piece::default().write(&mut frame);
        frame.extend_from_slice(packet);
        let layout = found.unwrap_or(Layout { tcp: 0, data: 0 });
        let size = packet.len() - layout.data;
        let next = found.filter(|layout| size > 0 && may_begin(packet, *layout));
        let next = next.map(|layout| sequence(packet, layout).wrapping_add(size as u32));
        self.groups.push(Group { frame, flow, layout, size, count: 1, next });
        next.is_some()
    }

    /// How many pieces it has.
    pub(in crate::helper) fn len(&self) -> usize {
        self.groups.len()
    }

    /// Hands over all pieces in order, and is empty then.
    pub(in crate::helper) fn take(&mut self) -> impl Iterator<Item = &[u8]> {
        for group in &mut self.groups {
            group.finish();
        }
        let (groups, spare) = (&mut self.groups, &mut self.spare);
        let from = spare.len();
        spare.extend(groups.drain(..).map(|group| group.frame));
        // The last buffer is used first, so they stay few.
        spare.iter().skip(from).map(Vec::as_slice)
    }
}

impl Group {
    fn packet(&self) -> &[u8] {
        self.frame.get(HEADER..).unwrap_or_default()
    }

    /// Whether a packet of the same flow is the next of this piece.
    fn takes(&self, packet: &[u8], layout: Layout) -> bool {
        let own = self.packet();
        let data = packet.len() - layout.data;
        let same = |range: std::ops::Range<usize>| own.get(range.clone()) == packet.get(range);
        let Layout { tcp, data: end } = layout;
        self.layout == layout
            && self.next == Some(sequence(packet, layout))
            && data > 0
            && data <= self.size
            && self.count < PACKETS_MAX
            && own.len() + data <= BYTES_MAX
            // Version, kind of service; flags of fragments, lifetime; options.
            && same(0..2)
            && same(6..9)
            && same(20..tcp)
            // Acknowledgement, length, window, urgent pointer, options.
            && same(tcp + 8..tcp + 13)
            && same(tcp + 14..tcp + 16)
            && same(tcp + 18..end)
            && is_plain(packet, layout)
    }

    fn push(&mut self, packet: &[u8], layout: Layout) {
        let data = packet.get(layout.data..).unwrap_or_default();
        self.frame.extend_from_slice(data);
        self.count += 1;
        let flags = packet[layout.tcp + 13];
        self.frame[HEADER + layout.tcp + 13] |= flags;
        let is_last = data.len() < self.size || flags & PSH != 0;
        self.next = self.next.filter(|_| !is_last).map(|at| at.wrapping_add(data.len() as u32));
    }

    /// Writes what the kernel has to know of more than one packet.
    fn finish(&mut self) {
        if self.count < 2 {
            return;
        }
        let Layout { tcp, data } = self.layout;
        let piece = Piece {
            flags: UNFINISHED,
            kind: TCP4,
            headers: data as u16,
            size: self.size as u16,
            sum_start: tcp as u16,
            sum_offset: SUM_AT as u16,
        };
        let mut header = Vec::with_capacity(HEADER);
        piece.write(&mut header);
        let (before, packet) = self.frame.split_at_mut(HEADER);
        before.copy_from_slice(&header);
        sum::put(packet, 2, packet.len() as u16);
        sum::finish_ip(packet, tcp);
        let part = sum::fold(sum::pseudo(packet, packet.len() - tcp));
        sum::put(packet, tcp + SUM_AT, part);
    }
}

/// Addresses and ports.
fn flow(packet: &[u8], layout: Layout) -> Option<[u8; 12]> {
    let mut flow = [0; 12];
    flow[..8].copy_from_slice(packet.get(12..20)?);
    flow[8..].copy_from_slice(packet.get(layout.tcp..layout.tcp + 4)?);
    Some(flow)
}

fn sequence(packet: &[u8], layout: Layout) -> u32 {
    let bytes = packet.get(layout.tcp + 4..layout.tcp + 8);
    bytes.and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_be_bytes)
}

/// Whether more may follow a first packet.
fn may_begin(packet: &[u8], layout: Layout) -> bool {
    packet[layout.tcp + 13] & PSH == 0 && is_plain(packet, layout)
}

/// Whether a packet is a plain part of a stream: it must not be cut on its way, says nothing
/// besides its data, is as long as it says, and its sums are right, so that no damage is hidden.
fn is_plain(packet: &[u8], layout: Layout) -> bool {
    let length = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
    let is_whole = packet[6] & 0x40 != 0;
    let flags = packet[layout.tcp + 13];
    is_whole
        && length == packet.len()
        && flags & !PSH == ACK
        && sum::fold(sum::add(0, &packet[..layout.tcp])) == 0xffff
        && sum::is_right(packet, layout.tcp)
}
