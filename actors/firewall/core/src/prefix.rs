//! IPv4 prefixes.

use ipnet::Ipv4Net;
use std::fmt;
use std::net::Ipv4Addr;

/// An IPv4 prefix; the bits behind its length are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    base: Ipv4Addr,
    len: u8,
}

impl Prefix {
    /// The prefix of this length that `address` lies in. Lengths above 32 count as 32.
    pub fn new(address: Ipv4Addr, len: u8) -> Prefix {
        let len = len.min(32);
        Prefix { base: Ipv4Addr::from_bits(address.to_bits() & mask_bits(len)), len }
    }

    /// A single address.
    pub fn host(address: Ipv4Addr) -> Prefix {
        Prefix { base: address, len: 32 }
    }

    /// The first address.
    pub fn base(self) -> Ipv4Addr {
        self.base
    }

    /// Bits that all addresses share, 0 to 32.
    #[expect(clippy::len_without_is_empty, reason = "the length of a prefix, which is never empty")]
    pub fn len(self) -> u8 {
        self.len
    }

    /// The network mask.
    pub fn mask(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(mask_bits(self.len))
    }

    /// Whether an address lies in it.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        address.to_bits() & mask_bits(self.len) == self.base.to_bits()
    }
}

impl From<Ipv4Net> for Prefix {
    fn from(net: Ipv4Net) -> Prefix {
        Prefix::new(net.network(), net.prefix_len())
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.len)
    }
}

fn mask_bits(len: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_part_is_cut_off() {
        let prefix = Prefix::new(Ipv4Addr::new(10, 80, 0, 77), 26);
        assert_eq!(prefix.to_string(), "10.80.0.64/26");
        assert_eq!(prefix.mask(), Ipv4Addr::new(255, 255, 255, 192));
        assert!(prefix.contains(Ipv4Addr::new(10, 80, 0, 127)));
        assert!(!prefix.contains(Ipv4Addr::new(10, 80, 0, 128)));
        assert!(Prefix::new(Ipv4Addr::LOCALHOST, 0).contains(Ipv4Addr::BROADCAST));
    }
}
