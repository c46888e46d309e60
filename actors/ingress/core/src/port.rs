//! Which replica takes a connection to a published port.

use crate::table::Endpoint;
use jaco_kit_core::mix::{fnv, mix};
use jaco_model::InstanceId;
use jaco_model::spec::PortPolicy;
use std::cmp::Reverse;
use std::net::IpAddr;

/// Chooses a replica, or none when all were tried. `load` tells how many connections this node
/// has to an instance; `roll` is any number and decides between equals.
///
/// Without a policy a replica of this node goes first, then the least busy one.
pub fn choose<'a>(
    endpoints: &'a [Endpoint],
    policy: Option<PortPolicy>,
    client: IpAddr,
    tried: &[InstanceId],
    load: impl Fn(&InstanceId) -> u32,
    roll: u64,
) -> Option<&'a Endpoint> {
    let fresh = endpoints.iter().filter(|endpoint| !tried.contains(&endpoint.instance));
    let tie = |endpoint: &Endpoint| mix(roll ^ hash(&endpoint.instance));
    match policy {
        None => fresh.min_by_key(|e| (!e.is_local, load(&e.instance), tie(e))),
        Some(PortPolicy::LeastConnections) => fresh.min_by_key(|e| (load(&e.instance), tie(e))),
        // Rendezvous: when a replica goes only its own clients move.
        Some(PortPolicy::SourceHash) => {
            let source = address_hash(client);
            fresh.min_by_key(|e| Reverse(mix(source ^ hash(&e.instance))))
        }
    }
}

fn hash(instance: &InstanceId) -> u64 {
    fnv(instance.to_string().bytes(), 0)
}

fn address_hash(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(address) => mix(fnv(address.octets(), 0)),
        IpAddr::V6(address) => mix(fnv(address.octets(), 0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jaco_model::{NodeId, WallMs};
    use std::collections::BTreeMap;
    use std::net::Ipv4Addr;

    fn endpoints(locals: &[bool]) -> Vec<Endpoint> {
        let endpoint = |(n, is_local): (usize, &bool)| Endpoint {
            instance: format!("shop-web-{n}.g1").parse().expect("an instance"),
            address: Ipv4Addr::new(10, 0, 0, u8::try_from(n).expect("few")),
            node: NodeId::new("n1"),
            is_local: *is_local,
            ready_since: WallMs(0),
        };
        locals.iter().enumerate().map(endpoint).collect()
    }

    fn client(n: u32) -> IpAddr {
        Ipv4Addr::from(0xc000_0200 + n).into()
    }

    #[test]
    fn a_replica_of_this_node_goes_first_and_the_others_when_it_was_tried() {
        let all = endpoints(&[false, true, false]);
        let busy = |id: &InstanceId| u32::from(*id == all[1].instance) * 100;
        let first = choose(&all, None, client(1), &[], busy, 7).expect("one");
        assert_eq!(first.instance, all[1].instance);
        let tried = [first.instance.clone()];
        let next = choose(&all, None, client(1), &tried, busy, 7).expect("one");
        assert!(!next.is_local);
        let tried: Vec<_> = all.iter().map(|e| e.instance.clone()).collect();
        assert_eq!(choose(&all, None, client(1), &tried, busy, 7), None);
    }

    #[test]
    fn the_least_busy_of_the_cluster_is_chosen_wherever_it_is() {
        let all = endpoints(&[true, false]);
        let policy = Some(PortPolicy::LeastConnections);
        let busy = |id: &InstanceId| u32::from(*id == all[0].instance);
        for roll in 0..20 {
            let chosen = choose(&all, policy, client(1), &[], busy, roll).expect("one");
            assert_eq!(chosen.instance, all[1].instance);
        }
    }

    #[test]
    fn equals_share_the_connections() {
        let all = endpoints(&[false, false, false]);
        let mut counts = BTreeMap::<_, u32>::new();
        for roll in 0..3_000 {
            let chosen = choose(&all, None, client(1), &[], |_| 0, roll).expect("one");
            *counts.entry(chosen.instance.clone()).or_default() += 1;
        }
        assert!(counts.values().all(|n| (850..1_150).contains(n)), "{counts:?}");
    }

    #[test]
    fn when_a_replica_goes_only_its_own_clients_move() {
        let (all, policy) = (endpoints(&[true, false, false, false]), Some(PortPolicy::SourceHash));
        let mut moved = 0;
        for n in 0..400 {
            let before = choose(&all, policy, client(n), &[], |_| n, 1).expect("one");
            let after = choose(&all[1..], policy, client(n), &[], |_| 0, 2).expect("one");
            if before.instance == all[0].instance {
                moved += 1;
            } else {
                assert_eq!(before.instance, after.instance);
            }
        }
        assert!((50..150).contains(&moved), "{moved}");
    }
}
