//! Orders that go through more than one node of one domain sees: wildcards, lost answers, nonces,
//! renewals.

use crate::dns::{is_everywhere, publisher, updates};
use crate::hooks::teller;
use crate::knot::{KEY, Knot, ZONE};
use crate::node::Providers;
use crate::pebble::Pebble;
use crate::world::World;
use jaco_lab::PebbleOptions;
use jaco_model::command::AcmeChange;
use jaco_model::spec::{Challenge, DnsProvider, SecretText, TsigAlgorithm};
use std::collections::BTreeMap;

const DOMAIN: &str = "shop.example.test";
const WILDCARD: &str = "*.shop.example.test";

/// Wildcard and domain are proven under one name, each by a record of its own.
#[test]
fn a_wildcard_is_proven_by_a_record_whatever_leaders_do() {
    let pebble = Pebble::start_with(PebbleOptions::default());
    let dir = tempfile::tempdir().unwrap();
    let providers =
        BTreeMap::from([("hook".to_owned(), (teller(dir.path(), pebble.names()), None))]);
    let by_hook = || Challenge::Dns("hook".to_owned());
    let mut world = World::with(&pebble, &[(WILDCARD, by_hook())], providers);
    world.run(true);
    pebble.verify(&world.chain(WILDCARD), "any.shop.example.test");
    assert_eq!(world.n_orders(), 1, "orders asked for");
    // The record goes after the certificate has come.
    world.run_until(true, |state| state.challenge_tokens.is_empty());
}

/// Pebble asks the zone's own server, where signed updates put and remove the records.
fn prove_by_updates(make: impl FnOnce(&Pebble, &[(&str, Challenge)], Providers) -> World) {
    let knot = Knot::start("hmac-sha256");
    let names = Some(knot.server());
    let pebble = Pebble::start_with(PebbleOptions { names, sleep: 2, ..PebbleOptions::default() });
    let resolvers = vec![knot.server()];
    let provider = DnsProvider { resolvers, ..updates(knot.server(), TsigAlgorithm::HmacSha256) };
    let publisher = publisher(&knot, &provider, KEY);
    let key = Some(SecretText::new(KEY));
    let by_updates = || Challenge::Dns("zone".to_owned());
    let wildcard = format!("*.{ZONE}");
    let routes = [(ZONE, by_updates()), (wildcard.as_str(), by_updates())];
    let mut world = make(&pebble, &routes, Providers::from([("zone".to_owned(), (provider, key))]));
    world.run(false);
    pebble.verify(&world.chain(ZONE), ZONE);
    pebble.verify(&world.chain(&wildcard), &format!("any.{ZONE}"));
    assert_eq!(world.n_orders(), 2, "orders asked for");
    assert_eq!(world.audited(), ["certificate_issued", "certificate_issued"]);
    world.run_until(false, |state| state.challenge_tokens.is_empty());
    let records = world.changes().iter().filter_map(|change| match change {
        AcmeChange::Challenge { record, .. } => record.as_ref(),
        _ => None,
    });
    let records: Vec<&String> = records.collect();
    assert_eq!(records.len(), 2, "both are proven by a record");
    for record in records {
        let name = format!("_acme-challenge.{ZONE}");
        assert!(!is_everywhere(&publisher, &name, record), "{record} is removed");
    }
}

#[test]
fn a_domain_and_its_wildcard_are_proven_in_a_zone_of_a_name_server() {
    prove_by_updates(World::with);
}

#[test]
fn a_deployment_proves_its_domains_by_a_provider_of_its_own() {
    prove_by_updates(|pebble, routes, own| World::owning(pebble, routes, &own));
}

#[test]
fn an_order_that_nobody_heard_of_is_taken_up() {
    let pebble = Pebble::start_with(PebbleOptions::default());
    let mut world = World::new(&pebble, &[DOMAIN]);
    world.is_deaf_to(&["new-order"]);
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
