//! How many requests are let in, and how many are tried again.

use crate::support::{NOW, later};
use jaco_ingress_core::request::{Buckets, Budget, Retries, Tried, Who};
use jaco_kit_core::Mono;
use jaco_model::Millis;
use jaco_model::spec::{LoadBalancing, RateKey, RateLimit};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

fn limit(requests: u32, per: Millis, burst: u32) -> RateLimit {
    RateLimit { requests, per, burst, key: RateKey::Ip }
}

fn client(n: u32) -> Who {
    Who::Address(IpAddr::V4(Ipv4Addr::from(n)))
}

#[test]
fn a_bucket_is_empty_after_its_burst_and_says_when_it_is_not() {
    let (mut buckets, limit) = (Buckets::default(), limit(2, Millis::secs(1), 3));
    for _ in 0..3 {
        assert_eq!(buckets.take(&limit, Who::All, NOW), Ok(()));
    }
    let wait = buckets.take(&limit, Who::All, NOW).expect_err("it is empty");
    assert_eq!(wait.as_millis(), 500);
    assert_eq!(buckets.take(&limit, client(1), NOW), Ok(()), "another one's is not");
    assert_eq!(buckets.take(&limit, Who::All, NOW.plus(wait)), Ok(()));
    assert!(buckets.take(&limit, Who::All, NOW.plus(wait)).is_err());
}

#[test]
fn memory_is_bounded_whoever_asks() {
    let (mut buckets, limit) = (Buckets::default(), limit(1, Millis::secs(3_600), 1));
    for n in 0..30_000 {
        assert_eq!(buckets.take(&limit, client(n), NOW), Ok(()));
    }
    assert!(buckets.len() <= 10_000, "{}", buckets.len());
}

#[test]
fn only_what_does_no_harm_is_sent_again_after_it_was_sent() {
    let budget = Budget::default();
    let mut lb = LoadBalancing::default();
    let again = |lb: &LoadBalancing, is_safe, tried| {
        Retries::new(is_safe, NOW).again(lb, tried, &budget, NOW)
    };
    assert!(again(&lb, false, Tried::Unsent));
    assert!(!again(&lb, false, Tried::Lost));
    assert!(again(&lb, true, Tried::Lost));
    assert!(!again(&lb, true, Tried::Answered(503)));
    lb.retry_on = BTreeSet::from([503]);
    assert!(!again(&lb, false, Tried::Answered(503)));
    assert!(!again(&lb, true, Tried::Answered(502)));
    assert!(again(&lb, true, Tried::Answered(503)));
}

#[test]
fn a_budget_that_is_used_up_stops_all_but_what_reached_nobody() {
    let (budget, lb) = (Budget::default(), LoadBalancing::default());
    let again = |tried| Retries::new(true, NOW).again(&lb, tried, &budget, NOW);
    assert_eq!((0..50).filter(|_| again(Tried::Lost)).count(), 3);
    assert_eq!((0..50).filter(|_| again(Tried::Unsent)).count(), 50);
    assert!(!again(Tried::Lost));
}

#[test]
fn tries_are_bounded_in_number_and_in_time() {
    let (budget, lb) = (Budget::default(), LoadBalancing::default());
    (0..1_000).for_each(|_| budget.request(NOW));
    let mut retries = Retries::new(true, NOW);
    let mut again = |now| retries.again(&lb, Tried::Lost, &budget, now);
    assert!(again(NOW) && again(later(9)));
    assert!(!again(later(9)));
    let mut retries = Retries::new(true, NOW);
    assert!(!retries.again(&lb, Tried::Unsent, &budget, later(10)));
}

proptest! {
    #[test]
    fn no_span_of_time_lets_more_in_than_burst_and_rate(
        requests in 1..5_000_u32,
        burst in 1..50_u32,
        per in prop::sample::select(vec![1, 60, 3_600]),
        steps in prop::collection::vec((0..400_u64, 1..40_u32), 1..40),
    ) {
        let (mut buckets, limit) = (Buckets::default(), limit(requests, Millis::secs(per), burst));
        let (mut now, mut let_in) = (NOW, Vec::new());
        for (pause, tries) in steps {
            now = Mono(now.0 + pause);
            for _ in 0..tries {
                if buckets.take(&limit, client(1), now).is_ok() {
                    let_in.push(now);
                }
            }
        }
        for (first, from) in let_in.iter().enumerate() {
            for (last, to) in let_in.iter().enumerate().skip(first) {
                let millis = u128::from(to.0 - from.0);
                // One more than the exact value, which need not be a whole number of requests.
                let most = millis * u128::from(requests) / (u128::from(per) * 1_000) + 1;
                let count = (last - first + 1) as u128;
                prop_assert!(count <= most + u128::from(burst), "{} in {} ms", count, millis);
            }
        }
    }

    #[test]
    fn retries_are_a_fifth_of_ten_seconds_or_three_a_second(
        steps in prop::collection::vec((0..3_000_u64, 0..60_u32, 0..60_u32), 1..40),
    ) {
        let (budget, mut now) = (Budget::default(), NOW);
        let (mut requests, mut retries) = (Vec::new(), Vec::new());
        for (pause, asked, tries) in steps {
            now = Mono(now.0 + pause);
            for _ in 0..asked {
                budget.request(now);
                requests.push(now);
            }
            for _ in 0..tries {
                let since = |times: &[Mono]| {
                    times.iter().filter(|at| at.0 / 1_000 + 10 > now.0 / 1_000).count()
                };
                let here = retries.iter().filter(|at: &&Mono| at.0 / 1_000 == now.0 / 1_000).count();
                let may = (since(&retries) + 1) * 5 <= since(&requests) || here < 3;
                prop_assert_eq!(budget.retry(now), may);
                if may {
                    retries.push(now);
                }
            }
        }
    }
}
