//! Orders that go through more than one node of one domain sees: wildcards, lost answers, nonces,
//! renewals.

use crate::hooks::teller;
use crate::pebble::Pebble;
use crate::world::World;
use jaco_lab::PebbleOptions;
use jaco_model::spec::Challenge;
use std::collections::BTreeMap;

const DOMAIN: &str = "shop.example.test";
const WILDCARD: &str = "*.shop.example.test";

/// Wildcard and domain are proven under one name, each by a record of its own.
#[test]
fn a_wildcard_is_proven_by_a_record_whatever_leaders_do() {
    let pebble = Pebble::start_with(PebbleOptions::default());
    let dir = tempfile::tempdir().unwrap();
    let providers = BTreeMap::from([("hook".to_owned(), teller(dir.path(), pebble.names()))]);
    let by_hook = || Challenge::Dns("hook".to_owned());
    let mut world = World::with(&pebble, &[(WILDCARD, by_hook())], providers);
    world.run(true);
    pebble.verify(&world.chain(WILDCARD), "any.shop.example.test");
    assert_eq!(world.n_orders(), 1, "orders asked for");
    // The record goes after the certificate has come.
    world.run_until(true, |state| state.challenge_tokens.is_empty());
}

#[test]
fn an_order_that_nobody_heard_of_is_taken_up() {
    let pebble = Pebble::start_with(PebbleOptions::default());
    let mut world = World::new(&pebble, &[DOMAIN]);
    world.does_not_hear_of_an_order();
    world.run(false);
    pebble.verify(&world.chain(DOMAIN), DOMAIN);
    assert_eq!((world.n_orders(), world.n_leaders()), (1, 2), "orders and leaders");
    assert_eq!(world.audited(), ["certificate_issued"]);
}

#[test]
fn nine_nonces_of_ten_may_be_refused() {
    let pebble = Pebble::start_with(PebbleOptions { bad_nonces: 90, ..PebbleOptions::default() });
    let mut world = World::new(&pebble, &[DOMAIN]);
    world.run(false);
    pebble.verify(&world.chain(DOMAIN), DOMAIN);
    assert_eq!(world.n_orders(), 1, "orders asked for");
    assert_eq!(world.audited(), ["certificate_issued"], "no attempt was lost");
}

#[test]
fn the_authority_advises_when_to_renew() {
    let pebble = Pebble::start_with(PebbleOptions::default());
    let mut world = World::new(&pebble, &[DOMAIN]);
    world.run_until(false, |state| {
        let advice = state.certificates.get(DOMAIN).and_then(|known| known.ari.as_ref());
        advice.is_some_and(|advice| advice.window.is_some() && advice.id.contains('.'))
    });
    let state = world.state();
    let window = state.certificates[DOMAIN].ari.as_ref().unwrap().window.clone().unwrap();
    assert!(window.start <= window.chosen_at && window.chosen_at < window.end, "{window:?}");
}

#[test]
fn a_domain_without_an_address_is_not_ordered() {
    let pebble = Pebble::start_with(PebbleOptions::default());
    pebble.names().tell("set-default-ipv4", &serde_json::json!({ "ip": "" })).unwrap();
    let mut world = World::new(&pebble, &[DOMAIN]);
    world.run_until(false, |state| {
        state.certificates.get(DOMAIN).is_some_and(|known| known.failure.is_some())
    });
    let row = jaco_state::certificate(&world.state(), DOMAIN);
    assert_eq!((row.state, world.n_orders()), ("preflight_failed", 0));
    assert!(row.last_error.unwrap_or_default().contains("does not resolve"));
}
