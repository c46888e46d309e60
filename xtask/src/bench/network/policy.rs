//! The policies that are installed.

use std::net::Ipv4Addr;

use jaco_firewall_core::{Bridge, Policy, Prefix, ScopeBlocks};

/// Length of every block.
const LENGTH: u8 = 26;

/// As many scopes as asked for. Each has a block here, and three more on other nodes.
pub(super) fn scopes(count: u32) -> Policy {
    let pool = Prefix::new(Ipv4Addr::new(10, 80, 0, 0), 12);
    let mut policy = Policy::closed(pool, Prefix::new(Ipv4Addr::new(10, 80, 0, 0), 19));
    policy.block_lengths = [LENGTH].into();
    policy.node_addresses = [Ipv4Addr::new(192, 168, 7, 1), Ipv4Addr::new(192, 168, 7, 2)].into();
    policy.control_ports = [7000, 7001, 51820, 2375, 2376, 2377].into();
    policy.published_tcp = [80, 443].into();
    for number in 0..count {
        let local = block(number, 0);
        let bridge = Bridge { block: local, gateway: host(local, 1), internal: false };
        policy.bridges.insert(bridge_name(number), bridge);
        let remote = (1..4).map(|part| block(number, part)).collect();
        policy.scopes.insert(ScopeBlocks { local, remote });
    }
    policy
}

/// The name of a scope's bridge.
pub(super) fn bridge_name(number: u32) -> String {
    format!("jaco-{number:010}")
}

/// A block of a scope: part 0 is here, 1 to 3 are elsewhere.
pub(super) fn block(number: u32, part: u32) -> Prefix {
    let first = Ipv4Addr::new(10, 84, 0, 0).to_bits();
    Prefix::new(Ipv4Addr::from_bits(first + ((number * 4 + part) << (32 - LENGTH))), LENGTH)
}

/// An address in a block.
pub(super) fn host(block: Prefix, number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(block.base().to_bits() + number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_thousand_scopes_fit_into_the_pool_without_overlap() {
        let policy = scopes(2_001);
        assert_eq!((policy.scopes.len(), policy.bridges.len()), (2_001, 2_001));
        let mut blocks: Vec<u32> = policy
            .scopes
            .iter()
            .flat_map(|scope| scope.remote.iter().chain([&scope.local]))
            .map(|block| block.base().to_bits())
            .collect();
        blocks.sort_unstable();
        blocks.dedup();
        assert_eq!(blocks.len(), 2_001 * 4);
        let pool = policy.pool.base().to_bits();
        assert!(blocks.iter().all(|base| base >> 20 == pool >> 20));
    }
}
