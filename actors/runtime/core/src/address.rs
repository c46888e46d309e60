//! Which address a container gets: the lowest of the block that nobody used a moment ago.
//!
//! An address that was just given up may still be in a neighbour's ARP table or in an answer of a
//! name server. So it rests for a minute; the engine's own choice would not wait.

use ipnet::Ipv4Net;
use jaco_kit_core::Mono;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

/// How long an address rests after its last use.
pub(crate) const REST: Duration = Duration::from_secs(60);

/// The addresses of this node's containers, and those that rest.
#[derive(Debug, Default)]
pub(crate) struct Addresses {
    /// Since when an address rests; `None` while a container has it.
    known: BTreeMap<Ipv4Addr, Option<Mono>>,
    /// Those of containers without an owner, as the engine was last seen.
    strays: BTreeSet<Ipv4Addr>,
}

impl Addresses {
    /// Takes addresses that may have been in use a moment ago.
    pub(crate) fn rest(&mut self, now: Mono, addresses: impl Iterator<Item = Ipv4Addr>) {
        for address in addresses {
            self.known.insert(address, Some(now));
        }
    }

    /// Takes the addresses of containers that nobody owns.
    pub(crate) fn observe(&mut self, strays: BTreeSet<Ipv4Addr>) {
        self.strays = strays;
    }

    /// Takes what is in use now: what is no more begins to rest.
    pub(crate) fn settle(&mut self, now: Mono, mut in_use: BTreeSet<Ipv4Addr>) {
        in_use.extend(&self.strays);
        for (address, rests) in &mut self.known {
            if in_use.remove(address) {
                *rests = None;
            } else {
                rests.get_or_insert(now);
            }
        }
        self.known.retain(|_, rests| rests.is_none_or(|since| now < since.plus(REST)));
        self.known.extend(in_use.into_iter().map(|address| (address, None)));
    }

    /// The lowest address of a block that may be given out.
    pub(crate) fn lowest(&self, block: Ipv4Net) -> Option<Ipv4Addr> {
        hosts(block).find(|address| !self.known.contains_key(address))
    }

    /// When the next address of a full block has rested.
    pub(crate) fn next_free(&self, block: Ipv4Net) -> Option<Mono> {
        let (first, last) = (block.network(), block.broadcast());
        self.known.range(first..=last).filter_map(|(_, rests)| *rests).min().map(|at| at.plus(REST))
    }

    /// Gives an address out.
    pub(crate) fn hold(&mut self, address: Ipv4Addr) {
        self.known.insert(address, None);
    }
}

/// All addresses of a block that a container can have: not the network's, the gateway's, or the
/// one for broadcasts.
fn hosts(block: Ipv4Net) -> impl Iterator<Item = Ipv4Addr> {
    let first = block.network().to_bits().saturating_add(2);
    (first..block.broadcast().to_bits()).map(Ipv4Addr::from_bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block() -> Ipv4Net {
        "10.80.32.0/28".parse().unwrap()
    }

    fn last_octet(addresses: &Addresses) -> Option<u8> {
        addresses.lowest(block()).map(|address| address.octets()[3])
    }

    #[test]
    fn a_block_is_used_from_below_and_an_address_rests() {
        let mut addresses = Addresses::default();
        let mut in_use = BTreeSet::new();
        for expected in 2..15 {
            assert_eq!(last_octet(&addresses), Some(expected));
            let address = addresses.lowest(block()).unwrap();
            addresses.hold(address);
            in_use.insert(address);
        }
        assert_eq!((last_octet(&addresses), addresses.next_free(block())), (None, None));
        in_use.remove(&Ipv4Addr::new(10, 80, 32, 7));
        addresses.settle(Mono(5_000), in_use.clone());
        assert_eq!(last_octet(&addresses), None);
        assert_eq!(addresses.next_free(block()), Some(Mono(65_000)));
        addresses.settle(Mono(64_999), in_use.clone());
        assert_eq!(last_octet(&addresses), None);
        addresses.settle(Mono(65_000), in_use);
        assert_eq!(last_octet(&addresses), Some(7));
    }

    #[test]
    fn strays_and_the_recent_past_count() {
        let mut addresses = Addresses::default();
        let at = |last| Ipv4Addr::new(10, 80, 32, last);
        addresses.rest(Mono(0), [at(2)].into_iter());
        addresses.observe([at(3)].into());
        addresses.settle(Mono(1), BTreeSet::new());
        assert_eq!(last_octet(&addresses), Some(4));
        addresses.observe(BTreeSet::new());
        addresses.settle(Mono(60_000), BTreeSet::new());
        assert_eq!(last_octet(&addresses), Some(2));
        addresses.hold(at(2));
        assert_eq!(last_octet(&addresses), Some(4), "the stray's address has not rested");
    }
}
