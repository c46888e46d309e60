//! The policy that these tests install.

use jaco_firewall_core::{Bridge, Policy, Prefix, ScopeBlocks};
use std::net::Ipv4Addr;

pub(crate) const BRIDGE_A: &str = "jaco-aaaaaaaaaa";
pub(crate) const BRIDGE_B: &str = "jaco-bbbbbbbbbb";

pub(crate) fn net(text: &str) -> Prefix {
    let (base, len) = text.split_once('/').unwrap();
    Prefix::new(base.parse().unwrap(), len.parse().unwrap())
}

/// Scope a has blocks 10.81.0.0/26 here and 10.81.0.64/26 elsewhere; scope b is internal and has
/// 10.81.0.128/26 here alone.
pub(crate) fn policy() -> Policy {
    let mut policy = Policy::closed(net("10.80.0.0/12"), net("10.80.0.0/19"));
    policy.block_lengths = [26].into();
    add_scope(&mut policy, BRIDGE_A, "10.81.0.0/26", &["10.81.0.64/26"], false);
    add_scope(&mut policy, BRIDGE_B, "10.81.0.128/26", &[], true);
    policy.node_addresses = ["192.168.7.1", "192.168.7.2"].map(|a| a.parse().unwrap()).into();
    policy.control_ports = [7000, 7001, 51820, 2375, 2376, 2377].into();
    policy.published_tcp = [80, 443].into();
    policy
}

pub(crate) fn add_scope(
    policy: &mut Policy,
    bridge: &str,
    local: &str,
    remote: &[&str],
    internal: bool,
) {
    let block = net(local);
    let gateway = Ipv4Addr::from_bits(block.base().to_bits() + 1);
    policy.bridges.insert(bridge.to_owned(), Bridge { block, gateway, internal });
    let remote = remote.iter().map(|text| net(text)).collect();
    policy.scopes.insert(ScopeBlocks { local: block, remote });
}

/// As many scopes as asked for, each with four blocks, one of them here.
pub(crate) fn many_scopes(count: u32) -> Policy {
    let mut policy = policy();
    for number in 0..count {
        let block = |i: u32| {
            Prefix::new(Ipv4Addr::from_bits(0x0a54_0000 + ((number * 4 + i) << 6)), 26).to_string()
        };
        let remote = [block(1), block(2), block(3)];
        let remote: Vec<&str> = remote.iter().map(String::as_str).collect();
        add_scope(&mut policy, &format!("jaco-{number:010}"), &block(0), &remote, false);
    }
    policy
}
