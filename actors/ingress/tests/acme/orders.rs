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
fn a_certificate_is_renewed_as_the_authority_advises() {
    let options = PebbleOptions { validity: Some(60), ..PebbleOptions::default() };
    let pebble = Pebble::start_with(options);
    let mut world = World::new(&pebble, &[DOMAIN]);
    world.run_until(false, |state| {
        let advice = state.certificates.get(DOMAIN).and_then(|known| known.ari.as_ref());
        advice.is_some_and(|advice| advice.window.is_some() && advice.id.contains('.'))
    });
    let is_renewed =
        |state: &jaco_state::State| state.audit().any(|event| event.kind == "certificate_renewed");
    world.run_until(false, is_renewed);
    assert_eq!(world.audited(), ["certificate_issued", "certificate_renewed"]);
    let state = world.state();
    assert_eq!(state.certificates[DOMAIN].counted.len(), 1, "what replaces does not count");
    pebble.verify(&world.chain(DOMAIN), DOMAIN);
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
