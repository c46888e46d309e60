//! Random faults around a healthy majority: none of its nodes is ever declared down, and once the
//! faults end everybody is up again.

use crate::network::Dice;
use crate::world::{World, voters};
use proptest::prelude::*;
use std::collections::BTreeSet;

/// Members of a majority of voters whose links to each other are good; the leader is one.
fn healthy(count: usize, dice: &mut Dice) -> BTreeSet<usize> {
    let needed = voters(count) / 2 + 1;
    let spare = (needed..count).filter(|_| dice.throw(3) == 0);
    (0..needed).chain(spare.collect::<Vec<_>>()).collect()
}

/// One fault that leaves the healthy and the links between them alone.
fn disturb(world: &mut World, healthy: &BTreeSet<usize>) {
    let count = world.nodes.len();
    let outside: Vec<usize> = (0..count).filter(|node| !healthy.contains(node)).collect();
    if outside.is_empty() {
        return;
    }
    let victim = outside[world.dice.index(outside.len())];
    let other = world.dice.index(count);
    let is_alive = world.nodes[victim].core.is_some();
    match world.dice.throw(10) {
        0 if is_alive => {
            let silently = world.dice.throw(2) == 0;
            world.kill(victim, silently);
        }
        0 | 1 if !is_alive => world.start(victim),
        2 if is_alive && !world.nodes[victim].paused => world.pause(victim),
        2 | 3 if is_alive && world.nodes[victim].paused => world.resume(victim),
        4 => world.nodes[victim].late = world.dice.throw(700),
        5 => world.network.cut(victim, other),
        6 => world.network.cut(other, victim),
        7 => {
            let percent = world.dice.throw(101);
            world.network.set_loss(victim, other, percent);
            world.network.set_loss(other, victim, percent);
        }
        8 if is_alive => world.step(victim, jaco_liveness_core::Input::Pausing),
        9 => {
            let few_percent = world.dice.throw(5);
            world.network.heal();
            world.network.loss_everywhere = few_percent;
        }
        _ => {}
    }
    // Any of the healthy may lead.
    if world.dice.throw(8) == 0 {
        let next = *healthy.iter().nth(world.dice.index(healthy.len())).unwrap();
        if world.may_lead(next) {
            world.set_leader(Some(next));
        }
    }
}

fn history(count: usize, seed: u64, steps: usize) -> (World, BTreeSet<usize>) {
    let mut world = World::new(count, seed);
    world.network.delay_max = 1 + world.dice.throw(40);
    let healthy = healthy(count, &mut world.dice);
    for node in &healthy {
        // A busy machine; not yet one that must doubt itself.
        world.nodes[*node].late = world.dice.throw(150);
    }
    for _ in 0..steps {
        disturb(&mut world, &healthy);
        let next = world.dice.throw(6_000);
        world.run(next);
        let wrong = world.proposed.iter().find(|(_, _, about, up)| !up && healthy.contains(about));
        assert_eq!(wrong, None, "{healthy:?} {:#?}", world.lines);
    }
    (world, healthy)
}

/// With every fault still there, one more that is not healthy dies.
fn kill_one(world: &mut World, healthy: &BTreeSet<usize>) {
    world.network.loss_everywhere = 0;
    // Whatever was announced is over by then.
    world.run(31_000);
    let mut outside = (0..world.nodes.len()).filter(|node| !healthy.contains(node));
    let Some(victim) = outside.next_back() else { return };
    world.kill(victim, true);
    world.run(5_200);
    assert!(world.raft.members[victim].is_down, "{victim} {healthy:?} {:#?}", world.lines);
}

fn mend(world: &mut World) {
    world.network.heal();
    for node in 0..world.nodes.len() {
        world.nodes[node].late = 0;
        if world.nodes[node].core.is_none() {
            world.start(node);
        } else if world.nodes[node].paused {
            world.resume(node);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_node_of_a_healthy_majority_is_ever_declared_down(
        count in 3..=10_usize, seed in any::<u64>(),
    ) {
        let (mut world, healthy) = history(count, seed, 25);
        kill_one(&mut world, &healthy);
        mend(&mut world);
        // Those that fell too often are held back, for half an hour at most.
        let limit = world.now + 1_830_000;
        while world.now < limit && world.raft.members.iter().any(|peer| peer.is_down) {
            world.run(20_000);
        }
        let down: Vec<_> = world.raft.members.iter().filter(|peer| peer.is_down).collect();
        prop_assert!(down.is_empty(), "{down:?} {:#?}", world.lines);
        world.run(5_000);
        prop_assert!(world.nodes.iter().all(|node| node.suspects.is_empty()), "{:#?}", world.lines);
        let declared = world.declared.len();
        world.run(20_000);
        prop_assert_eq!(world.declared.len(), declared, "it goes on: {:#?}", world.lines);
    }

    #[test]
    fn equal_seeds_give_equal_histories(count in 3..=6_usize, seed in any::<u64>()) {
        let play = || {
            let (world, _) = history(count, seed, 10);
            (world.lines, world.probes)
        };
        prop_assert_eq!(play(), play());
    }
}
