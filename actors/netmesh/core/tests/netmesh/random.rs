//! Properties of plans and of aggregation, over random meshes.

use crate::model::{Kernel, endpoint, is_as_wanted, key, mesh};
use ipnet::Ipv4Net;
use jaco_model::NodeId;
use jaco_netmesh_core::{
    Change, Device, Mesh, Peer, PeerChange, PublicKey, Route, aggregated, plan,
};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

/// Blocks that are given to peers at random.
const BLOCKS: u32 = 24;

fn block(at: u32) -> Ipv4Net {
    Ipv4Net::new(Ipv4Addr::from(0x0a51_0000 + at * 64), 26).unwrap()
}

prop_compose! {
    /// A mesh in which each block has at most one owner: 0 for nobody.
    fn meshes()(
        owners in prop::collection::vec(0_u8..6, BLOCKS as usize),
        present in prop::collection::vec(any::<bool>(), 5),
        address in 1_u8..3,
        port in 51820_u16..51822,
        mtu in prop::sample::select(vec![1280_u16, 1380, 1420]),
        pool in prop::sample::select(vec!["10.80.0.0/12", "10.64.0.0/10"]),
    ) -> Mesh {
        let peers = (1_u8..6).filter(|at| present[usize::from(*at) - 1]).map(|at| {
            let own = Ipv4Net::from(Ipv4Addr::new(10, 80, 0, 10 + at));
            let owned = (0..BLOCKS).filter(|b| owners[*b as usize] == at).map(block);
            let peer = Peer {
                node: NodeId::new(format!("n{at}")),
                address: own.addr(),
                endpoints: vec![endpoint(at)],
                allowed: aggregated(owned.chain([own])),
            };
            (key(at), peer)
        });
        let mut mesh = mesh(peers);
        mesh.address = Ipv4Addr::new(10, 80, 0, address);
        mesh.port = port;
        mesh.mtu = mtu;
        mesh.pool = pool.parse().unwrap();
        mesh
    }
}

/// Damage as others may do it.
fn damage(kernel: &mut Kernel, kind: u8) {
    match kind % 7 {
        0 => kernel.has.device = None,
        1 => kernel.has.routes.clear(),
        2 => kernel.has.addresses = BTreeSet::from(["10.9.9.9/24".parse().unwrap()]),
        3 => {
            kernel.has.peers.pop_first();
        }
        4 => {
            if let Some(device) = &mut kernel.has.device {
                *device = Device { port: 1, mtu: 576, is_up: false };
            }
            kernel.has.routes.retain(|route| matches!(route, Route::Unreachable { .. }));
        }
        5 => kernel.has.sysctls.values_mut().for_each(|value| *value = 7),
        _ => kernel.has.peers.values_mut().for_each(|peer| {
            peer.keepalive_seconds = 0;
            peer.allowed.pop_last();
        }),
    }
}

proptest! {
    #[test]
    fn plans_lead_to_what_is_wanted_and_then_nowhere(
        steps in prop::collection::vec((meshes(), 0_u8..7, any::<bool>()), 1..6),
    ) {
        let mut kernel = Kernel::default();
        for (wanted, kind, is_damaged) in steps {
            if is_damaged {
                damage(&mut kernel, kind);
            }
            kernel.apply(&plan(&wanted, &kernel.has));
            // Settings of an interface that was just made may need a second look.
            kernel.apply(&plan(&wanted, &kernel.has));
            prop_assert!(is_as_wanted(&wanted, &kernel.has), "{:?}", kernel.has);
            prop_assert_eq!(plan(&wanted, &kernel.has), vec![]);
        }
    }

    #[test]
    fn peers_that_stay_as_they_are_are_not_touched(before in meshes(), after in meshes()) {
        let mut kernel = Kernel::default();
        kernel.apply(&plan(&before, &kernel.has));
        let allowed =
            |mesh: &Mesh, key: PublicKey| mesh.peers.get(&key).map(|peer| peer.allowed.clone());
        let same = |key: PublicKey| allowed(&before, key) == allowed(&after, key);
        for change in plan(&after, &kernel.has) {
            if let Change::Peer(change) = change {
                prop_assert!(!same(change.key()), "{:?}", change);
            }
        }
    }

    #[test]
    fn addresses_that_stay_with_a_peer_are_never_taken_away(before in meshes(), after in meshes()) {
        let mut kernel = Kernel::default();
        kernel.apply(&plan(&before, &kernel.has));
        let holds = |allowed: &BTreeSet<Ipv4Net>, at: u32| allowed.iter().any(|net| net.contains(&block(at)));
        let stay = |key: PublicKey, at: u32| {
            let both = (before.peers.get(&key), after.peers.get(&key));
            matches!(both, (Some(b), Some(a)) if holds(&b.allowed, at) && holds(&a.allowed, at))
        };
        let changes = plan(&after, &kernel.has);
        for change in changes {
            kernel.apply(std::slice::from_ref(&change));
            for (key, peer) in &kernel.has.peers {
                for at in (0..BLOCKS).filter(|at| stay(*key, *at)) {
                    prop_assert!(holds(&peer.allowed, at), "{} of {:?}", block(at), key);
                }
            }
        }
    }

    #[test]
    fn aggregation_keeps_the_exact_addresses(at in prop::collection::vec((0_u32..64, 24_u8..33), 0..40)) {
        let nets: Vec<Ipv4Net> = at
            .iter()
            .map(|(at, prefix)| Ipv4Net::new(Ipv4Addr::from(0x0a51_0000 + at * 16), *prefix).unwrap())
            .collect();
        let joined = aggregated(nets.iter().copied());
        for address in 0x0a50_ff00..0x0a51_0600_u32 {
            let ip = Ipv4Addr::from(address);
            let before = nets.iter().any(|net| net.contains(&ip));
            let holders = joined.iter().filter(|net| net.contains(&ip)).count();
            prop_assert_eq!(holders, usize::from(before), "{}", ip);
        }
        prop_assert_eq!(aggregated(joined.iter().copied()), joined);
    }
}

#[test]
fn a_moved_block_leaves_its_old_peer_before_it_reaches_the_new_one() {
    let with = |first: &[&str], second: &[&str]| {
        mesh([crate::model::peer(2, first), crate::model::peer(3, second)])
    };
    let mut kernel = Kernel::default();
    let blocks = ["10.81.0.0/26", "10.81.0.64/26"];
    kernel.apply(&plan(&with(&blocks, &[]), &kernel.has));
    let changes = plan(&with(&blocks[..1], &blocks[1..]), &kernel.has);
    let own = |at: u8| format!("10.80.0.{at}/32").parse().unwrap();
    let expected = vec![
        Change::Peer(PeerChange::Replace {
            key: key(2),
            allowed: BTreeSet::from([own(2), blocks[0].parse().unwrap()]),
        }),
        Change::Peer(PeerChange::Allow {
            key: key(3),
            allowed: BTreeSet::from([blocks[1].parse().unwrap()]),
        }),
    ];
    assert_eq!(changes, expected);
}

#[test]
fn only_the_whole_key_tells_peers_apart() {
    let mut near = key(2);
    near.0[31] ^= 1;
    let (_, peer) = crate::model::peer(2, &[]);
    let mut kernel = Kernel::default();
    kernel.apply(&plan(&mesh([(key(2), peer.clone())]), &kernel.has));
    kernel.apply(&plan(&mesh([(near, peer)]), &kernel.has));
    let keys: BTreeMap<_, _> = kernel.has.peers.keys().map(|key| (*key, ())).collect();
    assert_eq!(keys, BTreeMap::from([(near, ())]));
}
