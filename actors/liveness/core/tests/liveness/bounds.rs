//! The times that are promised, for every place of the probes in their period.

use crate::world::World;
use proptest::prelude::*;

/// Milliseconds until a node is confirmed, at most.
const CONFIRMED: u64 = 5_000;

/// The same when it led, with an election of two seconds.
const LEADER_CONFIRMED: u64 = 6_000;

fn world(count: usize, seed: u64) -> World {
    let mut world = World::new(count, seed);
    world.network.delay_max = 1 + world.dice.throw(30);
    let settled = 2_000 + world.dice.throw(1_000);
    world.run(settled);
    world
}

fn counts() -> impl Strategy<Value = usize> {
    prop_oneof![20 => 3..=9_usize, 2 => 10..=12_usize, 1 => Just(25)]
}

/// How long it took until a node was declared down.
fn confirmed_after(world: &World, node: usize, since: u64) -> Option<u64> {
    let down = world.declared.iter().find(|declared| declared.node == node && !declared.up)?;
    Some(down.at - since)
}

fn stays_as_it_is(world: &mut World, millis: u64) {
    let (declared, proposed) = (world.declared.len(), world.proposed.len());
    world.run(millis);
    assert_eq!(world.declared.len(), declared, "{:#?}", world.lines);
    assert_eq!(world.proposed.len(), proposed, "{:#?}", world.lines);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_killed_node_is_confirmed_in_five_seconds(
        count in counts(), seed in any::<u64>(), silently in any::<bool>(),
    ) {
        let mut world = world(count, seed);
        let victim = 1 + world.dice.index(count - 1);
        let since = world.now;
        world.kill(victim, silently);
        world.run(CONFIRMED);
        let after = confirmed_after(&world, victim, since);
        prop_assert!(after.is_some_and(|after| after >= 1_500), "{after:?} {:#?}", world.lines);
        prop_assert_eq!(world.declared.len(), 1, "only the victim: {:#?}", world.lines);
        for node in (0..count).filter(|node| *node != victim) {
            prop_assert!(world.nodes[node].suspects.contains(&victim), "{node}: {:#?}", world.lines);
        }
        stays_as_it_is(&mut world, 20_000);
    }

    #[test]
    fn a_killed_leader_is_confirmed_in_six_seconds(
        count in counts(), seed in any::<u64>(), silently in any::<bool>(),
    ) {
        let mut world = world(count, seed);
        let since = world.now;
        world.kill(0, silently);
        world.run(LEADER_CONFIRMED);
        prop_assert!(confirmed_after(&world, 0, since).is_some(), "{:#?}", world.lines);
        prop_assert_eq!(world.declared.len(), 1, "only the leader: {:#?}", world.lines);
    }

    #[test]
    fn as_many_as_the_voters_can_lose_are_confirmed_in_five_seconds(
        count in prop_oneof![20 => 5..=9_usize, 2 => 10..=12_usize, 1 => Just(25)], seed in any::<u64>(),
    ) {
        let mut world = world(count, seed);
        let since = world.now;
        let silently = world.dice.throw(2) == 0;
        // Two voters, and nearly half of the others.
        let victims: Vec<usize> = [1, 2].into_iter().chain((7..count).step_by(2)).collect();
        for victim in &victims {
            world.kill(*victim, silently);
        }
        world.run(CONFIRMED);
        for victim in &victims {
            prop_assert!(confirmed_after(&world, *victim, since).is_some(), "{:#?}", world.lines);
        }
        prop_assert_eq!(world.declared.len(), victims.len());
    }

    #[test]
    fn a_node_that_is_back_for_fifteen_seconds_returns(count in 2..=9_usize, seed in any::<u64>()) {
        let mut world = world(count, seed);
        let victim = 1 + world.dice.index(count - 1);
        world.kill(victim, true);
        world.run(10_000);
        prop_assert_eq!(world.declared.len(), 1, "{:#?}", world.lines);
        world.start(victim);
        stays_as_it_is(&mut world, 15_000);
        world.run(2_000);
        prop_assert_eq!(world.declared.len(), 2, "{:#?}", world.lines);
        prop_assert!(world.declared[1].up && world.declared[1].node == victim);
        prop_assert!(world.nodes.iter().all(|node| node.suspects.is_empty()));
        stays_as_it_is(&mut world, 20_000);
    }

    #[test]
    fn of_two_one_is_enough_after_five_seconds(seed in any::<u64>(), silently in any::<bool>()) {
        let mut world = world(2, seed);
        let since = world.now;
        world.kill(1, silently);
        world.run(6_500);
        let after = confirmed_after(&world, 1, since);
        prop_assert!(after.is_some_and(|after| after >= 5_000), "{after:?} {:#?}", world.lines);
    }

    #[test]
    fn a_node_cut_off_from_everyone_declares_nobody(count in 3..=9_usize, seed in any::<u64>()) {
        let mut world = world(count, seed);
        world.raft.stubborn = true;
        let one_way = world.dice.throw(3);
        for other in 1..count {
            if one_way != 1 {
                world.network.cut(0, other);
            }
            if one_way != 2 {
                world.network.cut(other, 0);
            }
        }
        world.run(15_000);
        let by_it = world.proposed.iter().filter(|(_, by, ..)| *by == 0);
        prop_assert_eq!(by_it.count(), 0, "{:#?}", world.lines);
        prop_assert!(world.nodes[0].core.as_ref().unwrap().is_impaired());
        prop_assert_eq!(world.declared.len(), 1, "the others go on: {:#?}", world.lines);
        prop_assert_eq!(world.declared[0].node, 0);
    }

    #[test]
    fn a_leader_left_with_the_few_declares_nobody(count in 3..=9_usize, seed in any::<u64>()) {
        let mut world = world(count, seed);
        world.raft.stubborn = true;
        let few = crate::world::voters(count).div_ceil(2) - 1;
        let on_its_side = |node: usize| node < few;
        for (a, b) in (0..count).flat_map(|a| (0..count).map(move |b| (a, b))) {
            if on_its_side(a) != on_its_side(b) {
                world.network.cut(a, b);
            }
        }
        world.run(15_000);
        let by_it = world.proposed.iter().filter(|(_, by, ..)| *by == 0);
        prop_assert_eq!(by_it.count(), 0, "{:#?}", world.lines);
        prop_assert!(world.declared.iter().all(|declared| on_its_side(declared.node)));
        prop_assert_eq!(world.declared.len(), few, "{:#?}", world.lines);
    }

    #[test]
    fn a_leader_that_wakes_after_a_pause_concludes_nothing(
        count in 2..=7_usize, seed in any::<u64>(), pause in 300..60_000_u64,
    ) {
        let mut world = world(count, seed);
        world.raft.stubborn = true;
        world.pause(0);
        world.run(pause);
        world.resume(0);
        world.run(60_000);
        let wrong = world.proposed.iter().filter(|(_, _, about, up)| !up && *about != 0);
        prop_assert_eq!(wrong.count(), 0, "{:#?}", world.lines);
        prop_assert!(world.raft.members.iter().all(|peer| !peer.is_down), "{:#?}", world.lines);
    }

    #[test]
    fn all_that_freeze_together_blame_nobody(count in 2..=7_usize, seed in any::<u64>()) {
        let mut world = world(count, seed);
        for _ in 0..3 {
            for node in 0..count {
                world.pause(node);
            }
            let frozen = world.dice.throw(20_000);
            world.run(frozen);
            for node in 0..count {
                world.resume(node);
                let next = world.dice.throw(300);
                world.run(next);
            }
            world.run(5_000);
        }
        prop_assert!(world.proposed.is_empty(), "{:#?}", world.lines);
    }
}

#[test]
fn at_rest_there_are_only_probes() {
    for count in [2, 3, 12] {
        let mut world = World::new(count, 5);
        world.run(300_000);
        assert!(world.lines.is_empty(), "{:#?}", world.lines);
        let observed = count * (count - 1).min(8);
        // The leader's view of those it does not observe, and what a node adds to doubt itself.
        let most = (observed + 2 * count) * 600;
        let probes = usize::try_from(world.probes).unwrap();
        assert!((observed * 599..=most).contains(&probes), "{count}: {probes}");
    }
}

#[test]
fn a_node_alone_never_wakes() {
    let mut world = World::new(1, 5);
    world.run(3_600_000);
    assert_eq!((world.lines.len(), world.probes), (0, 0));
}
