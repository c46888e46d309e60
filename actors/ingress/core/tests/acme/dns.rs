//! Wildcards: proven by records, which are seen everywhere before and gone after.

use crate::moments;
use crate::world::{HOUR, World};
use jaco_ingress_core::acme::{Answer, Call, CallFailure};
use jaco_model::spec::SecretText;
use proptest::prelude::*;

fn count(world: &World, is_it: fn(&Call) -> bool) -> usize {
    world.calls.iter().filter(|(_, call)| is_it(call)).count()
}

proptest! {
    #[test]
    fn any_leaders_leave_one_certificate_and_no_record(
        deaths in moments(),
        lost in moments(),
        unheard in moments(),
    ) {
        let mut world = World::by_dns();
        (world.deaths, world.lost, world.unheard) = (deaths, lost, unheard);
        world.run_for(HOUR);
        prop_assert_eq!(world.orders.len(), 1);
        prop_assert_eq!(world.audited("certificate_issued"), 1);
        prop_assert!(world.records.is_empty(), "left behind: {:?}", world.records);
        prop_assert!(world.state.challenge_tokens.is_empty());
        let mut calls = world.calls.iter().map(|(_, call)| call);
        let told = calls.position(|call| matches!(call, Call::Tell { .. }));
        let seen = world.calls.iter().position(|(_, call)| matches!(call, Call::Propagated(_)));
        prop_assert!(seen < told, "told before the record was seen");
    }
}

#[test]
fn a_record_that_nobody_sees_ends_the_order() {
    let mut world = World::by_dns();
    world.answer = |call, n| match call {
        Call::Propagated(_) if n == 1 => {
            let detail = "ns1.example has nothing".to_owned();
            Some(Ok(Answer::Waiting { retry_after: None, detail }))
        }
        _ => None,
    };
    world.run_for(HOUR);
    let n_told = count(&world, |call| matches!(call, Call::Tell { .. }));
    assert_eq!((world.orders.len(), n_told), (2, 1), "only the second order was told");
    assert_eq!(world.audited("certificate_failed"), 1);
    assert!(world.records.is_empty() && world.issued().is_some());
    let failed = world.state.audit().find(|event| event.kind == "certificate_failed").unwrap();
    assert!(failed.payload["detail"].contains("ns1.example has nothing"), "{:?}", failed.payload);
}

#[test]
fn a_provider_that_fails_is_tried_again_and_then_told_of() {
    let mut world = World::by_dns();
    world.answer = |call, _| match call {
        Call::Publish(_) => {
            Some(Err(CallFailure::Provider { detail: "the hook ended with 3".to_owned() }))
        }
        _ => None,
    };
    world.run_for(10 * 60_000);
    let failure = world.known().unwrap().failure.clone().unwrap();
    assert_eq!((failure.class.as_str(), failure.attempts), ("dns", 1));
    assert_eq!(failure.detail, "the hook ended with 3");
    assert_eq!(count(&world, |call| matches!(call, Call::Publish(_))), 6);
}

#[test]
fn a_provider_that_nobody_knows_is_told_of_and_nothing_is_ordered() {
    let mut world = World::by_dns();
    world.settings.providers.clear();
    world.run_for(HOUR);
    assert!(world.orders.is_empty());
    let failure = world.known().unwrap().failure.clone().unwrap();
    assert!(failure.detail.contains("zone"), "{}", failure.detail);
}

/// A deployment's own provider goes before that of the configuration with the same name, and its
/// secret goes with every call.
#[test]
fn a_provider_of_the_deployment_is_handed_on_with_its_secret() {
    let mut world = World::by_own_provider();
    world.settings.providers.clear();
    world.run_for(HOUR);
    assert_eq!((world.orders.len(), world.audited("certificate_issued")), (1, 1));
    assert!(world.records.is_empty(), "left behind: {:?}", world.records);
    let mut records = 0;
    for (_, call) in &world.calls {
        let (Call::Publish(record) | Call::Propagated(record) | Call::Unpublish(record)) = call
        else {
            continue;
        };
        let (provider, secret) = record.own.as_deref().unwrap();
        assert_eq!(provider.method.secret(), Some("credentials"));
        assert_eq!(secret.as_ref().map(SecretText::reveal), Some("hush"));
        assert!(!format!("{call:?}").contains("hush"));
        records += 1;
    }
    assert_eq!(records, 3, "published, seen and removed");
}

#[test]
fn a_provider_of_another_deployment_is_nobody() {
    let mut world = World::by_own_provider();
    let name = |name: &str| jaco_state::own_provider(&world.state, name).is_some();
    assert!(name("shop/zone"));
    for other in ["zone", "shop/other", "other/zone", "shop", "/zone", ""] {
        assert!(!name(other), "{other}");
    }
    world.state = jaco_state::State::default();
    assert!(jaco_state::own_provider(&world.state, "shop/zone").is_none());
}

/// An authority gives the token of an order that failed out again: its record stays.
#[test]
fn a_record_is_not_removed_under_an_order_that_needs_it() {
    let mut world = World::by_dns();
    world.answer = |call, n| match call {
        Call::Challenge { .. } => Some(Ok(Answer::Challenge {
            url: "challenge".to_owned(),
            token: "the-same".to_owned(),
            key_authorisation: String::new(),
            record: Some("digest".to_owned()),
        })),
        Call::Poll { .. } if n == 1 => {
            let (kind, detail) = ("dns".to_owned(), "SERVFAIL".to_owned());
            Some(Ok(Answer::Invalid { kind, detail }))
        }
        _ => None,
    };
    world.run_for(HOUR);
    assert!(world.issued().is_some() && world.records.is_empty());
}
