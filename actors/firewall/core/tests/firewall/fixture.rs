//! Policies for tests: one that people can follow, and random ones.

use jaco_firewall_core::{Bridge, Policy, Prefix, ScopeBlocks};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

/// A prefix as text.
pub(crate) fn net(text: &str) -> Prefix {
    let (base, len) = text.split_once('/').unwrap();
    Prefix::new(base.parse().unwrap(), len.parse().unwrap())
}

/// An address as text.
pub(crate) fn ip(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

/// The block of this number and length in the pool; blocks of different lengths do not overlap.
pub(crate) fn block(number: u32, len: u8) -> Prefix {
    let region = match len {
        26 => 0x0a51_0000_u32,
        24 => 0x0a52_0000,
        _ => 0x0a53_0000,
    };
    Prefix::new(Ipv4Addr::from_bits(region + (number << (32 - u32::from(len)))), len)
}

/// The address of this number in a block; 1 is the gateway.
pub(crate) fn host(block: Prefix, number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(block.base().to_bits() + number)
}

/// A policy of two scopes on this node.
pub(crate) fn example() -> Policy {
    let mut policy = Policy::closed(net("10.80.0.0/12"), net("10.80.0.0/19"));
    policy.block_lengths = [26].into();
    add_scope(&mut policy, "jaco-aaaaaaaaaa", block(0, 26), &[block(1, 26), block(2, 26)], false);
    add_scope(&mut policy, "jaco-bbbbbbbbbb", block(3, 26), &[], true);
    add_junction(&mut policy, 1, 0, 7);
    policy.fence = [host(block(0, 26), 9)].into();
    policy.node_addresses = [ip("192.168.7.1"), ip("192.168.7.2")].into();
    policy.published_tcp = [80, 443].into();
    policy.host_ports = [9100].into();
    policy.control_ports = [7000, 7001, 51820, 2375, 2376, 2377].into();
    policy
}

/// Adds a scope that has a block on this node.
pub(crate) fn add_scope(
    policy: &mut Policy,
    bridge: &str,
    local: Prefix,
    remote: &[Prefix],
    internal: bool,
) {
    let gateway = host(local, 1);
    policy.bridges.insert(bridge.to_owned(), Bridge { block: local, gateway, internal });
    let remote = remote.iter().copied().collect();
    policy.scopes.insert(ScopeBlocks { local, remote });
}

/// Random policies of up to five scopes with blocks of up to three lengths.
pub(crate) fn policies() -> impl Strategy<Value = Policy> {
    let scope = (0..3_usize, 0..3_u32, any::<bool>());
    let ports = || prop::collection::btree_set(prop::sample::select(vec![53_u16, 80, 9100]), 0..3);
    let fenced = prop::collection::btree_set((0..16_u32, 2..5_u32), 0..2);
    let scopes = prop::collection::vec(scope, 0..6);
    let junctions = prop::collection::vec((0..6_usize, 0..6_usize, 2..4_u32), 0..4);
    (scopes, junctions, ports(), ports(), ports(), fenced, any::<bool>()).prop_map(
        |(scopes, junctions, published_tcp, published_udp, host_ports, fenced, block_metadata)| {
            let mut policy = Policy::closed(net("10.80.0.0/12"), net("10.80.0.0/19"));
            policy.block_lengths = [26].into();
            policy.control_ports = [7000, 2375].into();
            policy.node_addresses = [ip("192.168.7.1"), ip("192.168.7.2")].into();
            (policy.published_tcp, policy.published_udp) = (published_tcp, published_udp);
            (policy.host_ports, policy.block_metadata) = (host_ports, block_metadata);
            for (number, (length, remotes, internal)) in (0_u32..).zip(scopes) {
                let len = [26, 24, 25][length];
                let remote: Vec<Prefix> =
                    (1..=remotes).map(|i| block(number * 4 + i, len)).collect();
                let bridge = format!("jaco-{number:010}");
                add_scope(&mut policy, &bridge, block(number * 4, len), &remote, internal);
            }
            for (from, to, number) in junctions {
                add_junction(&mut policy, from, to, number);
            }
            policy.fence = fenced.into_iter().map(|(b, h)| host(block(b, 26), h)).collect();
            policy
        },
    )
}

/// A container of this number in the first network that is also in the second, by their order.
fn add_junction(policy: &mut Policy, from: usize, to: usize, number: u32) {
    let bridges = policy.bridges.clone();
    let (Some((_, own)), Some((name, other))) = (bridges.iter().nth(from), bridges.iter().nth(to))
    else {
        return;
    };
    let address = host(own.block, number);
    policy.strays.insert((name.clone(), address));
    let scope = policy.scopes.iter().find(|scope| scope.local == other.block);
    let remote = scope.map(|scope| scope.remote.clone()).unwrap_or_default();
    policy.detours.extend(remote.into_iter().map(|block| (address, block)));
    if own.internal && !other.internal {
        policy.open.insert(address);
    }
}

/// Every set that a policy's ruleset has is in every other of the same lengths.
pub(crate) fn many_scopes(count: u32) -> Policy {
    let mut policy = example();
    (policy.bridges, policy.scopes) = (BTreeMap::new(), BTreeSet::new());
    for number in 0..count {
        let local = block(number * 4, 26);
        let remote: Vec<Prefix> = (1..4).map(|i| block(number * 4 + i, 26)).collect();
        add_scope(&mut policy, &format!("jaco-{number:010}"), local, &remote, false);
    }
    policy
}
