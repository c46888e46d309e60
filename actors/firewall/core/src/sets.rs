//! The sets: everything about a policy that changes while the cluster works.

use crate::policy::{Policy, ScopeBlocks};
use crate::ruleset::{Element, Field, Set, at_interface, pair};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) const FENCE: &str = "fence";
pub(crate) const STRAYS: &str = "strays";
pub(crate) const OPEN: &str = "open";
pub(crate) const NODE_ADDR: &str = "node_addr";
pub(crate) const CONTROL_PORTS: &str = "control_ports";
pub(crate) const BRIDGE_GW: &str = "bridge_gw";
pub(crate) const PUBLISHED_TCP: &str = "published_tcp";
pub(crate) const PUBLISHED_UDP: &str = "published_udp";
pub(crate) const HOST_PORTS: &str = "host_ports";

/// The set of (source block, destination block) that may talk, for blocks of one length.
pub(crate) fn allow(len: u8) -> String {
    format!("allow_{len}")
}

/// The length of the blocks in such a set, by its name.
pub(crate) fn allow_len(name: &str) -> Option<u8> {
    name.strip_prefix("allow_")?.parse().ok()
}

/// The set of (address of a container in several networks, block of another of them), for blocks of
/// one length.
pub(crate) fn detours(len: u8) -> String {
    format!("detours_{len}")
}

/// The length of the blocks in such a set, by its name.
pub(crate) fn detours_len(name: &str) -> Option<u8> {
    name.strip_prefix("detours_")?.parse().ok()
}

/// The set of (bridge, its block), for blocks of one length.
pub(crate) fn bridge_src(len: u8) -> String {
    format!("bridge_src_{len}")
}

/// The set of blocks without a way out of the pool, for blocks of one length.
pub(crate) fn no_egress(len: u8) -> String {
    format!("no_egress_{len}")
}

/// All sets with their elements.
pub(crate) fn fill(policy: &Policy, lengths: &[u8]) -> BTreeMap<String, Set> {
    let mut sets = BTreeMap::new();
    let mut add = |name: &str, fields: &[Field], elements: BTreeSet<Element>| {
        sets.insert(name.to_owned(), Set { fields: fields.to_vec(), elements });
    };
    let pairs = [Field::Address, Field::Address];
    let at_bridge = [Field::Interface, Field::Address];
    for &len in lengths {
        let of_length = policy.bridges.iter().filter(|(_, bridge)| bridge.block.len() == len);
        let sources = of_length.clone();
        let sources = sources.map(|(name, bridge)| at_interface(name, bridge.block.base()));
        let closed = of_length.filter(|(_, bridge)| bridge.internal);
        let closed = closed.map(|(_, bridge)| bridge.block.base().octets().to_vec());
        add(&allow(len), &pairs, allowed(&policy.scopes, len));
        let detour = policy.detours.iter().filter(|(_, block)| block.len() == len);
        let detour = detour.map(|(address, block)| pair(*address, block.base()));
        add(&detours(len), &pairs, detour.collect());
        add(&bridge_src(len), &at_bridge, sources.collect());
        add(&no_egress(len), &[Field::Address], closed.collect());
    }
    let gateways = policy.bridges.iter().map(|(name, bridge)| at_interface(name, bridge.gateway));
    add(BRIDGE_GW, &at_bridge, gateways.collect());
    let strays = policy.strays.iter().map(|(bridge, address)| at_interface(bridge, *address));
    add(STRAYS, &at_bridge, strays.collect());
    let addresses = |from: &BTreeSet<std::net::Ipv4Addr>| {
        from.iter().map(|address| address.octets().to_vec()).collect()
    };
    add(FENCE, &[Field::Address], addresses(&policy.fence));
    add(OPEN, &[Field::Address], addresses(&policy.open));
    add(NODE_ADDR, &[Field::Address], addresses(&policy.node_addresses));
    let ports =
        |from: &BTreeSet<u16>| from.iter().map(|port| port.to_be_bytes().to_vec()).collect();
    add(CONTROL_PORTS, &[Field::Port], ports(&policy.control_ports));
    add(HOST_PORTS, &[Field::Port], ports(&policy.host_ports));
    add(PUBLISHED_TCP, &[Field::Port], ports(&policy.published_tcp));
    add(PUBLISHED_UDP, &[Field::Port], ports(&policy.published_udp));
    sets
}

/// Each scope's local block with itself and, both ways, with the others.
fn allowed(scopes: &BTreeSet<ScopeBlocks>, len: u8) -> BTreeSet<Element> {
    let mut elements = BTreeSet::new();
    for scope in scopes.iter().filter(|scope| scope.local.len() == len) {
        let local = scope.local.base();
        elements.insert(pair(local, local));
        // All blocks of a network have one length; another one could only be compared wrongly.
        for remote in scope.remote.iter().filter(|block| block.len() == len) {
            elements.insert(pair(local, remote.base()));
            elements.insert(pair(remote.base(), local));
        }
    }
    elements
}
