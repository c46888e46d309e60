//! Renewals by the authority's advice.

use crate::world::{DAY, HOUR, START, World};
use jaco_ingress_core::acme::{Call, CallFailure};
use jaco_model::WallMs;
use proptest::prelude::*;

const DIRECTORY: &str = "https://ca.example/dir";

/// When the second order was asked for, and what it replaced.
fn renewal(world: &World) -> Option<(u64, Option<String>)> {
    let orders = world.calls.iter().filter_map(|(at, call)| match call {
        Call::NewOrder { replaces, .. } => Some((*at, replaces.clone())),
        _ => None,
    });
    orders.into_iter().nth(1)
}

fn issued_at(world: &World) -> u64 {
    world.issued().unwrap().not_before.0 - START
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the window, the seed and the leaders: the instant is in the window, and stays.
    #[test]
    fn a_renewal_is_in_its_window(
        start in 7_u64..60 * 24,
        length in 1_u64..20 * 24,
        seed: u64,
        n_leaders in 1_u64..5,
    ) {
        let mut world = World::new(DIRECTORY, &["n1"]);
        world.settings.seed = seed;
        let (from, to) = (start * HOUR, (start + length) * HOUR);
        world.window = Some((i64::try_from(from).unwrap(), i64::try_from(to).unwrap()));
        world.run_for(60_000);
        let born = issued_at(&world);
        let chosen = world.known().unwrap().ari.clone().unwrap().window.unwrap().chosen_at;
        for _ in 0..n_leaders {
            world.run_for((to + HOUR) / n_leaders);
        }
        let (at, replaces) = renewal(&world).expect("renewed");
        prop_assert!(at >= born + from && at <= born + to + 60_000, "{} of {from} to {to}", at - born);
        prop_assert!(START + at >= chosen.0 && START + at < chosen.0 + 60_000);
        prop_assert_eq!(replaces, Some(format!("id-{}", START + born)));
        prop_assert!(world.orders.len() >= 2);
        prop_assert!(world.state.certificates.values().all(|known| known.counted.len() == 1));
    }
}

#[test]
fn windows_that_make_no_sense_are_not_followed() {
    let day = i64::try_from(DAY).unwrap();
    for (window, low, high) in [
        // In the past: soon, but not over and over.
        ((-9 * day, -8 * day), 6 * HOUR, 6 * HOUR + HOUR / 6),
        ((0, 1), 6 * HOUR, 6 * HOUR + HOUR / 6),
        // The wrong way round, or empty: the rule without advice.
        ((20 * day, 10 * day), 58 * DAY, 62 * DAY),
        ((20 * day, 20 * day), 58 * DAY, 62 * DAY),
        // After the end, or a long time later: a twentieth before the end.
        ((100 * day, 110 * day), 85 * DAY, 86 * DAY),
        ((100_000 * day, i64::MAX), 85 * DAY, 86 * DAY),
    ] {
        let mut world = World::new(DIRECTORY, &["n1"]);
        world.window = Some(window);
        world.run_for(60_000);
        let born = issued_at(&world);
        let n_days = if low < DAY { 10 } else { 88 };
        world.run_for(n_days * DAY);
        assert!(world.orders.len() < 42, "hammered: {} orders", world.orders.len());
        let (at, _) = renewal(&world).expect("renewed");
        assert!(at - born >= low && at - born <= high, "{window:?}: {} h", (at - born) / HOUR);
    }
}

#[test]
fn the_authority_is_asked_as_often_as_it_says() {
    let polls = |world: &World| {
        world.calls.iter().filter(|(_, call)| matches!(call, Call::RenewalInfo { .. })).count()
    };
    let mut world = World::new(DIRECTORY, &["n1"]);
    world.window = Some((i64::try_from(50 * DAY).unwrap(), i64::try_from(60 * DAY).unwrap()));
    world.run_for(2 * DAY + HOUR);
    assert_eq!(polls(&world), 9, "every six hours, from the first day on");

    let mut world = World::new(DIRECTORY, &["n1"]);
    world.answer = |call, _| match call {
        Call::RenewalInfo { .. } => Some(Err(CallFailure::Transport {
            detail: "reset".to_owned(),
            retry_after: Some(std::time::Duration::from_secs(2 * 3600)),
        })),
        _ => None,
    };
    world.run_for(20 * HOUR + HOUR / 2);
    assert_eq!(polls(&world), 11);
    world.run_for(62 * DAY);
    assert_eq!(world.audited("certificate_renewed"), 1, "the rule without advice stays");
}

#[test]
fn a_window_that_moves_is_followed() {
    let mut world = World::new(DIRECTORY, &["n1"]);
    let day = i64::try_from(DAY).unwrap();
    world.window = Some((50 * day, 60 * day));
    world.run_for(10 * DAY);
    assert_eq!(world.orders.len(), 1);
    world.window = Some((5 * day, 6 * day));
    world.run_for(7 * HOUR);
    assert_eq!(world.orders.len(), 2, "revoked, as it were");
}

#[test]
fn what_was_replaced_already_is_ordered_without_that() {
    let mut world = World::new(DIRECTORY, &["n1"]);
    let day = i64::try_from(DAY).unwrap();
    world.window = Some((5 * day, 6 * day));
    world.answer = |call, _| match call {
        Call::NewOrder { replaces: Some(_), .. } => Some(Err(CallFailure::Problem {
            kind: "alreadyReplaced".to_owned(),
            detail: "it was".to_owned(),
            status: 409,
            retry_after: None,
        })),
        _ => None,
    };
    world.run_for(7 * DAY);
    assert_eq!(world.audited("certificate_renewed"), 1);
    assert_eq!(world.audited("certificate_failed"), 0, "no attempt was lost");
    assert_eq!(world.known().unwrap().counted.len(), 2, "it counts now");
}

#[test]
fn advice_about_an_earlier_certificate_is_none() {
    let mut world = World::new(DIRECTORY, &["n1"]);
    let day = i64::try_from(DAY).unwrap();
    world.window = Some((5 * day, 6 * day));
    world.run_for(12 * DAY + HOUR);
    let known = world.known().unwrap();
    let (advice, issued) = (known.ari.as_ref().unwrap(), known.issued.as_ref().unwrap());
    assert_eq!(advice.of, issued.issued_at);
    assert!(advice.window.as_ref().unwrap().start > WallMs(START + 10 * DAY));
}
