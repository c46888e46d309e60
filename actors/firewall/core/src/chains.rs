//! The chains: which packet is dropped, and why.
//!
//! Accepting ends only our own chain, so an accept here never overrides a drop elsewhere. The
//! rules depend on the pool, the mesh range, the lengths of blocks and one option, and on nothing
//! that changes while the cluster works: all else is in sets.

use crate::policy::Policy;
use crate::rule::{Builder, End, Part, Side, TCP, UDP, counter};
use crate::ruleset::{Chain, ChainKind, Hook, Rule, Ruleset};
use crate::{Prefix, sets};
use End::{Destination, Source};
use Side::{In, Out};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

/// Priorities of linux/netfilter_ipv4.h: raw, mangle, filter, source NAT.
const RAW: i32 = -300;
const MANGLE: i32 = -150;
const FILTER: i32 = 0;
const SOURCE_NAT: i32 = 100;

/// Where probes between nodes are answered.
const PROBE_PORT: u16 = 7001;

/// Where clouds tell a machine about itself.
pub(crate) const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

/// Why packets are dropped; each has a counter.
pub(crate) const REASONS: [&str; 11] = [
    "control",
    "cross_scope",
    "fence",
    "foreign_in",
    "host",
    "internal",
    "invalid",
    "leak",
    "metadata",
    "spoof",
    "v6",
];

/// The table that enforces a policy. The number of rules does not depend on its scopes.
pub fn ruleset(policy: &Policy) -> Ruleset {
    let lengths = policy.lengths();
    let chain = |kind, hook, priority, rules| Chain { kind, hook, priority, rules };
    let filter = ChainKind::Filter;
    let chains = [
        ("pre", chain(filter, Hook::Prerouting, RAW - 10, pre(policy, &lengths))),
        ("forward", chain(filter, Hook::Forward, FILTER - 5, forward(policy, &lengths))),
        ("input", chain(filter, Hook::Input, FILTER - 5, input(policy))),
        ("output", chain(filter, Hook::Output, FILTER - 5, output(policy))),
        ("nat_post", chain(ChainKind::Nat, Hook::Postrouting, SOURCE_NAT - 1, nat_post(policy))),
        ("clamp", chain(filter, Hook::Forward, MANGLE, clamp())),
    ];
    Ruleset {
        chains: chains.map(|(name, chain)| (name.to_owned(), chain)).into(),
        counters: REASONS.iter().map(|reason| counter(reason)).collect(),
        sets: sets::fill(policy, &lengths),
        foreign: BTreeSet::new(),
    }
}

/// Sources that cannot be where the packet came from.
fn pre(policy: &Policy, lengths: &[u8]) -> Vec<Rule> {
    let mut rules = Vec::new();
    // A set for each length: under a shorter mask the block of a neighbour would pass for ours.
    for &len in lengths {
        let parts = [Part::InName, Part::Block(Source, len)];
        rules.push(Builder::ipv4().bridge(In).listed(&parts, &sets::bridge_src(len)).accept());
    }
    let stray = [Part::InName, Part::Address(Source)];
    rules.push(Builder::ipv4().bridge(In).listed(&stray, sets::STRAYS).accept());
    let (pool, mesh) = (policy.pool, policy.mesh);
    let other = || Builder::ipv4().not_ours(In).not_loopback(In);
    rules.extend([
        Builder::ipv4().bridge(In).drop("spoof"),
        Builder::ipv4().mesh(In).outside(Source, pool).drop("spoof"),
        Builder::ipv4().mesh(In).outside(Destination, pool).drop("spoof"),
        other().within(Source, pool).drop("spoof"),
        other().within(Destination, mesh).drop("foreign_in"),
    ]);
    rules
}

/// Containers among each other, and with the world.
fn forward(policy: &Policy, lengths: &[u8]) -> Vec<Rule> {
    let (pool, mesh) = (policy.pool, policy.mesh);
    let inside = || Builder::ipv4().within(Source, pool).within(Destination, pool);
    let leaving = || Builder::ipv4().bridge(In).not_ours(Out);
    let mut rules = vec![
        Builder::new().not_ours(In).not_ours(Out).accept(),
        Builder::ipv4().listed(&[Part::Address(Source)], sets::FENCE).drop("fence"),
        Builder::ipv4().listed(&[Part::Address(Destination)], sets::FENCE).drop("fence"),
        Builder::ipv6().drop("v6"),
        Builder::new().established().accept(),
        Builder::new().invalid().drop("invalid"),
        inside().not_ours(Out).drop("leak"),
    ];
    for &len in lengths {
        let parts = [Part::Block(Source, len), Part::Block(Destination, len)];
        rules.push(Builder::ipv4().listed(&parts, &sets::allow(len)).accept());
    }
    for &len in lengths {
        let parts = [Part::Address(Source), Part::Block(Destination, len)];
        rules.push(Builder::ipv4().listed(&parts, &sets::detours(len)).accept());
    }
    rules.push(Builder::ipv4().mesh(In).bridge(Out).within(Source, mesh).accept());
    // Only maps of this host replace destinations, and they name what is published.
    rules.push(Builder::ipv4().bridge(Out).redirected().accept());
    rules.push(inside().drop("cross_scope"));
    for &len in lengths {
        let parts = [Part::Block(Source, len)];
        let closed = leaving().listed(&parts, &sets::no_egress(len));
        rules.push(closed.unlisted(&[Part::Address(Source)], sets::OPEN).drop("internal"));
    }
    for protocol in [TCP, UDP] {
        let node = leaving().listed(&[Part::Address(Destination)], sets::NODE_ADDR);
        let port = node.protocol(protocol).listed(&[Part::Port], sets::CONTROL_PORTS);
        rules.push(port.drop("control"));
    }
    if policy.block_metadata {
        rules.push(leaving().within(Destination, Prefix::host(METADATA)).drop("metadata"));
    }
    rules.extend([
        leaving().accept(),
        Builder::new().bridge(Out).drop("foreign_in"),
        Builder::new().mesh(Out).drop("foreign_in"),
    ]);
    rules
}

/// What containers and other nodes reach on this host.
fn input(policy: &Policy) -> Vec<Rule> {
    let bridge = || Builder::ipv4().bridge(In);
    let own = [Part::InName, Part::Address(Destination)];
    let gateway = || bridge().listed(&own, sets::BRIDGE_GW);
    let node = || Builder::ipv4().mesh(In).within(Source, policy.mesh);
    let port = |rule: Builder, protocol, set: &str| {
        rule.protocol(protocol).listed(&[Part::Port], set).accept()
    };
    vec![
        bridge().established().accept(),
        gateway().protocol(UDP).port(53).accept(),
        gateway().protocol(TCP).port(53).accept(),
        gateway().echo_request().accept(),
        port(bridge(), TCP, sets::PUBLISHED_TCP),
        port(bridge(), UDP, sets::PUBLISHED_UDP),
        port(bridge(), TCP, sets::HOST_PORTS),
        port(bridge(), UDP, sets::HOST_PORTS),
        Builder::new().bridge(In).drop("host"),
        Builder::ipv4().mesh(In).established().accept(),
        node().protocol(UDP).port(PROBE_PORT).accept(),
        node().echo_request().accept(),
        port(node(), TCP, sets::PUBLISHED_TCP),
        port(node(), UDP, sets::PUBLISHED_UDP),
        Builder::new().mesh(In).drop("host"),
        Builder::ipv4()
            .not_ours(In)
            .not_loopback(In)
            .within(Destination, policy.pool)
            .drop("foreign_in"),
    ]
}

/// Nothing of the pool leaves this host in clear text.
fn output(policy: &Policy) -> Vec<Rule> {
    let pool = Builder::ipv4().within(Destination, policy.pool);
    vec![pool.not_ours(Out).not_loopback(Out).drop("leak")]
}

/// Whose source address is replaced: traffic inside the pool keeps its own.
fn nat_post(policy: &Policy) -> Vec<Rule> {
    let pool = || Builder::ipv4().within(Source, policy.pool);
    vec![
        pool().redirected().masquerade(false),
        pool().within(Destination, policy.pool).accept(),
        pool().not_ours(Out).masquerade(true),
    ]
}

/// Segments fit the mesh, also those of containers whose bridge was made for a larger one.
fn clamp() -> Vec<Rule> {
    vec![Builder::new().mesh(Out).syn().clamp(), Builder::new().mesh(In).syn().clamp()]
}
