//! The packet that members send each other through the tunnel, twice a second.
//!
//! Each carries the newest number that its sender has heard from the receiver. So both ends know
//! of both directions, without an answer of its own. Source of the format: this file.

/// UDP port of the probes on each mesh address.
pub const PROBE_PORT: u16 = 7001;

/// Bytes of IPv4 and UDP headers around a probe.
const HEADERS: u16 = 28;

const MAGIC: [u8; 4] = *b"JMP1";
const LENGTH: usize = 36;

/// One probe. Numbers start anywhere and grow by one; 0 is "none yet".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Probe {
    /// Number of this packet.
    pub sequence: u64,
    /// Newest number heard from the receiver.
    pub heard: u64,
    /// Number of this packet as a full-size one; 0 when it is small.
    pub full: u64,
    /// Newest full-size number heard from the receiver.
    pub heard_full: u64,
}

impl Probe {
    /// The packet: 36 bytes, or as many as make an IP packet of `size` bytes.
    pub fn to_bytes(&self, size: Option<u16>) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(LENGTH);
        bytes.extend(MAGIC);
        for number in [self.sequence, self.heard, self.full, self.heard_full] {
            bytes.extend(number.to_be_bytes());
        }
        if let Some(size) = size {
            bytes.resize(usize::from(size.saturating_sub(HEADERS)).max(LENGTH), 0);
        }
        bytes
    }

    /// Reads a packet; `None` for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Probe> {
        let mut numbers = bytes.strip_prefix(&MAGIC)?.chunks_exact(8);
        let mut next = || numbers.next()?.try_into().ok().map(u64::from_be_bytes);
        Some(Probe { sequence: next()?, heard: next()?, full: next()?, heard_full: next()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_comes_back_at_any_size() {
        let probe = Probe { sequence: 1, heard: u64::MAX, full: 3, heard_full: 4 };
        assert_eq!(Probe::from_bytes(&probe.to_bytes(None)), Some(probe));
        let full = probe.to_bytes(Some(1420));
        assert_eq!(full.len(), 1392);
        assert_eq!(Probe::from_bytes(&full), Some(probe));
    }

    #[test]
    fn other_packets_are_no_probes() {
        let bytes = Probe::default().to_bytes(None);
        for end in 0..bytes.len() {
            assert_eq!(Probe::from_bytes(&bytes[..end]), None);
        }
        assert_eq!(Probe::from_bytes(&[0; 64]), None);
    }
}
