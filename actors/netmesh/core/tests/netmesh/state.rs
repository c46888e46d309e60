//! From a state to the mesh of one node.

use crate::model::{key, net};
use jaco_model::entity::{MeshFacts, MeshKind, Node, NodeFacts, NodeStatus};
use jaco_model::{NodeId, NodeName, WallMs};
use jaco_netmesh_core::{Settings, desired};
use jaco_state::State;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

pub(crate) fn node(number: u8, address: &str) -> Node {
    let mesh = MeshFacts {
        public_key: key(number).to_string(),
        port: 51_800 + u16::from(number),
        kind: MeshKind::Userspace,
        mtu: 1420,
    };
    Node {
        id: NodeId::new(format!("n{number}")),
        name: NodeName::new(format!("host-{number}")),
        raft_id: u64::from(number),
        status: NodeStatus::Ready,
        schedulable: true,
        voter: true,
        labels: BTreeMap::new(),
        facts: NodeFacts { address: address.to_owned(), mesh: Some(mesh), ..NodeFacts::default() },
        joined_at: WallMs(0),
        serials: Vec::new(),
        liveness_epoch: 0,
        leaving: None,
        mesh_address: Some(Ipv4Addr::new(10, 80, 0, number)),
    }
}

fn state(nodes: impl IntoIterator<Item = Node>) -> State {
    let mut state = State::default();
    for node in nodes {
        state.nodes.insert(node.id.clone(), Arc::new(node));
    }
    state
}

fn settings(mtu: Option<u16>) -> Settings {
    Settings { me: NodeId::new("n1"), port: 51820, mtu, seed: 0 }
}

#[test]
fn each_other_node_with_a_key_is_a_peer() {
    let mut without = node(4, "192.168.1.4:7001");
    without.facts.mesh = None;
    let mut homeless = node(5, "192.168.1.5:7001");
    homeless.mesh_address = None;
    let mut small = node(3, "[fd00::3]:7001");
    small.facts.mesh.as_mut().unwrap().mtu = 1380;
    small.facts.api_address = "203.0.113.3:7000".to_owned();
    let state =
        state([node(1, "192.168.1.1:7001"), node(2, "192.168.1.2:7001"), small, without, homeless]);
    let mesh = desired(&state, &settings(None)).unwrap();
    assert_eq!(mesh.address, Ipv4Addr::new(10, 80, 0, 1));
    assert_eq!(mesh.pool, net("10.80.0.0/12"));
    assert_eq!(mesh.mtu, 1380);
    assert_eq!(mesh.peers.keys().copied().collect::<Vec<_>>(), [key(2), key(3)]);
    let second = &mesh.peers[&key(2)];
    assert_eq!(second.endpoints, ["192.168.1.2:51802".parse().unwrap()]);
    assert_eq!(second.allowed, BTreeSet::from([net("10.80.0.2/32")]));
    let third = &mesh.peers[&key(3)];
    let endpoints = ["[fd00::3]:51803".parse().unwrap(), "203.0.113.3:51803".parse().unwrap()];
    assert_eq!(third.endpoints, endpoints);
    assert_eq!(desired(&state, &settings(Some(8920))).unwrap().mtu, 8920);
}

#[test]
fn a_node_without_an_address_has_no_mesh() {
    assert_eq!(desired(&State::default(), &settings(None)), None);
    let mut me = node(1, "192.168.1.1:7001");
    me.mesh_address = None;
    assert_eq!(desired(&state([me, node(2, "")]), &settings(None)), None);
}

#[test]
fn what_is_given_twice_has_one_holder() {
    let mut same_key = node(3, "192.168.1.3:7001");
    same_key.facts.mesh.as_mut().unwrap().public_key = key(2).to_string();
    let mut same_address = node(4, "192.168.1.4:7001");
    same_address.mesh_address = Some(Ipv4Addr::new(10, 80, 0, 2));
    let mut mine = node(5, "192.168.1.5:7001");
    mine.mesh_address = Some(Ipv4Addr::new(10, 80, 0, 1));
    let mut damaged = node(6, "192.168.1.6:7001");
    damaged.facts.mesh.as_mut().unwrap().public_key = "no key".to_owned();
    let nodes = [node(1, ""), node(2, ""), same_key, same_address, mine, damaged];
    let mesh = desired(&state(nodes), &settings(None)).unwrap();
    assert_eq!(mesh.peers.keys().copied().collect::<Vec<_>>(), [key(2), key(4), key(5)]);
    assert_eq!(mesh.peers[&key(2)].node, NodeId::new("n2"));
    assert!(mesh.peers[&key(4)].allowed.is_empty());
    assert!(mesh.peers[&key(5)].allowed.is_empty());
}
