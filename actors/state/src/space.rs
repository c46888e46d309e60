//! [`Space`]: which addresses of the pool are free, as the largest aligned ranges.
//!
//! The set of ranges follows from what is taken alone, not from the order in which it was taken:
//! two halves that are free together are one range. So the lowest free block of any size is the
//! same on every member, and is found without a walk over all that is taken.

use imbl::OrdSet;
use ipnet::Ipv4Net;
use std::net::Ipv4Addr;

/// Free addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Space {
    /// Prefix and first address of each range.
    free: OrdSet<(u8, u32)>,
}

impl Space {
    /// All addresses of one prefix.
    pub(crate) fn of(net: Ipv4Net) -> Space {
        let mut space = Space::default();
        space.give(net);
        space
    }

    /// The lowest free block of a prefix.
    pub fn lowest(&self, prefix: u8) -> Option<Ipv4Net> {
        let first_of = |size: u8| {
            let first = self.free.range((size, 0)..).next()?;
            (first.0 == size).then_some(first.1)
        };
        let first = (0..=prefix).filter_map(first_of).min()?;
        Ipv4Net::new(Ipv4Addr::from_bits(first), prefix).ok()
    }

    /// How many addresses are free.
    pub fn addresses(&self) -> u64 {
        self.free.iter().map(|(prefix, _)| size(*prefix)).sum()
    }

    /// Takes a block out. Returns whether it was free as a whole; otherwise nothing changes.
    pub fn take(&mut self, net: Ipv4Net) -> bool {
        let (first, prefix) = (net.network().to_bits(), net.prefix_len());
        let holds = |size: &u8| self.free.contains(&(*size, first & mask(*size)));
        let Some(found) = (0..=prefix).find(holds) else { return false };
        self.free.remove(&(found, first & mask(found)));
        for size in found + 1..=prefix {
            self.free.insert((size, first & mask(size) ^ half(size)));
        }
        true
    }

    /// Puts a block back. What is free already stays so.
    pub fn give(&mut self, net: Ipv4Net) {
        let (mut first, mut prefix) = (net.network().to_bits(), net.prefix_len());
        if (0..=prefix).any(|size| self.free.contains(&(size, first & mask(size)))) {
            return;
        }
        while prefix > 0 && self.free.remove(&(prefix, first ^ half(prefix))).is_some() {
            prefix -= 1;
            first &= mask(prefix);
        }
        self.free.insert((prefix, first));
    }
}

/// Addresses of a prefix.
fn size(prefix: u8) -> u64 {
    1 << 32_u32.saturating_sub(u32::from(prefix))
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32_u32.saturating_sub(u32::from(prefix))).unwrap_or(0)
}

/// The bit that tells a range of this prefix, at least 1, from the other half of the next larger
/// one.
fn half(prefix: u8) -> u32 {
    1_u32.checked_shl(32_u32.saturating_sub(u32::from(prefix))).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn net(text: &str) -> Ipv4Net {
        text.parse().unwrap()
    }

    #[test]
    fn the_lowest_block_of_a_size_fills_holes_first() {
        let mut space = Space::of(net("10.0.0.0/24"));
        for expected in ["10.0.0.0/26", "10.0.0.64/26", "10.0.0.128/26"] {
            let lowest = space.lowest(26).unwrap();
            assert_eq!(lowest, net(expected));
            assert!(space.take(lowest));
        }
        space.give(net("10.0.0.64/26"));
        assert_eq!(space.lowest(26), Some(net("10.0.0.64/26")));
        assert_eq!(space.lowest(28), Some(net("10.0.0.64/28")));
        assert_eq!(space.lowest(25), None);
        assert_eq!(space.addresses(), 128);
        assert!(!space.take(net("10.0.0.0/28")), "taken already");
        assert!(!space.take(net("10.0.1.0/28")), "never there");
    }

    #[test]
    fn the_whole_of_the_address_space_is_a_range_too() {
        let mut space = Space::of(net("0.0.0.0/0"));
        assert_eq!(space.addresses(), 1 << 32);
        assert!(space.take(net("255.255.255.255/32")));
        assert_eq!(space.lowest(1), Some(net("0.0.0.0/1")));
        space.give(net("255.255.255.255/32"));
        assert_eq!(space, Space::of(net("0.0.0.0/0")));
    }

    proptest! {
        /// Beside a plain list of addresses.
        #[test]
        fn it_is_what_a_list_of_addresses_would_be(
            moves in proptest::collection::vec((any::<bool>(), 24_u8..=32, any::<u8>()), 1..60)
        ) {
            let mut space = Space::of(net("10.0.0.0/24"));
            let mut free = [true; 256];
            for (take, prefix, at) in moves {
                let block = Ipv4Net::new(Ipv4Addr::new(10, 0, 0, at), prefix).unwrap().trunc();
                let first = usize::from(block.network().octets()[3]);
                let range = first..first + size(prefix) as usize;
                let all_free = free[range.clone()].iter().all(|free| *free);
                let all_taken = free[range.clone()].iter().all(|free| !*free);
                if take {
                    prop_assert_eq!(space.take(block), all_free);
                    if all_free {
                        free[range].fill(false);
                    }
                } else if all_taken {
                    space.give(block);
                    free[range].fill(true);
                }
                let n_free = free.iter().filter(|free| **free).count();
                prop_assert_eq!(space.addresses(), n_free as u64);
                let width = size(prefix) as usize;
                let lowest = (0..256 / width).find(|i| free[i * width..(i + 1) * width].iter().all(|f| *f));
                let lowest = lowest.map(|i| (i * width) as u8);
                prop_assert_eq!(space.lowest(prefix).map(|net| net.network().octets()[3]), lowest);
            }
        }
    }
}
