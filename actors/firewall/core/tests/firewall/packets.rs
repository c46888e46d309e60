//! What the table does to packets, beside a statement of the policy that knows no chains.

use crate::fixture::{block, example, host, ip, policies};
use crate::machine::{Ct, End, Packet, run};
use jaco_firewall_core::{Policy, Prefix, Ruleset, ruleset};
use proptest::prelude::*;
use std::net::Ipv4Addr;

/// Whom an address belongs to at the interface where it was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    /// A container or the gateway of a block.
    Block(Prefix),
    /// A node's mesh address.
    Node,
    /// Unused space of the pool.
    Nobody,
    /// Outside the pool.
    World,
}

fn whose(policy: &Policy, address: Ipv4Addr) -> Whose {
    if !policy.pool.contains(address) {
        return Whose::World;
    }
    if policy.mesh.contains(address) {
        return Whose::Node;
    }
    let blocks = policy.scopes.iter().flat_map(|scope| scope.remote.iter().chain([&scope.local]));
    let mut holds = blocks.filter(|block| block.contains(address));
    holds.next().map_or(Whose::Nobody, |block| Whose::Block(*block))
}

fn is_ours(interface: &str) -> bool {
    interface.starts_with("jaco-") || interface == "wg-jaco"
}

/// Whether a source may be behind the interface it came by.
fn is_genuine(policy: &Policy, interface: &str, packet: &Packet) -> bool {
    if packet.is_ipv6 || interface == "lo" {
        return true;
    }
    if let Some(bridge) = policy.bridges.get(interface) {
        let stray = (interface.to_owned(), packet.source);
        return bridge.block.contains(packet.source) || policy.strays.contains(&stray);
    }
    if interface.starts_with("jaco-") {
        return false;
    }
    let inside = policy.pool.contains(packet.source);
    if interface == "wg-jaco" {
        return inside && policy.pool.contains(packet.destination);
    }
    !inside && !policy.mesh.contains(packet.destination)
}

/// Whether two blocks are of one scope that this node takes part in.
fn share_a_scope(policy: &Policy, a: Prefix, b: Prefix) -> bool {
    policy.scopes.iter().any(|scope| {
        let has = |block: Prefix| block == scope.local || scope.remote.contains(&block);
        has(a) && has(b) && (a == scope.local || b == scope.local)
    })
}

/// The policy in words.
fn may_pass(policy: &Policy, packet: &Packet) -> bool {
    let (iif, oif) = (packet.iif.as_deref(), packet.oif.as_deref());
    if let Some(iif) = iif
        && !is_genuine(policy, iif, packet)
    {
        return false;
    }
    let follows = matches!(packet.ct, Ct::Established | Ct::Related);
    let to_pool = !packet.is_ipv6 && policy.pool.contains(packet.destination);
    match (iif, oif) {
        (Some(iif), Some(oif)) => {
            if !is_ours(iif) && !is_ours(oif) {
                return true;
            }
            let is_fenced = [packet.source, packet.destination];
            if packet.is_ipv6 || is_fenced.iter().any(|address| policy.fence.contains(address)) {
                return false;
            }
            follows || packet.ct != Ct::Invalid && may_cross(policy, packet, iif, oif)
        }
        (Some("lo"), None) => true,
        (Some(iif), None) if is_ours(iif) => {
            !packet.is_ipv6 && (follows || may_enter(policy, packet, iif))
        }
        (Some(_), None) => !to_pool,
        (None, Some(oif)) => !to_pool || is_ours(oif) || oif == "lo",
        (None, None) => unreachable!("it comes from somewhere or goes somewhere"),
    }
}

/// A new connection through this host.
fn may_cross(policy: &Policy, packet: &Packet, iif: &str, oif: &str) -> bool {
    let (from, to) = (whose(policy, packet.source), whose(policy, packet.destination));
    let inside = from != Whose::World && to != Whose::World;
    if inside && !is_ours(oif) {
        return false;
    }
    if let (Whose::Block(a), Whose::Block(b)) = (from, to)
        && share_a_scope(policy, a, b)
    {
        return true;
    }
    let is_detour = |(address, block): &(Ipv4Addr, Prefix)| {
        *address == packet.source && block.contains(packet.destination)
    };
    if policy.detours.iter().any(is_detour) {
        return true;
    }
    let to_bridge = oif.starts_with("jaco-");
    if to_bridge && packet.redirected || iif == "wg-jaco" && from == Whose::Node && to_bridge {
        return true;
    }
    if inside || is_ours(oif) {
        return false;
    }
    // Out into the world.
    let is_closed = policy
        .bridges
        .values()
        .any(|bridge| bridge.internal && bridge.block.contains(packet.source))
        && !policy.open.contains(&packet.source);
    let is_control = policy.node_addresses.contains(&packet.destination)
        && [6, 17].contains(&packet.protocol)
        && policy.control_ports.contains(&packet.port);
    let is_metadata = policy.block_metadata && packet.destination == ip("169.254.169.254");
    !is_closed && !is_control && !is_metadata
}

/// A new connection to this host from a container or another node.
fn may_enter(policy: &Policy, packet: &Packet, iif: &str) -> bool {
    let is_echo = packet.protocol == 1 && packet.port >> 8 == 8;
    let is_published = match packet.protocol {
        6 => policy.published_tcp.contains(&packet.port),
        17 => policy.published_udp.contains(&packet.port),
        _ => false,
    };
    if iif == "wg-jaco" {
        let is_probe = packet.protocol == 17 && packet.port == 7001;
        return policy.mesh.contains(packet.source) && (is_probe || is_echo || is_published);
    }
    let is_gateway = policy.bridges.get(iif).is_some_and(|b| b.gateway == packet.destination);
    let has_ports = [6, 17].contains(&packet.protocol);
    let is_dns = has_ports && packet.port == 53;
    let is_host_port = has_ports && policy.host_ports.contains(&packet.port);
    is_gateway && (is_dns || is_echo) || is_published || is_host_port
}

fn packets() -> impl Strategy<Value = Packet> {
    let interface = || {
        let known = (0..6_u32).prop_map(|number| format!("jaco-{number:010}"));
        let others = prop::sample::select(vec!["eth0", "docker0", "lo", "wg-jaco", "wg-other"]);
        prop_oneof![3 => known, 2 => others.prop_map(str::to_owned)]
    };
    let address = || {
        let len = prop::sample::select(vec![26_u8, 24, 25]);
        let inside = (0..24_u32, len, 1..4_u32).prop_map(|(b, len, h)| host(block(b, len), h));
        let fixed = vec![
            "10.80.0.1",
            "10.80.0.2",
            "10.95.9.9",
            "192.168.7.1",
            "192.168.7.9",
            "8.8.8.8",
            "169.254.169.254",
            "0.0.0.0",
            "255.255.255.255",
        ];
        prop_oneof![3 => inside, 2 => prop::sample::select(fixed).prop_map(ip)]
    };
    let ct =
        prop::sample::select(vec![Ct::New, Ct::New, Ct::Established, Ct::Related, Ct::Invalid]);
    let protocol = prop::sample::select(vec![6_u8, 17, 1, 47]);
    let port = prop::sample::select(vec![53_u16, 80, 9100, 7000, 7001, 2375, 12345, 8 << 8, 0]);
    let ways = (interface(), interface(), 0..5_u32).prop_map(|(iif, oif, way)| match way {
        0 => (None, Some(oif)),
        1 => (Some(iif), None),
        _ => (Some(iif), Some(oif)),
    });
    (
        (ways, address(), address()),
        (protocol, port, ct, prop::bool::weighted(0.1), prop::bool::weighted(0.1)),
    )
        .prop_map(
            |(((iif, oif), source, destination), (protocol, port, ct, redirected, is_ipv6))| {
                Packet { iif, oif, is_ipv6, source, destination, protocol, port, ct, redirected }
            },
        )
}

/// Makes a packet that comes from where its source is, so that rules behind the check of sources
/// are reached too.
fn genuine(policy: &Policy, mut packet: Packet) -> Packet {
    let home = policy.bridges.iter().find(|(_, bridge)| bridge.block.contains(packet.source));
    match (home, whose(policy, packet.source)) {
        (Some((name, _)), _) => packet.iif = Some(name.clone()),
        (None, Whose::World) => packet.iif = Some("eth0".to_owned()),
        (None, _) => packet.iif = Some("wg-jaco".to_owned()),
    }
    packet
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn verdicts_are_those_of_the_policy(
        policy in policies(),
        packets in prop::collection::vec((packets(), any::<bool>()), 64),
    ) {
        let ruleset = ruleset(&policy);
        for (packet, is_genuine) in packets {
            let packet = if is_genuine { genuine(&policy, packet) } else { packet };
            let end = run(&ruleset, &packet);
            let expected = may_pass(&policy, &packet);
            prop_assert_eq!(end == End::Passed, expected, "{:?}: {:?}", packet, end);
        }
    }

    #[test]
    fn what_has_nothing_to_do_with_us_is_not_touched(policy in policies(), packet in packets()) {
        let other = |interface: String| if is_ours(&interface) { "eth1".into() } else { interface };
        let outside = |address| if policy.pool.contains(address) { ip("9.9.9.9") } else { address };
        let packet = Packet {
            iif: packet.iif.map(other),
            oif: packet.oif.map(other),
            source: outside(packet.source),
            destination: outside(packet.destination),
            ..packet
        };
        prop_assert_eq!(run(&ruleset(&policy), &packet), End::Passed);
    }
}

#[test]
fn drops_have_the_reason_that_people_look_for() {
    let policy = example();
    let ruleset = ruleset(&policy);
    let (a, b) = (block(0, 26), block(3, 26));
    let new = |iif: &str, oif: &str, source, destination| Packet {
        iif: Some(iif.to_owned()),
        oif: Some(oif.to_owned()).filter(|oif| !oif.is_empty()),
        is_ipv6: false,
        source,
        destination,
        protocol: 6,
        port: 2375,
        ct: Ct::New,
        redirected: false,
    };
    let (bridge_a, bridge_b) = ("jaco-aaaaaaaaaa", "jaco-bbbbbbbbbb");
    let world = ip("8.8.8.8");
    let cases = [
        (new(bridge_a, bridge_b, host(a, 2), host(b, 2)), "cross_scope"),
        (new(bridge_a, bridge_b, host(b, 2), host(b, 3)), "spoof"),
        (new(bridge_a, "", host(a, 2), host(b, 1)), "host"),
        (new(bridge_a, "", host(a, 2), host(a, 1)), "host"),
        (new(bridge_a, "eth0", host(a, 2), ip("192.168.7.2")), "control"),
        (new(bridge_b, "eth0", host(b, 2), world), "internal"),
        (new(bridge_a, "eth0", host(a, 9), world), "fence"),
        (new(bridge_a, "eth0", host(a, 2), ip("10.95.0.1")), "leak"),
        (new("eth0", bridge_a, world, host(a, 2)), "foreign_in"),
        (new("eth0", bridge_a, host(a, 3), host(a, 2)), "spoof"),
        (new("eth0", "", world, host(a, 1)), "foreign_in"),
        (new("wg-jaco", bridge_a, world, host(a, 2)), "spoof"),
    ];
    for (packet, reason) in cases {
        assert_eq!(run(&ruleset, &packet), End::Dropped(reason.to_owned()), "{packet:?}");
    }
}

#[test]
fn the_table_says_which_pairs_it_allows() {
    let table = ruleset(&example());
    let at = |number, host_number| host(block(number, 26), host_number);
    for (from, to, is_allowed) in [
        (at(0, 2), at(0, 3), true),
        (at(0, 2), at(1, 2), true),
        (at(1, 2), at(0, 2), true),
        (at(3, 2), at(3, 9), true),
        (at(0, 2), at(3, 2), false),
        (at(1, 2), at(2, 2), false),
        (at(0, 2), ip("203.0.113.9"), false),
    ] {
        assert_eq!(table.allows(from, to), is_allowed, "{from} to {to}");
    }
    assert!(table.fences(at(0, 9)) && !table.fences(at(0, 8)));
    assert!(!Ruleset::default().allows(at(0, 2), at(0, 3)));
}
