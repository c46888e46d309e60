//! The paths of a watch: for every container and host what it may send and what it must not.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use crate::ground::{Ground, Place, Spot};
use crate::holes::Way;
use crate::reach::{CONTROL_PORTS, TCP_PORT, UDP_PORT};

/// Where the responder for names is.
const DNS_PORT: u16 = 53;

/// How many addresses of a foreign block are tried besides those in use: a container that starts
/// during a fault has one of them.
const SPARE: u32 = 4;

/// All ways of a watch.
#[must_use]
pub fn ways(ground: &Ground) -> Vec<Way> {
    let mut all = Vec::new();
    for from in &ground.spots {
        all.extend(allowed(from, ground));
        all.extend(to_others(from, ground));
        all.extend(to_hosts(from, ground));
        all.extend(forged(from, ground));
        all.extend(to_many(from, ground));
    }
    for place in &ground.places {
        all.extend(through_the_mesh(place, ground));
    }
    if let Some((name, address)) = &ground.neighbour {
        all.extend(from_a_stranger(name, *address, ground));
    }
    all
}

/// The ways between containers of one scope, with their answers.
#[must_use]
pub fn allowed(from: &Spot, ground: &Ground) -> Vec<Way> {
    let mut all = Vec::new();
    for to in ground.spots.iter().filter(|to| to.id != from.id) {
        for (scope, target) in &to.addresses {
            let Some(source) = from.addresses.get(scope) else { continue };
            let kinds = [("udp", UDP_PORT), ("icmp", 0)];
            let answered =
                |(kind, _): &(&str, u16)| *kind == "icmp" || to.answers_datagrams_of(from);
            for (kind, port) in kinds.into_iter().filter(answered) {
                let may_reach = BTreeSet::from([from.replica.clone(), to.replica.clone()]);
                let way = way(&from.replica, kind, *source, *target, port);
                all.push(Way { may_reach, is_answered: true, ..way });
            }
        }
    }
    all
}

fn way(from: &str, kind: &'static str, source: Ipv4Addr, target: Ipv4Addr, port: u16) -> Way {
    let (from, may_reach) = (from.to_owned(), BTreeSet::new());
    Way { from, kind, source, target, port, may_reach, is_answered: false }
}

/// Containers of other scopes, and what else may be in their blocks.
fn to_others(from: &Spot, ground: &Ground) -> Vec<Way> {
    let mut all = Vec::new();
    let strangers = ground.spots.iter().flat_map(|to| &to.addresses);
    let strangers: BTreeSet<Ipv4Addr> = strangers
        .filter(|(scope, _)| !from.addresses.contains_key(*scope))
        .map(|(_, address)| *address)
        .collect();
    for target in &strangers {
        for (kind, port) in [("udp", UDP_PORT), ("tcp", TCP_PORT), ("icmp", 0)] {
            all.push(way(&from.replica, kind, from.address(), *target, port));
        }
    }
    let foreign = ground.bridges.iter().filter(|bridge| strangers.iter().any(|a| bridge.has(*a)));
    for bridge in foreign {
        let spare = (1..=SPARE).map(|more| Ipv4Addr::from(u32::from(bridge.gateway) + more));
        for target in spare.filter(|address| !strangers.contains(address)) {
            all.push(way(&from.replica, "udp", from.address(), target, UDP_PORT));
        }
    }
    all
}

/// Gateways of others, and the members' own ports.
fn to_hosts(from: &Spot, ground: &Ground) -> Vec<Way> {
    let mut all = Vec::new();
    for bridge in ground.bridges.iter().filter(|bridge| !bridge.holds(from)) {
        for (kind, port) in [("udp", DNS_PORT), ("icmp", 0)] {
            all.push(way(&from.replica, kind, from.address(), bridge.gateway, port));
        }
    }
    for place in &ground.places {
        for address in [place.mesh, place.underlay] {
            for port in CONTROL_PORTS {
                all.push(way(&from.replica, "tcp", from.address(), address, port));
            }
        }
        all.push(way(&from.replica, "udp", from.address(), place.mesh, CONTROL_PORTS[1]));
        all.push(way(&from.replica, "icmp", from.address(), place.mesh, 0));
    }
    all
}

/// Packets of a container that carry the address of another one, or of a node.
fn forged(from: &Spot, ground: &Ground) -> Vec<Way> {
    let mut all = Vec::new();
    for to in ground.spots.iter().filter(|to| to.id != from.id) {
        let siblings = ground.spots.iter().filter(|one| one.id != to.id && one.may_reach(to));
        // With the right to forge, a container may be any other one of its own bridge.
        let is_beside = |one: &Spot| one.node == from.node && one.may_reach(from);
        let sources = siblings.filter(|one| !is_beside(one)).map(Spot::address).take(1);
        let nodes = ground.places.iter().filter(|place| place.node != from.node);
        for source in sources.chain(nodes.map(|place| place.mesh).take(1)) {
            all.push(way(&from.replica, "udp", source, to.address(), UDP_PORT));
        }
    }
    all
}

/// Packets to all in reach: nobody but the containers of the same bridge may get them.
fn to_many(from: &Spot, ground: &Ground) -> Vec<Way> {
    let here = ground.spots.iter().filter(|to| to.node == from.node && to.may_reach(from));
    let may_reach: BTreeSet<String> = here.map(|to| to.replica.clone()).collect();
    // All systems of the link (RFC 1112), all hosts (RFC 919).
    let near = [Ipv4Addr::new(224, 0, 0, 1), Ipv4Addr::BROADCAST].map(|target| {
        let way = way(&from.replica, "udp", from.address(), target, UDP_PORT);
        Way { may_reach: may_reach.clone(), ..way }
    });
    let foreign = ground.bridges.iter().filter(|bridge| !bridge.holds(from));
    let far =
        foreign.map(|bridge| way(&from.replica, "udp", from.address(), bridge.last(), UDP_PORT));
    near.into_iter().chain(far).collect()
}

/// What a member sends into the mesh under the address of a third node.
fn through_the_mesh(place: &Place, ground: &Ground) -> Vec<Way> {
    let mut all = Vec::new();
    for to in ground.spots.iter().filter(|to| to.node != place.node) {
        let elsewhere = |node: usize| node != place.node && node != to.node;
        let siblings = ground.spots.iter().filter(|one| elsewhere(one.node) && one.may_reach(to));
        let meshes = ground.places.iter().filter(|one| elsewhere(one.node));
        // One of each is enough: the tunnel carries them to where they are refused.
        let source = siblings.map(Spot::address).next().filter(|_| to.node % 2 == 0);
        if let Some(source) = source.or_else(|| meshes.map(|one| one.mesh).next()) {
            all.push(way(&place.name, "udp", source, to.address(), UDP_PORT));
        }
    }
    all
}

/// What a host beside the cluster sends that has a route to every block.
fn from_a_stranger(name: &str, own: Ipv4Addr, ground: &Ground) -> Vec<Way> {
    let mut all = Vec::new();
    for to in &ground.spots {
        let target = to.address();
        for (kind, port) in [("udp", UDP_PORT), ("tcp", TCP_PORT), ("icmp", 0)] {
            all.push(way(name, kind, own, target, port));
        }
        let sibling = ground.spots.iter().find(|one| one.id != to.id && one.may_reach(to));
        let mesh = ground.places.iter().find(|place| place.node != to.node);
        let sources = sibling.map(Spot::address).into_iter().chain(mesh.map(|place| place.mesh));
        for source in sources {
            all.push(way(name, "udp", source, target, UDP_PORT));
        }
    }
    for place in &ground.places {
        all.push(way(name, "tcp", own, place.mesh, CONTROL_PORTS[0]));
        all.push(way(name, "udp", own, place.mesh, CONTROL_PORTS[1]));
    }
    let gateways = ground.bridges.iter();
    all.extend(gateways.map(|bridge| way(name, "udp", own, bridge.gateway, DNS_PORT)));
    all
}
