//! Seeds that must end well: some on every run of the tests, and those that found something once.

use jaco_sim::{Sweep, replay, run_twice, sweep};

/// Seeds of one test; eight tests share the processors.
const SHARD: u64 = 8;

fn run_shard(shard: u64) {
    let of =
        Sweep { first: 1 + shard * SHARD, seeds: SHARD, bug: None, twice: true, keep_going: false };
    let failures = sweep(of, |_| {});
    if let Some(outcome) = failures.first() {
        panic!("{}", replay(outcome.seed, None));
    }
}

#[test]
fn seeds_1_to_8_end_well_and_replay() {
    run_shard(0);
}

#[test]
fn seeds_9_to_16_end_well_and_replay() {
    run_shard(1);
}

#[test]
fn seeds_17_to_24_end_well_and_replay() {
    run_shard(2);
}

#[test]
fn seeds_25_to_32_end_well_and_replay() {
    run_shard(3);
}

#[test]
fn seeds_33_to_40_end_well_and_replay() {
    run_shard(4);
}

#[test]
fn seeds_41_to_48_end_well_and_replay() {
    run_shard(5);
}

#[test]
fn seeds_49_to_56_end_well_and_replay() {
    run_shard(6);
}

#[test]
fn seeds_57_to_64_end_well_and_replay() {
    run_shard(7);
}

/// Each line of the file: a seed, and what it found.
#[test]
fn seeds_that_found_something_end_well() {
    let mut count = 0;
    for line in include_str!("../regressions.txt").lines() {
        let words = line.split('#').next().unwrap_or("").trim();
        if words.is_empty() {
            continue;
        }
        let seed = words.parse().expect("a seed");
        let outcome = run_twice(seed, None);
        assert!(outcome.failure.is_none(), "{}", replay(seed, None));
        count += 1;
    }
    assert!(count > 0, "no seed is kept");
}
