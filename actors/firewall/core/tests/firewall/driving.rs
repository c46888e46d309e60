//! When the filter is written, read and repaired.

use crate::fixture::{add_scope, block, example, host};
use crate::world::World;
use jaco_firewall_core::{FlowFilter, Input, Isolation, Policy, Reason, Report, Ruleset, ruleset};
use std::sync::Arc;

fn started(policy: &Policy) -> World {
    let mut world = World::new();
    world.run(5_000);
    assert!(world.log.is_empty(), "nothing is done before there is a policy");
    world.step(Input::PolicyChanged(Arc::new(policy.clone())));
    world.run(500);
    assert!(world.core.is_settled());
    assert_eq!(world.table, Some(ruleset(policy)));
    world
}

fn kinds(world: &mut World) -> Vec<String> {
    let lines = std::mem::take(&mut world.log);
    lines.iter().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect()
}

#[test]
fn a_start_looks_writes_and_tests_itself() {
    let mut world = started(&example());
    assert_eq!(kinds(&mut world), ["read", "write", "read"]);
    assert_eq!(world.reports, [Report::Isolation(Isolation::Available)]);
    assert!(matches!(world.ended.as_slice(), [FlowFilter::Unlawful(_)]));
}

#[test]
fn changes_gather_and_touch_elements_alone() {
    let mut world = started(&example());
    let first = world.now;
    let mut policy = example();
    for number in 10..20 {
        add_scope(&mut policy, &format!("jaco-{number}"), block(number, 26), &[], false);
        world.step(Input::PolicyChanged(Arc::new(policy.clone())));
        world.run(30);
    }
    world.run(300);
    assert_eq!(world.table, Some(ruleset(&policy)));
    let writes: Vec<String> =
        world.log.iter().filter(|line| line.contains("elements")).cloned().collect();
    assert_eq!(writes.len(), 2, "{:?}", world.log);
    let at: u64 = writes[0].split_once(' ').unwrap().0.parse().unwrap();
    assert!((200..=203).contains(&(at - first)), "{at} {first}");
    assert!(!world.log[3..].iter().any(|line| line.ends_with("write")), "{:?}", world.log);
}

#[test]
fn what_is_revoked_loses_its_connections() {
    let mut world = started(&example());
    world.ended.clear();
    let mut policy = example();
    let mut scope = policy.scopes.pop_first().unwrap();
    scope.remote.remove(&block(2, 26));
    policy.scopes.insert(scope);
    world.step(Input::PolicyChanged(Arc::new(policy)));
    world.run(300);
    let (local, gone) = (block(0, 26), block(2, 26));
    let between = |source, destination| FlowFilter::Between { source, destination, port: None };
    assert_eq!(world.ended, [between(local, gone), between(gone, local)]);
}

#[test]
fn a_flushed_table_is_back_at_once_and_its_hole_is_closed() {
    let mut world = started(&example());
    kinds(&mut world);
    world.reports.clear();
    world.ended.clear();
    let before = world.now;
    world.touch(true, |table| *table = None);
    world.run(200);
    assert_eq!(world.table, Some(ruleset(&example())));
    assert!(world.core.isolation().is_available());
    assert_eq!(kinds(&mut world), ["read", "write", "read"]);
    assert!(matches!(world.ended.as_slice(), [FlowFilter::Unlawful(_)]));
    let [_, _, Report::Reconciled { difference, by, took, count: 1 }] = world.reports.as_slice()
    else {
        panic!("{:?}", world.reports)
    };
    assert_eq!((difference.as_str(), by.as_deref()), ("the table is gone", Some("nft")));
    assert!(took.as_millis() < 100 && world.now - before < 1_000);
}

#[test]
fn damage_without_a_notice_is_found_by_the_routine_look() {
    let mut world = started(&example());
    let damages: [fn(&mut Ruleset); 5] = [
        |table| {
            table.chains.get_mut("forward").unwrap().rules.remove(3);
        },
        |table| table.chains.get_mut("pre").unwrap().rules.swap(1, 2),
        |table| {
            table.sets.get_mut("bridge_src_26").unwrap().elements.pop_first();
        },
        |table| table.chains.get_mut("pre").unwrap().priority = 0,
        |table| {
            table.foreign.insert("the table sleeps".to_owned());
        },
    ];
    for damage in damages {
        world.touch(false, |table| damage(table.as_mut().unwrap()));
        world.run(30_100);
        assert_eq!(world.table, Some(ruleset(&example())));
        assert!(world.core.is_settled());
    }
}

#[test]
fn repairs_are_told_once_a_minute_with_their_number() {
    let mut world = started(&example());
    world.reports.clear();
    for _ in 0..10 {
        world.touch(true, |table| *table = None);
        world.run(1_000);
    }
    world.run(120_000);
    let counts: Vec<u32> = world
        .reports
        .iter()
        .filter_map(|report| match report {
            Report::Reconciled { count, .. } => Some(*count),
            _ => None,
        })
        .collect();
    assert_eq!(counts, [1, 9]);
}

#[test]
fn a_refusing_kernel_is_asked_less_and_less() {
    let mut world = World::new();
    world.refuses = true;
    world.step(Input::PolicyChanged(Arc::new(example())));
    world.run(120_000);
    let tries = world.log.iter().filter(|line| line.ends_with("write")).count();
    assert!((6..=9).contains(&tries), "{:?}", world.log);
    let Isolation::Unavailable { reason: Reason::Refused(_), exposed } = world.core.isolation()
    else {
        panic!("{:?}", world.core.isolation())
    };
    assert!(exposed, "no table for two minutes");
    world.refuses = false;
    world.run(40_000);
    assert!(world.core.is_settled());
}

#[test]
fn a_table_that_is_not_what_was_written_keeps_containers_from_starting() {
    let mut world = World::new();
    world.garbles = true;
    world.step(Input::PolicyChanged(Arc::new(example())));
    world.run(10_000);
    assert!(matches!(
        world.core.isolation(),
        Isolation::Unavailable { reason: Reason::SelfTest(_), exposed: false }
    ));
    let told = |report: &&Report| matches!(report, Report::SelfTestFailed { .. });
    assert!(world.reports.iter().filter(told).count() >= 2);
    assert!(!world.reports.contains(&Report::Isolation(Isolation::Available)));
    world.garbles = false;
    world.run(40_000);
    assert!(world.core.is_settled());
}

#[test]
fn changes_by_others_elsewhere_cost_a_look_and_no_full_write() {
    let mut world = started(&example());
    kinds(&mut world);
    world.generation += 5;
    let mut policy = example();
    policy.fence.insert(host(block(0, 26), 3));
    world.step(Input::PolicyChanged(Arc::new(policy.clone())));
    world.run(300);
    assert_eq!(kinds(&mut world), ["elements 1", "read", "elements 1"]);
    assert_eq!(world.table, Some(ruleset(&policy)));
    assert!(world.core.is_settled());
}

#[test]
fn who_is_fenced_here_is_cut_off_whatever_the_policy() {
    let mut world = started(&example());
    let lost = host(block(3, 26), 5);
    world.step(Input::Fenced([lost].into()));
    world.run(300);
    let mut policy = example();
    policy.fence.insert(lost);
    assert_eq!(world.table, Some(ruleset(&policy)));
}

#[test]
fn at_rest_it_only_looks_twice_a_minute() {
    let mut world = started(&example());
    kinds(&mut world);
    world.run(300_000);
    assert_eq!(kinds(&mut world), vec!["read"; 10]);
}

#[test]
fn changes_that_keep_failing_lead_to_a_full_write() {
    let mut world = started(&example());
    kinds(&mut world);
    world.refuses_elements = true;
    let mut policy = example();
    policy.fence.insert(host(block(0, 26), 3));
    world.step(Input::PolicyChanged(Arc::new(policy.clone())));
    world.run(25_000);
    assert!(!world.core.isolation().is_available());
    let lines = kinds(&mut world);
    let tries = lines.iter().filter(|line| line.starts_with("elements")).count();
    assert!((4..=6).contains(&tries) && !lines.contains(&"write".to_owned()), "{lines:?}");
    world.run(40_000);
    assert!(kinds(&mut world).contains(&"write".to_owned()));
    assert!(world.core.is_settled());
    assert_eq!(world.table, Some(ruleset(&policy)));
}

#[test]
fn torn_looks_are_repeated_at_once_and_many_of_them_after_a_while() {
    let mut world = World::new();
    world.torn = 3;
    world.step(Input::PolicyChanged(Arc::new(example())));
    assert!(world.core.isolation().is_available(), "{:?}", world.log);
    kinds(&mut world);
    world.torn = 40;
    world.run(30_010);
    assert!(matches!(
        world.core.isolation(),
        Isolation::Unavailable { reason: Reason::Unreadable(_), .. }
    ));
    assert!(kinds(&mut world).len() < 10, "it spins");
    world.run(120_000);
    assert!(world.core.is_settled());
}

#[test]
fn without_a_table_for_ten_seconds_the_node_counts_as_exposed() {
    let mut world = World::new();
    world.refuses = true;
    world.step(Input::PolicyChanged(Arc::new(example())));
    let exposed = |world: &World| {
        matches!(world.core.isolation(), Isolation::Unavailable { exposed: true, .. })
    };
    world.run(9_900);
    assert!(!exposed(&world));
    world.run(200);
    assert!(exposed(&world));
    assert!(matches!(
        world.reports.last(),
        Some(Report::Isolation(Isolation::Unavailable { exposed: true, .. }))
    ));
}
