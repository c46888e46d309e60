//! Random faults: whatever happens, every order is harmless, and once the faults stop the node
//! comes to match the state and falls silent.

use crate::fixture::{self, DEPLOYMENT};
use crate::world::World;
use jaco_model::command::{Command, RestartTarget, Step};
use jaco_model::entity::{Desired, InstanceState, Replica};
use jaco_model::{DeploymentName, Generation, InstanceId, ReplicaId, name};
use jaco_runtime_core::{EngineEvent, Input};
use proptest::prelude::*;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

const SERVICES: [&str; 2] = ["web", "db"];
const WEB: &str = "web";
const DB: &str = "db volume=data";
const SLOTS: u32 = 3;

/// SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Clone)]
struct Dice(Rc<RefCell<u64>>);

impl Dice {
    fn throw(&self, sides: u64) -> u64 {
        let mut seed = self.0.borrow_mut();
        *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }

    fn instance(&self, world: &World) -> Option<InstanceId> {
        let all: Vec<_> = world.state.instances.keys().cloned().collect();
        let at = self.throw(all.len().max(1) as u64) as usize;
        all.get(at).cloned()
    }
}

fn begin(dice: &Dice) -> World {
    let own = dice.clone();
    let mut world = World::new(Box::new(move || match own.throw(10) {
        0 => 2_000 + own.throw(4_000),
        1 | 2 => 100 + own.throw(900),
        _ => 1 + own.throw(30),
    }));
    world.write(fixture::apply(&[fixture::service(WEB), fixture::service(DB)]));
    let slots = (0..SLOTS).flat_map(|index| SERVICES.map(|service| (service, index)));
    world.write(fixture::schedule(
        slots.map(|(service, index)| fixture::add(service, index)).collect(),
    ));
    world
}

/// The scheduler in a few words: fills empty slots and retires what is to be replaced.
fn decide(world: &mut World, dice: &Dice) {
    let deployment = DeploymentName::from(DEPLOYMENT);
    let revision = world.state.deployments[&deployment].revision;
    let mut steps = Vec::new();
    for (id, replica) in world.state.replicas.clone() {
        let instances: Vec<_> = world.state.instances_of(&id).cloned().collect();
        let next = Generation(replica.generation.0 + 1);
        match instances.first() {
            None => steps.push(fixture::place(&id, next, revision)),
            Some(old) if old.desired == Desired::Run && dice.throw(4) == 0 => {
                steps.push(Step::Retire { instance: old.id.clone() });
                if dice.throw(2) == 0 {
                    steps.push(fixture::place(&id, next, revision));
                }
            }
            Some(_) => {}
        }
    }
    world.write(fixture::schedule(steps));
}

fn disturb(world: &mut World, dice: &Dice, web: &str, db: &str) {
    let victim = dice.instance(world);
    match dice.throw(18) {
        0 | 1 => decide(world, dice),
        2 => {
            let web = fixture::service(&format!("{web} env={}", dice.throw(5)));
            world.write(fixture::apply(&[web, fixture::service(db)]));
        }
        3 => world.engine_down(false),
        4 => {
            world.engine_down(true);
            if dice.throw(2) == 0 {
                world.engine.end_all();
            }
        }
        5 | 6 => world.connect(),
        7 => world.restart_core(),
        8 => fail(world, dice),
        16 | 17 => world.tell(Input::Mtu(1_280 + 20 * dice.throw(3) as u16)),
        9 => {
            let stray =
                InstanceId { replica: ReplicaId::from("gone-web-0"), generation: Generation(1) };
            if world.engine.by_instance(&stray).is_none() {
                world.engine.add(&stray, "old", true);
            }
        }
        10 => {
            if let Some(id) = victim {
                world.engine.add(&id, "theirs", false);
            }
        }
        11 => {
            if let Some(container) = victim.and_then(|id| world.engine.by_instance(&id)) {
                world.engine.containers.remove(&container);
                if dice.throw(2) == 0 {
                    world.announce(&container, EngineEvent::Destroyed);
                }
            }
        }
        _ => {
            if let Some(id) = victim {
                world.exit(&id, dice.throw(3) as i64);
            }
        }
    }
}

fn fail(world: &mut World, dice: &Dice) {
    let ops = ["pull", "create", "start", "observe", "propose", "answer", "network", "drain"];
    let op = ops[dice.throw(ops.len() as u64) as usize];
    let times = dice.throw(4) as u32;
    world.failing.insert(op.to_owned(), times);
}

fn heal(world: &mut World) {
    world.failing.clear();
    world.connect();
    let deployment = DeploymentName::from(DEPLOYMENT);
    let revision = world.state.deployments[&deployment].revision;
    // Those that were to go leave their slots first.
    for _ in 0..2 {
        world.run(100_000);
        let slots = world.state.replicas.values();
        let empty = slots.filter(|slot| world.state.instances_of(&slot.id).next().is_none());
        let place = |slot: &Arc<Replica>| {
            fixture::place(&slot.id, Generation(slot.generation.0 + 1), revision)
        };
        world.write(fixture::schedule(empty.map(place).collect()));
    }
    world.run(800_000);
}

fn assert_matches(world: &World) {
    for instance in world.state.instances.values() {
        assert_eq!(instance.desired, Desired::Run, "{} is still there", instance.id);
        assert_eq!(instance.status.state, InstanceState::Running, "{:#?}", instance.status);
        let id = world.engine.by_instance(&instance.id).expect("a container");
        assert!(world.engine.containers[&id].facts.running, "{id} does not run");
        assert_eq!(instance.status.container_id.as_ref(), Some(&id));
        let spec = world.state.spec_of(instance).expect("a kept revision");
        let networks = spec.container.networks.len();
        assert_eq!(instance.status.addresses.len(), networks, "{:?}", instance.status);
    }
    let ours = world.engine.containers.values().filter(|c| c.ours).count();
    assert_eq!(ours, world.state.instances.len(), "orphans are left");
    let network = name::network_name(&DeploymentName::from(DEPLOYMENT), "_default");
    assert!(world.engine.networks.contains_key(&network));
    assert_eq!(world.state.volumes.len(), world.engine.volumes.len());
}

/// Nothing is ordered or proposed but a look at the engine now and then; a core that was just
/// started says once where its containers are.
fn assert_silent(world: &mut World) {
    let proposals = world.proposals;
    world.lines.clear();
    world.run(300_000);
    assert_eq!(world.proposals, proposals, "{:#?}", world.lines);
    let looks = world.lines.iter().filter(|line| line.ends_with("observe")).count();
    let seats = world.lines.iter().filter(|line| line.contains("  seated ")).count();
    assert_eq!(looks + seats, world.lines.len(), "{:#?}", world.lines);
    assert!(seats <= 1, "{:#?}", world.lines);
    assert!(looks <= 11, "{looks} looks in five minutes");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn after_sickness_and_restarts_the_node_matches_the_state(seed in any::<u64>()) {
        let dice = Dice(Rc::new(RefCell::new(seed)));
        let mut world = begin(&dice);
        world.may_stop = true;
        let web = fixture::service("web probe post_start=warm pre_stop=bye grace=1 published=80 drain=2");
        world.write(fixture::apply(&[web, fixture::service("db volume=data shares=web")]));
        world.connect();
        for _ in 0..60 {
            match dice.throw(6) {
                0 => world.probes_pass = !world.probes_pass,
                1 => {
                    let all: Vec<ReplicaId> = world.state.replicas.keys().cloned().collect();
                    let replica = all[dice.throw(all.len() as u64) as usize].clone();
                    let target = RestartTarget::Replica { replica };
                    world.write(Command::Restart { target, in_place: true });
                }
                2 => _ = world.failing.insert("hook".to_owned(), 1),
                _ => disturb(&mut world, &dice, "web probe post_start=warm published=80 drain=2", "db shares=web"),
            }
            world.run(dice.throw(8_000));
        }
        world.probes_pass = true;
        heal(&mut world);
        assert_matches(&world);
    }

    #[test]
    fn after_any_faults_the_node_matches_the_state(seed in any::<u64>()) {
        let dice = Dice(Rc::new(RefCell::new(seed)));
        let mut world = begin(&dice);
        world.connect();
        for _ in 0..60 {
            disturb(&mut world, &dice, WEB, DB);
            world.run(dice.throw(4_000));
        }
        heal(&mut world);
        assert_matches(&world);
        assert_silent(&mut world);
        prop_assert!(world.pulls_at_once <= 8, "pulls of two lives of the daemon at most");

        // A restart of the daemon, or of an engine that spares containers, changes nothing.
        let before = world.engine.containers.len();
        world.restart_core();
        assert_silent(&mut world);
        world.engine_down(true);
        world.run(3_000);
        world.connect();
        assert_silent(&mut world);
        prop_assert_eq!(world.engine.containers.len(), before);
    }

    #[test]
    fn equal_inputs_give_equal_orders(seed in any::<u64>()) {
        prop_assert_eq!(twenty_faults(seed), twenty_faults(seed));
    }
}

/// The lines of a world after twenty disturbances.
fn twenty_faults(seed: u64) -> Vec<String> {
    let dice = Dice(Rc::new(RefCell::new(seed)));
    let mut world = begin(&dice);
    world.connect();
    for _ in 0..20 {
        disturb(&mut world, &dice, WEB, DB);
        world.run(dice.throw(4_000));
    }
    world.lines
}

/// A seed that once gave two containers one address.
#[test]
fn no_address_is_given_out_twice() {
    assert!(!twenty_faults(15_358_567_221_787_796_708).is_empty());
}
