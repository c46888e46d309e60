//! What becomes of an order when the authority misbehaves (the table of reactions).

use crate::authority::{Authority, Fault, Kind, http_date};
use crate::world::World;
use jaco_model::WallMs;
use jaco_state::State;
use serde_json::json;

const DOMAIN: &str = "shop.example.test";
const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// Orders are waited for with the precision of a busy machine.
const SLACK: u64 = 20 * SECOND;

fn problem(status: u16, kind: &'static str) -> Fault {
    Fault::Problem(status, kind, Vec::new())
}

fn limited(retry_after: String) -> Fault {
    Fault::Problem(429, "rateLimited", vec![("Retry-After", retry_after)])
}

fn has_failed(state: &State) -> bool {
    state.certificates.get(DOMAIN).is_some_and(|known| known.failure.is_some())
}

/// The times between orders, from the first on.
fn gaps(world: &World) -> Vec<u64> {
    world.times("new-order").windows(2).map(|pair| pair[1] - pair[0]).collect()
}

fn assert_about(waits: &[u64], expected: &[u64]) {
    assert_eq!(waits.len(), expected.len(), "{waits:?}");
    for (wait, expected) in waits.iter().zip(expected) {
        assert!((*expected..expected + SLACK).contains(wait), "{waits:?} instead of {expected:?}");
    }
}

#[test]
fn an_authority_that_behaves_is_asked_once() {
    let authority = Authority::start();
    let mut world = World::hurried(&authority, &[DOMAIN]);
    world.run(false);
    assert_eq!((authority.count(Kind::NewOrder), authority.n_issued()), (1, 1));
    world.run_idle();
    assert_eq!(authority.orders().len(), 1);
}

#[test]
fn servers_that_are_busy_are_asked_ever_more_rarely() {
    for kind in Kind::ALL {
        let authority = Authority::start();
        authority.fail(kind, 3, Fault::Plain(503));
        let mut world = World::hurried(&authority, &[DOMAIN]);
        let begin = world.now().wall.0;
        world.run(false);
        assert_eq!((authority.orders().len(), authority.n_issued()), (1, 1), "{kind:?}");
        // 5, 10 and 20 seconds, if each of the three stopped a call.
        let took = world.now().wall.0 - begin;
        assert!((35 * SECOND..2 * MINUTE).contains(&took), "{kind:?}: {took} ms");
    }
}

#[test]
fn connections_that_break_anywhere_cost_no_second_order() {
    for kind in Kind::ALL {
        let authority = Authority::start();
        authority.fail(kind, 2, Fault::Reset);
        let mut world = World::hurried(&authority, &[DOMAIN]);
        world.run(false);
        assert_eq!((authority.orders().len(), authority.n_issued()), (1, 1), "{kind:?}");
    }
}

#[test]
fn answers_that_are_lost_anywhere_cost_no_second_certificate() {
    // Whether an order was made whose answer is lost, nobody can know.
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::NewOrder) {
        let authority = Authority::start();
        authority.fail(kind, 1, Fault::ResetAfter);
        let mut world = World::hurried(&authority, &[DOMAIN]);
        world.run(false);
        assert_eq!(authority.orders().len(), 1, "{kind:?}");
        assert_eq!(world.audited(), ["certificate_issued"], "{kind:?}");
    }
}

#[test]
fn a_nonce_that_is_refused_is_replaced_at_once() {
    for kind in [Kind::Account, Kind::NewOrder, Kind::Order, Kind::Challenge, Kind::Finalize] {
        let authority = Authority::start();
        authority.fail(kind, 2, problem(400, "badNonce"));
        let mut world = World::hurried(&authority, &[DOMAIN]);
        let begin = world.now().wall.0;
        world.run(false);
        let took = world.now().wall.0 - begin;
        assert!(took < SLACK, "{kind:?}: {took} ms");
        assert_eq!(authority.orders().len(), 1, "{kind:?}");
    }
}

#[test]
fn an_authority_that_sets_a_limit_is_left_alone_until_then() {
    let at = http_date;
    for (asked, wait) in [
        (Box::new(|_| "7200".to_owned()) as Box<dyn Fn(u64) -> String>, 2 * HOUR),
        (Box::new(move |now| at(now + 3 * HOUR)), 3 * HOUR),
        (Box::new(|_| (30 * 86_400).to_string()), 7 * DAY),
    ] {
        let authority = Authority::start();
        authority.fail(Kind::NewOrder, 1, limited(asked(authority.now())));
        let mut world = World::hurried(&authority, &[DOMAIN, "other.example.test"]);
        world.run(false);
        // Both domains were on their way; then nothing is asked until the time has come.
        let first = world.calls()[0].0.0;
        let is_early = |at: u64| (first + SLACK..first + wait - SLACK).contains(&at);
        let early: Vec<_> =
            world.calls().iter().filter(|(at, call)| *call != "advice" && is_early(at.0)).collect();
        assert_eq!(early, Vec::<&(WallMs, &str)>::new());
        let orders = world.times("new-order");
        assert_eq!(orders.len(), 3, "{orders:?}");
        assert!(orders[2] < first + wait + SLACK, "{wait}: {orders:?}");
        assert_eq!(authority.n_issued(), 2);
    }
}

#[test]
fn a_limit_without_a_time_holds_for_an_hour() {
    let authority = Authority::start();
    authority.fail(Kind::NewOrder, 1, problem(429, "rateLimited"));
    let mut world = World::hurried(&authority, &[DOMAIN]);
    world.run(false);
    assert_about(&gaps(&world), &[HOUR]);
}

#[test]
fn orders_that_fail_come_again_more_and_more_rarely() {
    let authority = Authority::start();
    authority.fail(Kind::Challenge, 40, Fault::Invalid("the file is not there"));
    let mut world = World::hurried(&authority, &[DOMAIN]);
    let is_reported = |state: &State| {
        let known = state.certificates.get(DOMAIN).and_then(|known| known.failure.as_ref());
        known.is_some_and(|failure| failure.detail.contains("the file is not there"))
    };
    world.run_until(false, is_reported);
    world.run_until(false, |state| {
        let known = state.certificates.get(DOMAIN).and_then(|known| known.failure.as_ref());
        known.is_some_and(|failure| failure.attempts >= 5)
    });
    let gaps = gaps(&world);
    assert_about(&gaps[..4], &[15 * MINUTE, 30 * MINUTE, HOUR, HOUR]);
    authority.behave();
    world.run(false);
    assert!(!has_failed(&world.state()), "success forgets failures");
}

#[test]
fn an_account_that_is_lost_is_made_anew_once() {
    let authority = Authority::start();
    authority.fail(Kind::NewOrder, 1, problem(400, "accountDoesNotExist"));
    let mut world = World::hurried(&authority, &[DOMAIN]);
    world.run(false);
    assert_eq!((authority.count(Kind::Account), authority.n_issued()), (2, 1));
}

#[test]
fn an_order_that_has_vanished_is_made_anew() {
    let authority = Authority::start();
    authority.fail(Kind::Order, 1, problem(404, "malformed"));
    let mut world = World::hurried(&authority, &[DOMAIN]);
    world.run(false);
    assert_eq!((authority.orders().len(), authority.n_issued()), (2, 1));
}

#[test]
fn a_certificate_of_another_key_is_never_taken() {
    let authority = Authority::start();
    authority.fail(Kind::Finalize, 1, Fault::WrongKey);
    let mut world = World::hurried(&authority, &[DOMAIN]);
    world.run_until(false, has_failed);
    assert!(world.state().certificates[DOMAIN].issued.is_none());
    let detail = world.state().certificates[DOMAIN].failure.clone().unwrap().detail;
    assert!(detail.contains("another key"), "{detail}");
    world.run(false);
    assert_eq!(authority.orders().len(), 2);
}

#[test]
fn leaders_that_die_beside_a_bad_authority_get_one_certificate() {
    let authority = Authority::start();
    for kind in Kind::ALL {
        authority.fail(kind, 1, Fault::Reset);
        authority.fail(kind, 1, Fault::Plain(500));
    }
    let mut world = World::hurried(&authority, &[DOMAIN]);
    world.run(true);
    assert_eq!(authority.orders().len(), 1);
    assert_eq!(world.audited(), ["certificate_issued"]);
}

fn renewed(authority: &Authority, body: impl Fn(u64) -> String + Send + Sync + 'static) -> u64 {
    authority.advise(body);
    let mut world = World::hurried(authority, &[DOMAIN]);
    world.run(false);
    let begin = world.now().wall.0;
    world.run_until(false, |state| state.audit().any(|event| event.kind == "certificate_renewed"));
    world.now().wall.0 - begin
}

/// A window as the authority writes it, in days from `now`.
fn window(now: u64, start: i64, end: i64) -> String {
    let at = |days: i64| {
        let millis = i64::try_from(now).unwrap() + days * i64::try_from(DAY).unwrap();
        WallMs(u64::try_from(millis).unwrap()).to_string()
    };
    json!({ "suggestedWindow": { "start": at(start), "end": at(end) } }).to_string()
}

#[test]
fn a_window_that_is_over_renews_as_soon_as_advice_is_followed() {
    let authority = Authority::start();
    let wait = renewed(&authority, |now| window(now, -20, -10));
    assert!(wait < 7 * HOUR, "{wait} ms");
    let orders = authority.orders();
    assert!(orders[0].get("replaces").is_none() && orders[1]["replaces"].is_string(), "{orders:?}");
}

#[test]
fn a_window_too_far_away_is_overruled_before_the_end() {
    let authority = Authority::start();
    let begin = authority.now();
    let wait = renewed(&authority, move |_| window(begin, 3_000, 3_010));
    // 90 days: a twentieth is 4.5 of them.
    assert!((85 * DAY..88 * DAY).contains(&wait), "{} days", wait / DAY);
}

#[test]
fn advice_that_makes_no_sense_leaves_the_rule_by_age() {
    for body in ["", "{}", "null", "<html>", r#"{"suggestedWindow":{"start":"x","end":7}}"#] {
        let authority = Authority::start();
        let wait = renewed(&authority, move |_| body.to_owned());
        assert!((57 * DAY..63 * DAY).contains(&wait), "{body}: {} days", wait / DAY);
    }
    let authority = Authority::start();
    let wait = renewed(&authority, |now| window(now, 10, 5));
    assert!((57 * DAY..63 * DAY).contains(&wait), "reversed: {} days", wait / DAY);
}

#[test]
fn what_was_replaced_already_is_ordered_without_saying_so() {
    let authority = Authority::start();
    authority.refuse_replacements();
    let wait = renewed(&authority, |now| window(now, -20, -10));
    assert!(wait < 7 * HOUR, "{wait} ms");
    let orders = authority.orders();
    assert_eq!(orders.len(), 2);
    assert!(orders[1].get("replaces").is_none(), "{orders:?}");
}
