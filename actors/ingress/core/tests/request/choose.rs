//! Which replica takes a request.

use crate::support::{NOW, address, balancing, choice, endpoints, later, loads, tire};
use jaco_ingress_core::request::{Choice, Load, NoReplica, choose};
use jaco_kit_core::Mono;
use jaco_kit_core::mix::mix;
use jaco_model::spec::{LbPolicy, LoadBalancing};
use proptest::prelude::*;
use std::time::Duration;

const EVERY: [LbPolicy; 4] =
    [LbPolicy::LeastRequests, LbPolicy::Random, LbPolicy::RoundRobin, LbPolicy::IpHash];

/// How often each of so many idle replicas is chosen in so many requests.
fn shares(policy: LbPolicy, count: usize, requests: u64) -> Vec<u64> {
    let (all, loads, lb) = (endpoints(&vec![false; count]), loads(count), balancing(policy));
    let mut shares = vec![0; count];
    for n in 0..requests {
        let one = Choice { affinity: mix(n), ..choice(&lb, n) };
        shares[choose(&all, &loads, &one).expect("one")] += 1;
    }
    shares
}

#[test]
fn every_policy_shares_requests_evenly() {
    for count in [1, 2, 3, 5, 8] {
        for policy in EVERY {
            let fair = 10_000 / count as u64;
            let shares = shares(policy.clone(), count, 10_000);
            let is_fair = shares.iter().all(|n| n.abs_diff(fair) <= fair / 10 + 1);
            assert!(is_fair, "{policy:?}: {shares:?}");
        }
        let shares = shares(LbPolicy::RoundRobin, count, 1_000);
        let (least, most) = (shares.iter().min(), shares.iter().max());
        assert!(most.zip(least).is_some_and(|(most, least)| most - least <= 1), "{shares:?}");
    }
}

#[test]
fn of_two_the_less_busy_is_taken_and_the_busiest_of_all_never() {
    let (all, loads) = (endpoints(&[false; 5]), loads(5));
    for (at, load) in loads.iter().enumerate() {
        (0..at).for_each(|_| assert!(load.begin(None)));
    }
    let lb = balancing(LbPolicy::LeastRequests);
    let mut shares = [0_u32; 5];
    for n in 0..10_000 {
        shares[choose(&all, &loads, &choice(&lb, n)).expect("one")] += 1;
    }
    assert!(shares.windows(2).all(|pair| pair[0] > pair[1]), "{shares:?}");
    assert_eq!(shares[4], 0, "{shares:?}");
}

#[test]
fn a_busy_replica_is_passed_over_and_a_full_service_told_from_an_empty_one() {
    let (all, loads, lb) = (endpoints(&[false; 2]), loads(2), LoadBalancing::default());
    let one = Choice { most: Some(1), ..choice(&lb, 1) };
    assert!(loads[0].begin(Some(1)) && !loads[0].begin(Some(1)));
    for n in 0..50 {
        assert_eq!(choose(&all, &loads, &Choice { random: n, ..one }), Ok(1));
    }
    assert!(loads[1].begin(None));
    assert_eq!(choose(&all, &loads, &one), Err(NoReplica::Busy));
    loads[0].end();
    assert_eq!(choose(&all, &loads, &one), Ok(0));
    assert_eq!(choose::<Load>(&[], &[], &one), Err(NoReplica::Missing));
}

#[test]
fn a_new_replica_gets_its_share_little_by_little() {
    let (all, lb) = (endpoints(&[false; 2]), balancing(LbPolicy::Random));
    let loads = [Load::new(address(0), Mono(0)), Load::new(address(1), NOW)];
    let share_after = |millis: u64| {
        let now = NOW.plus(Duration::from_millis(millis));
        let chosen = (0..10_000).map(|n| choose(&all, &loads, &Choice { now, ..choice(&lb, n) }));
        chosen.filter(|at| *at == Ok(1)).count()
    };
    let shares = [0, 1_000, 2_500, 4_000, 5_000].map(share_after);
    assert!((300..700).contains(&shares[0]), "{shares:?}");
    assert!((2_200..2_800).contains(&shares[2]), "{shares:?}");
    assert!((4_800..5_200).contains(&shares[4]), "{shares:?}");
    assert!(shares.windows(2).all(|pair| pair[0] < pair[1]), "{shares:?}");
    let same = [Load::new(address(0), NOW), Load::new(address(1), NOW)];
    let turns = balancing(LbPolicy::RoundRobin);
    for turn in 0..10 {
        let chosen = choose(&all, &same, &choice(&turns, turn));
        assert_eq!(chosen, Ok(turn as usize % 2), "all are as new");
    }
    let alone = [Load::new(address(0), NOW)];
    assert_eq!(choose(&all[..1], &alone, &choice(&lb, 1)), Ok(0), "somebody has to");
}

#[test]
fn rests_grow_from_ten_seconds_to_a_minute_and_end_with_a_connection() {
    let load = Load::new(address(0), Mono(0));
    load.failed(NOW);
    load.failed(NOW);
    assert!(!load.rests(NOW));
    for secs in [10, 20, 40, 60, 60] {
        load.failed(NOW);
        assert!(load.rests(Mono(later(secs).0 - 1)) && !load.rests(later(secs)), "{secs}");
    }
    load.connected();
    assert!(!load.rests(NOW));
    load.failed(NOW);
    assert!(!load.rests(NOW), "it begins anew");
}

proptest! {
    #[test]
    fn rest_leaves_out_at_most_half_and_never_the_last(
        rests in prop::collection::vec(any::<bool>(), 1..12),
        policy in 0..3_usize,
    ) {
        let count = rests.len();
        let (all, loads, lb) =
            (endpoints(&vec![false; count]), loads(count), balancing(EVERY[policy].clone()));
        rests.iter().zip(&loads).filter(|(rests, _)| **rests).for_each(|(_, load)| tire(load));
        let mut asked = vec![false; count];
        for n in 0..2_000 {
            asked[choose(&all, &loads, &choice(&lb, n)).expect("one")] = true;
        }
        let out = asked.iter().filter(|asked| !**asked).count();
        prop_assert_eq!(out, rests.iter().filter(|rests| **rests).count().min(count / 2));
        for (asked, rests) in asked.iter().zip(&rests) {
            prop_assert!(*asked || *rests, "who does not rest is asked");
        }
    }

    #[test]
    fn one_that_comes_or_goes_moves_only_its_own_clients(count in 2..12_usize, gone in 0..12_usize) {
        let gone = gone % count;
        let (all, lb) = (endpoints(&vec![false; count]), balancing(LbPolicy::IpHash));
        let some: Vec<_> = (0..count).filter(|at| *at != gone).map(|at| all[at].clone()).collect();
        let fewer: Vec<_> = some.iter().map(|it| Load::new(it.address, Mono(0))).collect();
        let loads = loads(count);
        let mut moved = 0;
        for client in 0..2_000_u64 {
            let one = Choice { affinity: mix(client), ..choice(&lb, client) };
            let before = choose(&all, &loads, &one).expect("one");
            let after = &some[choose(&some, &fewer, &one).expect("one")];
            if before == gone {
                moved += 1;
            } else {
                prop_assert_eq!(&all[before].instance, &after.instance);
            }
        }
        let fair = 2_000 / count;
        prop_assert!((fair * 7 / 10..=fair * 13 / 10).contains(&moved), "{} of {}", moved, fair);
    }

    #[test]
    fn what_was_tried_is_the_last_resort_and_the_own_node_comes_first(
        locals in prop::collection::vec(any::<bool>(), 1..8),
        tried in prop::collection::vec(0..8_usize, 0..8),
        policy in 0..4_usize,
        number in any::<u64>(),
    ) {
        let (all, loads) = (endpoints(&locals), loads(locals.len()));
        let lb = LoadBalancing { prefer_local: true, ..balancing(EVERY[policy].clone()) };
        let one = Choice { tried: &tried, ..choice(&lb, number) };
        let chosen = choose(&all, &loads, &one).expect("one");
        let fresh: Vec<_> = (0..all.len()).filter(|at| !tried.contains(at)).collect();
        prop_assert!(fresh.is_empty() || fresh.contains(&chosen));
        let has_local = fresh.iter().any(|at| locals[*at]);
        prop_assert!(!has_local || locals[chosen]);
    }

    #[test]
    fn a_client_stays_where_its_cookie_says(
        count in 1..8_usize,
        wanted in 0..8_usize,
        policy in 0..4_usize,
        number in any::<u64>(),
    ) {
        let wanted = wanted % count;
        let (all, loads) = (endpoints(&vec![false; count]), loads(count));
        let lb = balancing(EVERY[policy].clone());
        let one = Choice { wanted: Some(wanted), ..choice(&lb, number) };
        prop_assert_eq!(choose(&all, &loads, &one), Ok(wanted));
        let again = Choice { tried: &[wanted], ..one };
        prop_assert_eq!(choose(&all, &loads, &again) == Ok(wanted), count == 1);
    }
}
