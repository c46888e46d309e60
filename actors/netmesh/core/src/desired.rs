//! From the replicated state to this node's part of the mesh.

use crate::PublicKey;
use crate::mesh::{Mesh, Peer};
use crate::prefixes::{aggregated, overlap};
use crate::settings::{MTU_CAP, MTU_FLOOR, Settings};
use ipnet::Ipv4Net;
use jaco_model::entity::Node;
use jaco_state::State;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

/// What the state wants of this node; `None` while it gives the node no address.
///
/// The largest packet is the smallest that any node reports, or what the operator fixed; the way
/// to the peers may lower it further. The state keeps keys and addresses apart; should it not, the
/// first node in the order of ids has them and the others are left out.
pub fn desired(state: &State, settings: &Settings) -> Option<Mesh> {
    let address = state.nodes.get(&settings.me)?.mesh_address?;
    let mut mtu = MTU_CAP;
    let mut peers: BTreeMap<PublicKey, Peer> = BTreeMap::new();
    let mut given: Vec<Ipv4Net> = vec![Ipv4Net::from(address)];
    given.extend(state.blocks_on(&settings.me).map(|(_, block)| block.net));
    for node in state.nodes.values().filter(|node| node.id != settings.me) {
        let (Some(facts), Some(address)) = (&node.facts.mesh, node.mesh_address) else { continue };
        let Ok(key) = facts.public_key.parse::<PublicKey>() else { continue };
        if peers.contains_key(&key) {
            continue;
        }
        let own = std::iter::once(Ipv4Net::from(address));
        let nets = own.chain(state.blocks_on(&node.id).map(|(_, block)| block.net));
        let allowed: Vec<Ipv4Net> =
            nets.filter(|net| !given.iter().any(|other| overlap(other, net))).collect();
        given.extend(&allowed);
        mtu = mtu.min(facts.mtu);
        let endpoints = endpoints(node, facts.port);
        let allowed: BTreeSet<Ipv4Net> = aggregated(allowed);
        peers.insert(key, Peer { node: node.id.clone(), address, endpoints, allowed });
    }
    let mtu = settings.mtu.unwrap_or(mtu.max(MTU_FLOOR));
    Some(Mesh { address, pool: state.pool(), port: settings.port, mtu, peers })
}

/// Where a node says it is reached, with the port of its tunnel.
fn endpoints(node: &Node, port: u16) -> Vec<SocketAddr> {
    let mut endpoints = Vec::new();
    for text in [&node.facts.address, &node.facts.api_address] {
        let host = text.rsplit_once(':').map_or(text.as_str(), |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let Ok(ip) = host.parse::<IpAddr>() else { continue };
        let endpoint = SocketAddr::new(ip, port);
        if !ip.is_unspecified() && !ip.is_loopback() && !endpoints.contains(&endpoint) {
            endpoints.push(endpoint);
        }
    }
    endpoints
}
