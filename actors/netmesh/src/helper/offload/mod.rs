//! TCP in large pieces between the kernel and the tunnel.
//!
//! A TUN interface with `IFF_VNET_HDR` puts a header before each packet (virtio 1.2, 5.1.6,
//! `struct virtio_net_hdr`). With it the kernel hands over up to 64 KiB of a TCP stream at once,
//! which is cut into packets here ([`cut()`]), and takes as much at once, which is put together from
//! packets here ([`join`]). That spares most of what a packet costs in the kernel.
//!
//! Everything here is bytes to bytes. What reads and writes them is in `tun.rs`.

mod cut;
mod join;
mod sum;

#[cfg(test)]
mod tests;

pub(super) use cut::cut;
pub(super) use join::Joiner;

/// Length of the header.
pub(super) const HEADER: usize = 10;
/// Longest packet with its header.
pub(super) const FRAME_MAX: usize = HEADER + 65_535;

/// `VIRTIO_NET_HDR_F_NEEDS_CSUM`: the sum is not finished.
const UNFINISHED: u8 = 1;
/// `VIRTIO_NET_HDR_GSO_TCPV4`: a large piece of TCP.
const TCP4: u8 = 1;
/// Protocol number of TCP.
const TCP: u8 = 6;
/// Where in a TCP header its sum is.
const SUM_AT: usize = 16;

/// What the header before a packet says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Piece {
    /// [`UNFINISHED`] or 0.
    flags: u8,
    /// [`TCP4`], 0, or something that was not asked for.
    kind: u8,
    /// Bytes of all headers.
    headers: u16,
    /// Bytes of data in each packet of a large piece.
    size: u16,
    /// Where the summed part begins.
    sum_start: u16,
    /// Where in that part the sum is.
    sum_offset: u16,
}

impl Piece {
    /// The header and the packet after it.
    fn read(frame: &[u8]) -> Option<(Piece, &[u8])> {
        let (header, packet) = frame.split_first_chunk::<HEADER>()?;
        let [flags, kind, numbers @ ..] = *header;
        let number = |at: usize| u16::from_ne_bytes([numbers[at], numbers[at + 1]]);
        let (headers, size) = (number(0), number(2));
        let (sum_start, sum_offset) = (number(4), number(6));
        Some((Piece { flags, kind, headers, size, sum_start, sum_offset }, packet))
    }

    fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[self.flags, self.kind]);
        for number in [self.headers, self.size, self.sum_start, self.sum_offset] {
            out.extend_from_slice(&number.to_ne_bytes());
        }
    }
}

/// Where the parts of a TCP packet over IPv4 are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    /// Where the TCP header begins.
    tcp: usize,
    /// Where the data begins.
    data: usize,
}

impl Layout {
    /// `None` when it is anything else, or part of one.
    fn of(packet: &[u8]) -> Option<Layout> {
        let (first, protocol) = (*packet.first()?, *packet.get(9)?);
        let fragment = u16::from_be_bytes([*packet.get(6)?, *packet.get(7)?]);
        let tcp = usize::from(first & 0x0f) * 4;
        let is_tcp = first >> 4 == 4 && tcp >= 20 && protocol == TCP && fragment & 0x3fff == 0;
        let data = tcp + usize::from(packet.get(tcp + 12)? >> 4) * 4;
        (is_tcp && data >= tcp + 20 && data <= packet.len()).then_some(Layout { tcp, data })
    }
}
