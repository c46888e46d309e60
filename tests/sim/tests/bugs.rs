//! Proof that the simulator can find bugs: each mistake put in on purpose is found within a few
//! hundred seeds. Needs the feature `seeded-bugs`, which no build of the product has.

#![cfg(feature = "seeded-bugs")]

use jaco_sim::{Bug, Sweep, sweep};
use std::collections::BTreeMap;
use std::sync::Mutex;

/// Seeds until a mistake must be found.
const SEEDS_MAX: u64 = 600;

#[test]
fn finds_every_seeded_bug() {
    let found: BTreeMap<&str, (u64, String)> = Bug::all().filter_map(find).collect();
    let missed: Vec<&str> =
        Bug::all().map(Bug::name).filter(|name| !found.contains_key(name)).collect();
    for (name, (seed, what)) in &found {
        println!("{name}: seed {seed}: {what}");
    }
    assert!(Bug::all().count() >= 10);
    assert!(missed.is_empty(), "not found within {SEEDS_MAX} seeds: {missed:?}");
}

fn find(bug: Bug) -> Option<(&'static str, (u64, String))> {
    let first = Mutex::new(None);
    let of = Sweep { first: 1, seeds: SEEDS_MAX, bug: Some(bug), twice: false, keep_going: false };
    let failures = sweep(of, |outcome| {
        if let Some(failure) = &outcome.failure {
            let what = failure.what.lines().next().unwrap_or_default().to_owned();
            first.lock().expect("no thread panics").get_or_insert((outcome.seed, what));
        }
    });
    let first = first.into_inner().expect("no thread panics");
    assert_eq!(failures.is_empty(), first.is_none());
    Some((bug.name(), first?))
}
