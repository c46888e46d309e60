//! Orders of certificates with an authority that is a function, in time that is a number.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod dns;
mod limits;
mod renewal;
mod world;

use jaco_ingress_core::acme::{Answer, Call, CallFailure, PeerProgress, Settings};
use jaco_model::NodeId;
use jaco_model::entity::CaKind;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use world::{DAY, HOUR, World};

const DIRECTORY: &str = "https://ca.example/dir";

fn n_orders(world: &World) -> usize {
    world.orders.len()
}

/// Numbers of steps or calls at which something happens.
fn moments() -> impl Strategy<Value = BTreeSet<usize>> {
    prop::collection::btree_set(0_usize..16, 0..12)
}

proptest! {
    /// Leaders end after any steps and while any call is under way, outcomes of proposals are lost.
    #[test]
    fn any_leaders_make_one_order_and_one_certificate(
        deaths in moments(),
        lost in moments(),
        unheard in moments(),
    ) {
        let mut world = World::new(DIRECTORY, &["n1"]);
        (world.deaths, world.lost, world.unheard) = (deaths, lost, unheard);
        world.run_for(HOUR);
        prop_assert_eq!(n_orders(&world), 1);
        prop_assert_eq!(world.audited("certificate_issued"), 1);
        prop_assert!(world.issued().is_some());
    }
}

#[test]
fn a_rehearsal_comes_first_and_is_not_served() {
    let mut world = World::new(Settings::PRODUCTION, &["n1"]);
    world.run_for(HOUR);
    let directories: Vec<String> = world.ordered_at();
    assert_eq!(directories, [Settings::STAGING, Settings::PRODUCTION]);
    assert_eq!(world.issued().map(|issued| issued.environment), Some(CaKind::Production));
    world.run_for(58 * DAY);
    assert_eq!(n_orders(&world), 2, "too early");
    world.run_for(4 * DAY);
    assert_eq!(world.ordered_at().last().map(String::as_str), Some(Settings::PRODUCTION));
    assert_eq!((n_orders(&world), world.audited("certificate_renewed")), (3, 1));
}

#[test]
fn the_authority_is_told_when_every_living_node_can_answer() {
    let told = |world: &World| {
        let mut calls = world.calls.iter();
        calls.find(|(_, call)| matches!(call, Call::Tell { .. })).map(|(at, _)| *at)
    };
    let progress =
        |applied, up| BTreeMap::from([(NodeId::from("n2"), PeerProgress { applied, up })]);
    let mut world = World::new(DIRECTORY, &["n1", "n2"]);
    world.progress(progress(0, true));
    world.run_for(30_000);
    assert_eq!(told(&world), None, "a living node cannot answer yet");
    world.progress(progress(u64::MAX, true));
    world.run_for(1_000);
    assert!(told(&world).is_some());

    let mut world = World::new(DIRECTORY, &["n1", "n2"]);
    world.progress(progress(0, false));
    world.run_for(9_000);
    assert_eq!(told(&world), None, "a dead node has ten seconds");
    // Another leader begins to count anew.
    world.run_for(12_000);
    assert!(told(&world).is_some());
}

#[test]
fn a_limit_of_the_authority_holds_the_account() {
    let mut world = World::new(DIRECTORY, &["n1"]);
    world.answer = |call, n| match call {
        Call::NewOrder { .. } if n == 0 => Some(Err(CallFailure::Problem {
            kind: "rateLimited".to_owned(),
            detail: "too many".to_owned(),
            status: 429,
            retry_after: Some(Duration::from_secs(5 * 3600)),
        })),
        _ => None,
    };
    world.run_for(5 * HOUR - 10_000);
    assert_eq!(n_orders(&world), 1, "asked again too early");
    assert_eq!(world.audited("certificate_failed"), 1);
    world.run_for(20_000);
    assert_eq!((n_orders(&world), world.issued().is_some()), (2, true));
}

#[test]
fn failed_validations_are_tried_at_growing_intervals() {
    let mut world = World::new(DIRECTORY, &["n1"]);
    world.answer = |call, _| match call {
        Call::Poll { .. } => {
            let detail = "nobody answers".to_owned();
            Some(Ok(Answer::Invalid { kind: "unauthorized".to_owned(), detail }))
        }
        _ => None,
    };
    world.run_for(3 * DAY);
    let times = world.order_times();
    let gaps: Vec<u64> = times.windows(2).map(|pair| (pair[1] - pair[0]) / 60_000).collect();
    assert_eq!(gaps[..4], [15, 30, 60, 60], "{gaps:?}");
    assert_eq!(gaps.last(), Some(&360), "{gaps:?}");
}

#[test]
fn an_order_is_given_up_after_an_hour_of_silence() {
    let mut world = World::new(DIRECTORY, &["n1"]);
    world.answer = |call, _| match call {
        Call::Poll { .. } => {
            let detail = "connection refused".to_owned();
            Some(Err(CallFailure::Transport { detail, retry_after: None }))
        }
        _ => None,
    };
    world.run_for(HOUR + 60_000);
    assert_eq!((n_orders(&world), world.audited("certificate_failed")), (1, 1));
    let n_polls = world.calls.iter().filter(|(_, call)| matches!(call, Call::Poll { .. })).count();
    assert!((12..=20).contains(&n_polls), "{n_polls} polls in an hour");
}
