//! What keeps the authority from being asked in vain, or too often.

use crate::world::{DAY, HOUR, START, World};
use jaco_ingress_core::acme::{
    AcmeCore, Answer, Call, CallFailure, Effect, Input, Settings, is_skewed,
};
use jaco_kit_core::{Core, Mono, Now, OpId, Wall};
use jaco_model::WallMs;
use jaco_model::spec::{Challenge, SecretText};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

const DIRECTORY: &str = "https://ca.example/dir";

fn problem(kind: &str, status: u16, retry_after: Option<u64>) -> CallFailure {
    CallFailure::Problem {
        kind: kind.to_owned(),
        detail: format!("it says {kind}"),
        status,
        retry_after: retry_after.map(Duration::from_secs),
    }
}

fn times(world: &World, is_it: fn(&Call) -> bool) -> Vec<u64> {
    world.calls.iter().filter(|(_, call)| is_it(call)).map(|(at, _)| *at).collect()
}

#[test]
fn a_domain_that_cannot_be_validated_is_not_ordered() {
    let mut world = World::new(DIRECTORY, &["n1"]);
    world.answer = |call, _| match call {
        Call::Preflight { .. } => Some(Ok(Answer::Invalid {
            kind: String::new(),
            detail: "a.example has no address".to_owned(),
        })),
        _ => None,
    };
    world.run_for(2 * HOUR);
    let looks = times(&world, |call| matches!(call, Call::Preflight { .. }));
    assert_eq!((looks.len(), world.orders.len()), (4, 0), "at 0, 15, 45 and 105 minutes");
    let row = jaco_state::certificates(&world.state).remove(0);
    assert_eq!(row.state, "preflight_failed");
    assert_eq!(row.last_error.as_deref(), Some("a.example has no address"));
    assert!(world.state.acme_standings.values().all(|known| known.orders.is_empty()));
    world.answer = |_, _| None;
    world.run_for(HOUR);
    assert!(world.issued().is_some());
}

#[test]
fn an_authority_of_another_time_is_not_asked() {
    let mut world = World::new(DIRECTORY, &["n1"]);
    world.answer = |call, _| match call {
        Call::NewOrder { .. } | Call::Clock { .. } => {
            Some(Err(CallFailure::Clock { authority: WallMs(START + DAY) }))
        }
        _ => None,
    };
    world.run_for(HOUR / 2);
    world.run_for(HOUR / 2);
    assert_eq!(times(&world, |call| matches!(call, Call::NewOrder { .. })).len(), 1);
    let looks = times(&world, |call| matches!(call, Call::Clock { .. }));
    assert!((4..=6).contains(&looks.len()), "every ten minutes: {looks:?}");
    assert_eq!(world.audited("clock_skew"), 1);
    let standing = world.state.acme_standings.values().next().unwrap().clone();
    assert_eq!(standing.clock.map(|clock| clock.authority), Some(WallMs(START + DAY)));
    world.answer = |_, _| None;
    world.run_for(HOUR);
    assert!(world.issued().is_some());
    assert_eq!(world.audited("clock_skew_over"), 1);
}

#[test]
fn ten_minutes_are_no_skew() {
    let at = |minutes: u64| WallMs(START + minutes * 60_000);
    assert!(!is_skewed(at(0), at(10)) && !is_skewed(at(10), at(0)));
    assert!(is_skewed(at(0), at(11)) && is_skewed(at(11), at(0)));
}

#[test]
fn refused_nonces_are_no_failure() {
    let mut world = World::new(DIRECTORY, &["n1"]);
    world.answer = |call, _| match call {
        Call::Poll { .. } => Some(Err(problem("badNonce", 400, None))),
        _ => None,
    };
    world.run_for(10 * 60_000);
    assert_eq!(world.audited("certificate_failed"), 0);
    let polls = times(&world, |call| matches!(call, Call::Poll { .. })).len();
    assert!((30..=50).contains(&polls), "{polls} polls");
    world.answer = |_, _| None;
    world.run_for(60_000);
    assert_eq!((world.orders.len(), world.issued().is_some()), (1, true));
}

#[test]
fn an_account_that_is_refused_is_in_the_state() {
    let mut world = World::new(DIRECTORY, &["n1"]);
    world.answer = |call, _| match call {
        Call::NewAccount { .. } => Some(Err(problem("invalidContact", 400, None))),
        _ => None,
    };
    world.run_for(HOUR);
    assert_eq!(times(&world, |call| matches!(call, Call::NewAccount { .. })).len(), 3);
    let row = jaco_state::certificates(&world.state).remove(0);
    assert_eq!((row.state, row.last_error.as_deref()), ("backoff", Some("it says invalidContact")));
    assert!(row.next_attempt.is_some_and(|at| at.0 > START + HOUR));
    world.answer = |_, _| None;
    world.run_for(HOUR);
    let row = jaco_state::certificates(&world.state).remove(0);
    assert_eq!((row.state, row.last_error), ("issued", None));
}

/// Leaders come and go; the wish of the authority does not.
#[test]
fn a_wish_to_wait_outlives_leaders() {
    let mut world = World::new(DIRECTORY, &["n1"]);
    world.answer = |call, _| match call {
        Call::Poll { .. } => Some(Err(problem("serverInternal", 503, Some(1_800)))),
        _ => None,
    };
    world.run_for(60_000);
    world.answer = |_, _| None;
    let waited = |world: &World| times(world, |call| matches!(call, Call::Poll { .. })).len();
    for _ in 0..27 {
        world.run_for(60_000);
        assert_eq!(waited(&world), 1);
    }
    world.run_for(3 * 60_000);
    assert_eq!((world.orders.len(), world.issued().is_some()), (1, true));
}

#[test]
fn a_wish_that_is_longer_than_an_order_ends_it() {
    let mut world = World::new(DIRECTORY, &["n1"]);
    world.answer = |call, n| match call {
        Call::Poll { .. } if n == 1 => Some(Err(problem("serverInternal", 503, Some(5 * 3600)))),
        _ => None,
    };
    world.run_for(5 * HOUR - 10_000);
    assert_eq!(world.orders.len(), 1, "asked again too early");
    world.run_for(20_000);
    assert_eq!((world.orders.len(), world.issued().is_some()), (2, true));
}

#[test]
fn fifty_domains_stay_inside_the_budget() {
    let names: Vec<String> = (0..50).map(|n| format!("n{n}.example.com")).collect();
    let routes: Vec<_> = names.iter().map(|name| (name.as_str(), Challenge::Http)).collect();
    let mut world = World::with(Settings::PRODUCTION, &["n1"], &routes);
    world.settings.skip_staging = true;
    world.run_for(HOUR);
    let n_issued = |world: &World| {
        world.state.certificates.values().filter(|known| known.issued.is_some()).count()
    };
    assert_eq!((world.orders.len(), n_issued(&world)), (40, 40));
    world.run_for(7 * DAY);
    assert_eq!((world.orders.len(), n_issued(&world)), (50, 50));
}

/// An answer to a core that is no more is not taken for one to its successor.
#[test]
fn cores_do_not_share_the_names_of_their_calls() {
    let mut world = World::new(DIRECTORY, &["n1"]);
    world.settings.enabled = false;
    world.run_for(1_000);
    let now = Now { mono: Mono(5_000), wall: Wall(START + 5_000) };
    let asked = |epoch: u32| {
        let settings = Settings { enabled: true, epoch, ..world.settings.clone() };
        let mut core = AcmeCore::new(settings);
        core.step(now, Input::StateChanged(Arc::new(world.state.clone())));
        let effects = core.step(now, Input::Leadership(Some(9)));
        let ops: BTreeSet<OpId> = effects
            .iter()
            .map(|effect| match effect {
                Effect::Ask { op, .. } | Effect::Propose { op, .. } => *op,
            })
            .collect();
        (core, ops)
    };
    let (_, before) = asked(0);
    let (mut core, after) = asked(1);
    assert!(!before.is_empty() && before.is_disjoint(&after));
    let credentials = SecretText::new("of another");
    for op in before {
        let answer =
            Answer::Account { url: "account".to_owned(), credentials: credentials.clone() };
        let effects = core.step(now, Input::Answered { op, result: Ok(answer) });
        assert_eq!(effects, Vec::new());
    }
}
