//! Accounts that an authority binds to a customer of its own (RFC 8555 §7.3.4).

use crate::pebble::Pebble;
use crate::world::World;
use jaco_ingress::acme::{AccountBinding, Config, Resolvers};
use jaco_kit::Clock;
use jaco_lab::PebbleOptions;
use jaco_model::spec::{Challenge, SecretText};
use std::collections::BTreeMap;

const DOMAIN: &str = "shop.example.test";
const KEY_ID: &str = "customer-7";
/// 32 bytes, and others.
const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY";
const OTHER_KEY: &str = "ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA";

/// An authority with one customer, and a world that shows this key.
fn start(key: Option<&str>) -> (Pebble, World) {
    let bindings = BTreeMap::from([(KEY_ID.to_owned(), KEY.to_owned())]);
    let pebble = Pebble::start_with(PebbleOptions { bindings, ..PebbleOptions::default() });
    let binding = key
        .map(|key| AccountBinding { key_id: KEY_ID.to_owned(), key: Some(SecretText::new(key)) });
    let resolvers = Resolvers::Listed(vec![pebble.names().server()]);
    let config = Config { binding, resolvers, ..Config::new(Clock::new()) };
    let world = World::configured(&pebble, config, &[(DOMAIN, Challenge::Http)]);
    (pebble, world)
}

#[test]
fn an_account_is_bound_to_the_customer() {
    let (pebble, mut world) = start(Some(KEY));
    world.run(false);
    pebble.verify(&world.chain(DOMAIN), DOMAIN);
    assert_eq!(world.n_orders(), 1, "orders asked for");
}

#[test]
fn an_account_that_is_not_bound_is_told() {
    for (key, part) in
        [(None, "externalAccountBinding"), (Some(OTHER_KEY), "acme:error"), (Some("?"), KEY_ID)]
    {
        let (_pebble, mut world) = start(key);
        let standing = |state: &jaco_state::State| {
            state.acme_standings.values().find_map(|standing| standing.failure.clone())
        };
        world.run_until(false, |state| standing(state).is_some());
        let failure = standing(&world.state()).unwrap();
        assert!(failure.detail.contains(part), "{key:?}: {}", failure.detail);
        assert!(!failure.detail.contains(OTHER_KEY), "{}", failure.detail);
        let row = jaco_state::certificate(&world.state(), DOMAIN);
        assert_eq!(
            (row.state, row.class.as_deref(), world.n_orders()),
            ("backoff", Some("account"), 0)
        );
    }
}
