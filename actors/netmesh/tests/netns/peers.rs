//! Peers by their exact keys, and addresses that move between them.

use crate::world::{World, mesh, mesh_address, net, peer, ping_from, wait};
use ipnet::Ipv4Net;
use jaco_model::NodeId;
use jaco_netmesh_core::{Change, PathCondition, Peer, PeerChange, PublicKey};
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Longest time until something holds.
const LIMIT: Duration = Duration::from_secs(40);

/// A node that nobody runs, with a mesh address of its own.
fn stranger(
    number: u8,
    key: [u8; 32],
    blocks: impl IntoIterator<Item = Ipv4Net>,
) -> (PublicKey, Peer) {
    let address = Ipv4Addr::new(10, 80, 1, number);
    let allowed = [Ipv4Net::from(address)].into_iter().chain(blocks).collect();
    // An address on the wire that nobody has.
    let endpoints = vec![SocketAddr::from(([192, 168, 77, 200], 51820))];
    let node = NodeId::new(format!("stranger-{number}"));
    (PublicKey(key), Peer { node, address, endpoints, allowed })
}

#[test]
fn keys_that_differ_in_their_last_byte_are_different_peers() {
    let world = World::new();
    let node = world.start(0);
    let key = |last: u8| {
        let mut key = [9; 32];
        key[30] = last;
        key
    };
    let both = [stranger(1, key(1), [net("10.81.0.0/26")]), stranger(2, key(2), [])];
    node.want(mesh(0, both.clone()));
    let installed = node.settled();
    let keys: Vec<_> = installed.peers.keys().copied().collect();
    assert_eq!(keys, [PublicKey(key(1)), PublicKey(key(2))]);
    for (key, peer) in &both {
        assert_eq!(installed.peers[key].allowed, peer.allowed);
        assert_eq!(installed.peers[key].endpoint, peer.endpoints.first().copied());
        assert_eq!(installed.peers[key].keepalive_seconds, 25);
    }
    node.want(mesh(0, [both[1].clone()]));
    let installed = node.settled();
    assert_eq!(installed.peers.into_keys().collect::<Vec<_>>(), [PublicKey(key(2))]);
}

#[test]
fn a_block_moves_between_peers() {
    let world = World::new();
    let nodes = world.connected();
    let inside = Ipv4Addr::new(10, 81, 0, 1);
    world.add_address(1, "lo", Ipv4Net::from(inside));
    world.echo_at(1, inside, 9000);
    let key = nodes[1].handle.public_key();
    let comes = || {
        let to = SocketAddr::from((inside, 9000));
        world.hosts[0].run(move || async move { ping_from(mesh_address(0), to, "moves", 3).await })
    };
    for has_it in [false, true, false, true] {
        let blocks: &[&str] = if has_it { &["10.81.0.0/26"] } else { &[] };
        let others = if has_it { vec![] } else { vec![net("10.81.0.0/26")] };
        let peers = [peer(1, key, blocks), stranger(1, [8; 32], others)];
        nodes[0].want(mesh(0, peers.clone()));
        let installed = nodes[0].settled();
        for (key, peer) in &peers {
            assert_eq!(installed.peers[key].allowed, peer.allowed);
        }
        if has_it {
            wait("the block's owner answers", LIMIT, || comes() > 0, String::new);
        } else {
            assert_eq!(comes(), 0, "the block is somebody else's");
        }
    }
}

#[test]
fn many_peers_with_many_blocks_are_as_wanted_at_once() {
    let world = World::new();
    let nodes = world.connected();
    // No two of them adjacent, so none are merged.
    let block = |at: u32| {
        let base = u32::from(Ipv4Addr::new(10, 84, 0, 0)) + at * 128;
        Ipv4Net::new(Ipv4Addr::from(base), 26).unwrap()
    };
    let mut peers = vec![peer(1, nodes[1].handle.public_key(), &[])];
    for number in 1..=30_u8 {
        let first = 300 + u32::from(number);
        // One of them has more than fits into one message to the kernel, or from it.
        let blocks = if number == 1 { 0..300 } else { first..first + 1 };
        peers.push(stranger(number, [100 + number; 32], blocks.map(block)));
    }
    let before = nodes[0].rounds().len();
    let wanted = mesh(0, peers);
    nodes[0].want(wanted.clone());
    let installed = nodes[0].settled();
    // Paths to strangers are repaired meanwhile, but nothing is made a second time.
    let made = nodes[0].rounds().split_off(before).concat();
    for key in wanted.peers.keys() {
        let is_made = |change: &&Change| matches!(change, Change::Peer(PeerChange::Allow { key: other, .. }) if other == key);
        assert_eq!(made.iter().filter(is_made).count(), 0, "{key}");
    }
    assert!(installed.peers.keys().eq(wanted.peers.keys()));
    for (key, peer) in &wanted.peers {
        assert_eq!(installed.peers[key].allowed, peer.allowed, "{key}");
        assert!(installed.peers[key].endpoint.is_some(), "{key}");
    }
    // One block less of the large one.
    let mut less = wanted.clone();
    let large = less.peers.get_mut(&PublicKey([101; 32])).unwrap();
    assert!(large.allowed.remove(&block(150)));
    nodes[0].want(less.clone());
    let installed = nodes[0].settled();
    let has: &BTreeSet<Ipv4Net> = &installed.peers[&PublicKey([101; 32])].allowed;
    assert_eq!(has, &less.peers[&PublicKey([101; 32])].allowed);
    nodes[0].want(mesh(0, [peer(1, nodes[1].handle.public_key(), &[])]));
    assert_eq!(nodes[0].settled().peers.len(), 1);
    nodes[0].wait_for_paths(1);
}

#[test]
fn endpoints_are_tried_in_turn_and_a_host_that_moves_is_followed() {
    let world = World::new();
    let nodes = [world.start(0), world.start(1)];
    let (_, mut silent) = peer(0, nodes[0].handle.public_key(), &[]);
    // It knows no way to the other and so cannot begin.
    silent.endpoints.clear();
    nodes[1].want(mesh(1, [(nodes[0].handle.public_key(), silent)]));
    let (key, mut wanted) = peer(1, nodes[1].handle.public_key(), &[]);
    let right = wanted.endpoints[0];
    wanted.endpoints.insert(0, SocketAddr::from(([192, 168, 77, 200], 51820)));
    nodes[0].want(mesh(0, [(key, wanted)]));
    nodes[0].wait_for_paths(1);
    nodes[1].wait_for_paths(1);
    nodes[0].wait("the right endpoint is shown", |view| view.paths[0].endpoint == Some(right));
    // The other host gets another address and speaks from there.
    world.remove_wire_address(1);
    world.add_address(1, "wire", net("192.168.77.12/24"));
    let moved = SocketAddr::from(([192, 168, 77, 12], 51820));
    nodes[0].wait("the new address is shown", |view| view.paths[0].endpoint == Some(moved));
    nodes[0].wait_for_paths(1);
    nodes[1].wait_for_paths(1);
}

#[test]
fn a_path_that_was_cut_is_seen_from_both_ends_and_comes_back() {
    let world = World::new();
    let nodes = world.connected();
    world.echo(1, 9000);
    nodes[0].settled();
    let (index, rounds) = (world.index(0, "wg-jaco"), nodes[0].rounds().len());
    world.plug(1, false);
    for node in &nodes {
        node.wait("the path is dead", |view| view.paths[0].condition == PathCondition::Dead);
    }
    let is_added = |change: &Change| matches!(change, Change::Peer(PeerChange::Add { .. }));
    nodes[0].wait("the peer is made anew", |_| {
        nodes[0].rounds().split_off(rounds).concat().iter().any(is_added)
    });
    world.plug(1, true);
    for node in &nodes {
        node.wait_for_paths(1);
    }
    assert_eq!(world.index(0, "wg-jaco"), index);
    assert!(world.ping(0, 9000, "again", 20) >= 18);
}
