//! Renewals at a real authority whose certificates live for an hour. The test's time runs ahead of
//! the authority's between orders, which is why the next certificate seems to be an older one.

use crate::pebble::Pebble;
use crate::world::World;
use jaco_ingress_core::acme::{AccountRef, Answer, Call, CallFailure};
use jaco_lab::PebbleOptions;
use jaco_model::WallMs;
use jaco_model::command::AcmeChange;
use jaco_model::entity::IssuedCertificate;

const DOMAIN: &str = "shop.example.test";
const MINUTE: u64 = 60_000;
/// Every kind of call of a renewal by HTTP-01.
const CALLS: [&str; 7] = ["advice", "new-order", "challenge", "tell", "poll", "key", "finalize"];

fn pebble(bad_nonces: u8) -> Pebble {
    let validity = Some(3_600);
    Pebble::start_with(PebbleOptions { bad_nonces, sleep: 2, validity, ..Default::default() })
}

fn issued(world: &World) -> IssuedCertificate {
    world.state().certificates[DOMAIN].issued.clone().unwrap()
}

/// A world with a certificate of an hour that its authority wants renewed a quarter to half an hour
/// after it came.
fn with_certificate(pebble: &Pebble) -> (World, IssuedCertificate) {
    let mut world = World::new(pebble, &[DOMAIN]);
    world.skip_time();
    world.run(false);
    let first = issued(&world);
    let life = first.not_after.0 - first.not_before.0;
    assert!((59 * MINUTE..=60 * MINUTE).contains(&life), "{life} ms");
    let at = |minutes: u64| WallMs(first.issued_at.0 + minutes * MINUTE);
    pebble.advise(&first.chain, at(15), at(30));
    (world, first)
}

fn renew(world: &mut World, first: &IssuedCertificate, leaders_die: bool) -> IssuedCertificate {
    let before = first.issued_at;
    world.run_until(leaders_die, |state| {
        state.certificates[DOMAIN].issued.as_ref().is_some_and(|now| now.issued_at != before)
    });
    issued(world)
}

/// What the orders were to replace.
fn replaced(world: &World) -> Vec<Option<String>> {
    let begun = world.changes().iter().filter_map(|change| match change {
        AcmeChange::Begin { replaces, .. } => Some(replaces.clone()),
        _ => None,
    });
    begun.collect()
}

/// The outcome of one more order that is to replace a certificate.
fn order_by_hand(world: &World, replaces: &str) -> Result<Answer, CallFailure> {
    let state = world.state();
    let account = state.acme_accounts.values().next().unwrap();
    let credentials = account.credentials.clone();
    world.ask(Call::NewOrder {
        account: AccountRef { directory: account.directory.clone(), credentials },
        account_url: account.url.clone(),
        domain: DOMAIN.to_owned(),
        replaces: Some(replaces.to_owned()),
        look: false,
    })
}

fn assert_renewed(pebble: &Pebble, world: &World, first: &IssuedCertificate) -> String {
    let second = issued(world);
    pebble.verify(&second.chain, DOMAIN);
    assert_ne!(second.chain, first.chain);
    assert_ne!(second.key.reveal(), first.key.reveal(), "every certificate has a key of its own");
    let after = (second.issued_at.0 - first.issued_at.0) / MINUTE;
    // A third of its life passes first, whatever the authority advises.
    assert!((20..=31).contains(&after), "renewed after {after} minutes");
    assert_eq!(world.n_orders(), 2, "orders asked for");
    assert_eq!(world.audited(), ["certificate_issued", "certificate_renewed"]);
    let replaced = replaced(world);
    let [None, Some(id)] = replaced.as_slice() else { panic!("{replaced:?}") };
    let is_given_up = |change: &AcmeChange| matches!(change, AcmeChange::NotReplacing { .. });
    assert!(!world.changes().iter().any(is_given_up), "Pebble takes what is replaced");
    let log = pebble.log();
    assert!(log.contains("is a replacement of"), "{log}");
    id.clone()
}

#[test]
fn a_certificate_of_an_hour_is_renewed_in_time_and_replaced_once() {
    let pebble = pebble(90);
    let (mut world, first) = with_certificate(&pebble);
    renew(&mut world, &first, false);
    let id = assert_renewed(&pebble, &world, &first);
    world.run_idle();
    let again = order_by_hand(&world, &id).unwrap_err();
    let CallFailure::Problem { kind, status, .. } = &again else { panic!("{again:?}") };
    assert_eq!((kind.as_str(), *status), ("alreadyReplaced", 409));
}

/// After every step, and with every kind of answer under way.
#[test]
fn leaders_that_die_anywhere_in_a_renewal_make_one_order() {
    let pebble = pebble(90);
    let (mut world, first) = with_certificate(&pebble);
    world.is_deaf_to(&CALLS);
    let n_leaders = world.n_leaders();
    renew(&mut world, &first, true);
    assert!(world.deaf_to().is_empty(), "nobody asked for {:?}", world.deaf_to());
    assert!(world.n_leaders() - n_leaders >= 13, "{} leaders", world.n_leaders() - n_leaders);
    assert_renewed(&pebble, &world, &first);
    world.run_idle();
}

/// A state from before the renewal, of a backup for instance, knows nothing of it.
#[test]
fn a_certificate_that_was_replaced_already_is_renewed_without_saying_so() {
    let pebble = pebble(40);
    let (mut world, first) = with_certificate(&pebble);
    let before = world.state();
    renew(&mut world, &first, false);
    assert_renewed(&pebble, &world, &first);
    world.restore(before);
    let third = renew(&mut world, &first, false);
    pebble.verify(&third.chain, DOMAIN);
    let is_given_up = |change: &&AcmeChange| matches!(change, AcmeChange::NotReplacing { .. });
    assert_eq!(world.changes().iter().filter(is_given_up).count(), 1);
    assert_eq!(world.n_orders(), 3, "orders asked for");
    assert_eq!(world.audited(), ["certificate_issued", "certificate_renewed"]);
}
