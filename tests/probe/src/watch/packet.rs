//! Packets made by hand, so that any source may stand in them: IPv4 with UDP, TCP or ICMP, and a
//! mark as the payload by which a receiver knows the path they came on.
//!
//! Layouts: RFC 791, 768, 9293 and 792.

use std::net::Ipv4Addr;

/// Begins the payload of every packet of a watch.
const MAGIC: [u8; 8] = *b"jacohole";

/// Bytes of the mark: the magic, the path's number, the packet's number.
const MARK_BYTES: usize = 16;

const IP_HEADER_BYTES: usize = 20;

/// Source ports begin here; each path has its own, so that each is one flow.
const PORTS_FROM: u16 = 20_000;

/// What a packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A datagram, as the echo answers it.
    Udp,
    /// The first segment of a connection, with the mark as data that nobody reads.
    Tcp,
    /// An echo request.
    Icmp,
}

impl Kind {
    /// The protocol's number in the IP header.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Icmp => 1,
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }
}

/// A way that packets take, or shall not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) id: u32,
    pub(crate) kind: Kind,
    pub(crate) source: Ipv4Addr,
    pub(crate) target: Ipv4Addr,
    /// Ignored for ICMP.
    pub(crate) port: u16,
    /// In how many rounds there is one packet.
    pub(crate) every: u64,
}

impl Path {
    /// Parses `<id> udp|tcp|icmp <source> <target> <port> <every>`.
    pub(crate) fn parse(words: &[&str]) -> Option<Self> {
        let &[id, kind, source, target, port, every] = words else { return None };
        let kind = match kind {
            "udp" => Kind::Udp,
            "tcp" => Kind::Tcp,
            "icmp" => Kind::Icmp,
            _ => return None,
        };
        Some(Self {
            id: id.parse().ok()?,
            kind,
            source: source.parse().ok()?,
            target: target.parse().ok()?,
            port: port.parse().ok()?,
            every: every.parse().ok().filter(|every| *every > 0)?,
        })
    }

    /// Whether it has a packet in this round. Paths take turns.
    pub(crate) fn is_due(&self, round: u64) -> bool {
        (round + u64::from(self.id)).is_multiple_of(self.every)
    }

    /// The packet of this number; the kernel fills in its length, identity and header checksum.
    pub(crate) fn packet(&self, number: u32) -> Vec<u8> {
        let segment = self.segment(&mark(self.id, number));
        let mut packet = vec![0; IP_HEADER_BYTES];
        packet[0] = 0x45;
        packet[8] = 64;
        packet[9] = self.kind.number();
        packet[12..16].copy_from_slice(&self.source.octets());
        packet[16..20].copy_from_slice(&self.target.octets());
        packet.extend_from_slice(&segment);
        packet
    }

    fn segment(&self, mark: &[u8]) -> Vec<u8> {
        let from = PORTS_FROM + u16::try_from(self.id % 40_000).unwrap_or(0);
        let ports = [from.to_be_bytes(), self.port.to_be_bytes()].concat();
        let (mut segment, checksum_at) = match self.kind {
            Kind::Udp => {
                let bytes = u16::try_from(8 + mark.len()).unwrap_or(u16::MAX);
                ([ports.as_slice(), &bytes.to_be_bytes(), &[0, 0]].concat(), 6)
            }
            Kind::Tcp => {
                // Sequence 1, five words of header, SYN, a window of 64 KiB.
                let rest = [0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0];
                ([ports.as_slice(), &rest].concat(), 16)
            }
            // An echo request; the flow's number stands where others have a port.
            Kind::Icmp => ([&[8, 0, 0, 0], &from.to_be_bytes()[..], &[0, 1]].concat(), 2),
        };
        segment.extend_from_slice(mark);
        let sum = match self.kind {
            Kind::Icmp => checksum(&[&segment]),
            Kind::Tcp | Kind::Udp => checksum(&[&self.pseudo_header(segment.len()), &segment]),
        };
        segment[checksum_at..checksum_at + 2].copy_from_slice(&sum.to_be_bytes());
        segment
    }

    fn pseudo_header(&self, bytes: usize) -> Vec<u8> {
        let bytes = u16::try_from(bytes).unwrap_or(u16::MAX).to_be_bytes();
        let (source, target) = (self.source.octets(), self.target.octets());
        [&source[..], &target, &[0, self.kind.number()], &bytes].concat()
    }
}

fn mark(id: u32, number: u32) -> Vec<u8> {
    [&MAGIC[..], &id.to_be_bytes(), &number.to_be_bytes()].concat()
}

/// The path of a mark at the start of a payload.
pub(crate) fn path_of_payload(payload: &[u8]) -> Option<u32> {
    let mark = payload.get(..MARK_BYTES)?;
    let id = mark.strip_prefix(&MAGIC)?.get(..4)?;
    Some(u32::from_be_bytes(id.try_into().ok()?))
}

/// The path of an arrived packet with its IP header; `None` for one that is not of a watch.
pub(crate) fn path_of(packet: &[u8]) -> Option<u32> {
    let header = usize::from(packet.first()? & 0x0f) * 4;
    let segment = packet.get(header..)?;
    let payload = match packet.get(9)? {
        6 => usize::from(segment.get(12)? >> 4) * 4,
        1 | 17 => 8,
        _ => return None,
    };
    path_of_payload(segment.get(payload..)?)
}

/// The internet checksum (RFC 1071) of parts of which all but the last have an even length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0_u32;
    for pair in parts.iter().flat_map(|part| part.chunks(2)) {
        sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_carries_its_path_and_a_right_checksum() {
        for (kind, header) in [("udp", 8), ("tcp", 20), ("icmp", 8)] {
            let words = ["70000", kind, "10.80.0.66", "10.80.0.130", "9002", "5"];
            let path = Path::parse(&words).unwrap();
            assert_eq!((0..10).filter(|round| path.is_due(*round)).count(), 2);
            let packet = path.packet(3);
            assert_eq!(packet.len(), 20 + header + MARK_BYTES, "{kind}");
            assert_eq!(path_of(&packet), Some(70_000), "{kind}");
            // Over a packet with its checksum in place the sum is zero.
            let segment = &packet[20..];
            let pseudo = path.pseudo_header(segment.len());
            let parts: &[&[u8]] = if kind == "icmp" { &[segment] } else { &[&pseudo, segment] };
            assert_eq!(checksum(parts), 0, "{kind}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for text in [
            "",
            "1 udp 10.0.0.1 10.0.0.2 5",
            "1 sctp 10.0.0.1 10.0.0.2 1 1",
            "x udp a b 1 1",
            "1 udp 10.0.0.1 10.0.0.2 1 0",
        ] {
            let words: Vec<&str> = text.split_whitespace().collect();
            assert_eq!(Path::parse(&words), None, "{text}");
        }
        assert_eq!(path_of(b""), None);
        assert_eq!(path_of_payload(b"jacohole"), None);
        assert_eq!(path_of_payload(b"jacoholexxxxyyyy"), Some(0x7878_7878));
    }
}
