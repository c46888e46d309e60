//! Certificates from a real authority: Pebble on the loopback interface.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod authority;
mod binding;
mod dns;
mod faults;
mod hooks;
mod knot;
mod node;
mod orders;
mod pebble;
mod preflight;
mod renewal;
mod world;

use pebble::Pebble;
use world::World;

const DOMAIN: &str = "shop.example.test";

#[test]
fn a_domain_gets_one_certificate_of_one_order() {
    let pebble = Pebble::start();
    let mut world = World::new(&pebble, &[DOMAIN]);
    world.run(false);
    pebble.verify(&world.chain(DOMAIN), DOMAIN);
    assert_eq!(world.n_orders(), 1, "orders asked for");
    assert_eq!(world.audited(), ["certificate_issued"]);
    world.run_idle();
    assert_eq!(world.n_orders(), 1, "no second order");
}

#[test]
fn leaders_that_die_after_every_step_get_one_certificate_of_one_order() {
    let pebble = Pebble::start();
    let mut world = World::new(&pebble, &[DOMAIN]);
    world.run(true);
    pebble.verify(&world.chain(DOMAIN), DOMAIN);
    assert!(world.n_leaders() >= 6, "{} leaders", world.n_leaders());
    assert_eq!(world.n_orders(), 1, "orders asked for");
    assert_eq!(world.audited(), ["certificate_issued"]);
}

#[test]
fn many_domains_are_ordered_each_once() {
    let pebble = Pebble::start();
    let domains: Vec<String> = (0..15).map(|n| format!("d{n}.example.test")).collect();
    let domains: Vec<&str> = domains.iter().map(String::as_str).collect();
    let mut world = World::new(&pebble, &domains);
    world.run(false);
    for domain in &domains {
        pebble.verify(&world.chain(domain), domain);
    }
    assert_eq!(world.n_orders(), 15, "orders asked for");
    assert!(world.most_live() <= 10, "{} at a time", world.most_live());
}

#[test]
fn a_domain_that_leads_elsewhere_fails_with_the_authoritys_words() {
    let pebble = Pebble::start();
    let mut world = World::new(&pebble, &[DOMAIN]);
    world.answers_nothing();
    world.run_until(false, |state| {
        state.certificates.get(DOMAIN).is_some_and(|known| known.failure.is_some())
    });
    let rows = jaco_state::certificates(&world.state());
    assert_eq!((rows.len(), rows[0].state), (1, "backoff"));
    let detail = rows[0].last_error.clone().unwrap_or_default();
    assert!(detail.contains("unauthorized"), "{detail}");
    assert_eq!(world.audited(), ["certificate_failed"]);
}
