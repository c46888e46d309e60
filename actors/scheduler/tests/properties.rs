//! What must hold for every history: decisions are repeatable, filters hold, nothing moves without
//! need, ready replicas are not taken away below the floor, and every history comes to rest.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod world;

use jaco_kit_core::{Core, Now};
use jaco_model::command::{Command, RestartTarget, Step};
use jaco_model::entity::{Desired, Instance, InstanceState, Node, NodeStatus, RolloutState};
use jaco_model::{ReplicaId, ServiceName};
use jaco_scheduler::{Dirty, Effect, Input, Scheduler};
use jaco_state::State;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use world::{World, shop, specs};

/// One thing that happens in a random history.
#[derive(Clone, Debug)]
enum Happening {
    Apply(String),
    Scale(u32),
    Restart,
    Cordon(u8, bool),
    Fail(u8),
    End(u8),
    Ready(u8),
    Obey,
    Pass,
    Wait(u64),
    NewLeader,
    Down(u8, bool),
    Remove(u8),
}

fn happening() -> impl Strategy<Value = Happening> {
    let order = prop_oneof![Just(""), Just(" order=stop-first"), Just(" order=start-first")];
    let place = prop_oneof![
        Just(""),
        Just(" pack"),
        Just(" max_per_node=1"),
        Just(" label=disk:ssd"),
        Just(" port=80"),
        Just(" memory=1500"),
        Just(" volume=data"),
    ];
    let apply = (0..5_u32, 0..3_u32, 0..3_u32, order, place).prop_map(
        |(replicas, image, parallelism, order, place)| {
            format!("web replicas={replicas} image={image} parallelism={parallelism}{order}{place}")
        },
    );
    prop_oneof![
        2 => apply.prop_map(Happening::Apply),
        1 => (0..6_u32).prop_map(Happening::Scale),
        1 => Just(Happening::Restart),
        1 => (0..3_u8, any::<bool>()).prop_map(|(node, on)| Happening::Cordon(node, on)),
        2 => any::<u8>().prop_map(Happening::Fail),
        1 => any::<u8>().prop_map(Happening::End),
        4 => any::<u8>().prop_map(Happening::Ready),
        3 => Just(Happening::Obey),
        8 => Just(Happening::Pass),
        2 => (1..10_u64).prop_map(Happening::Wait),
        1 => Just(Happening::NewLeader),
        1 => (0..3_u8, any::<bool>()).prop_map(|(node, on)| Happening::Down(node, on)),
        1 => (1..3_u8).prop_map(Happening::Remove),
    ]
}

fn start() -> World {
    let mut world = World::new(3);
    world.change_node("a", |node| {
        node.labels.insert("disk".to_owned(), "ssd".to_owned());
    });
    world
}

fn happen(world: &mut World, what: &Happening) {
    match what {
        Happening::Apply(words) => {
            let mut spec = specs::deployment("shop");
            specs::add(&mut spec, words);
            let _refused_by_admission = world.apply(spec);
        }
        Happening::Scale(replicas) => {
            let services = [(ServiceName::new("web"), *replicas)].into();
            let _unknown_yet = world.send(Command::Scale { deployment: shop(), services });
        }
        Happening::Restart => {
            let target = RestartTarget::Deployment { deployment: shop() };
            let _unknown_yet = world.send(Command::Restart { target, in_place: false });
        }
        Happening::Cordon(node, on) => {
            change(world, *node, |node| node.schedulable = !on);
        }
        Happening::Down(node, down) => {
            let status = if *down { NodeStatus::Down } else { NodeStatus::Ready };
            change(world, *node, |node| node.status = status);
        }
        Happening::Remove(node) => {
            if let Some(name) = name_of(world, *node) {
                world.remove_node(&name);
            }
        }
        Happening::Fail(which) => {
            let fault = world::fault("container_exited", None);
            report(world, *which, InstanceState::Pending, Some(fault), 1);
        }
        Happening::End(which) => report(world, *which, InstanceState::Stopped, None, 0),
        Happening::Ready(which) => report(world, *which, InstanceState::Running, None, 0),
        Happening::Obey => {
            world.obey();
        }
        Happening::Pass => checked_pass(world),
        Happening::Wait(seconds) => world.advance(std::time::Duration::from_secs(*seconds)),
        Happening::NewLeader => {
            world.scheduler = Scheduler::new(2);
            let effects = world.scheduler.step(world.moment(), Input::Leadership(true));
            assert!(effects.is_empty());
        }
    }
}

/// The name of one of the nodes `a` to `c`, if it is still a member.
fn name_of(world: &World, node: u8) -> Option<String> {
    let name = char::from(b'a' + node).to_string();
    world.state.nodes.values().any(|node| node.name.as_str() == name).then_some(name)
}

fn change(world: &mut World, node: u8, change: impl FnOnce(&mut Node)) {
    if let Some(name) = name_of(world, node) {
        world.change_node(&name, change);
    }
}

fn report(
    world: &mut World,
    which: u8,
    state: InstanceState,
    fault: Option<jaco_model::Fault>,
    restarts: u32,
) {
    let ids: Vec<_> = world.state.instances.keys().cloned().collect();
    if !ids.is_empty() {
        let id = &ids[usize::from(which) % ids.len()];
        if world.state.instances[id].status.state.may_become(state) {
            world.report(id, state, fault, restarts);
        }
    }
}

/// A pass whose decisions keep the rules.
fn checked_pass(world: &mut World) {
    let before = world.state.clone();
    let commands = world.pass();
    let steps: Vec<&Step> = commands
        .iter()
        .flat_map(|command| match command {
            Command::Schedule { steps, .. } => steps.as_slice(),
            _ => &[],
        })
        .collect();
    check_filters(world, &steps);
    check_floor(&before, &world.state, &steps);
}

fn check_filters(world: &World, steps: &[&Step]) {
    for step in steps {
        let Step::Place { replica, generation, node, .. } = step else { continue };
        let id = jaco_model::name::instance_id(replica, *generation);
        let instance = world.state.instances.get(&id).expect("a placement is never dropped");
        let node = &world.state.nodes[node];
        let spec = world.state.spec_of(instance).unwrap();
        assert!(node.schedulable, "{id} was placed on a cordoned node");
        if !spec.placement.constraints.is_empty() {
            assert_eq!(node.name.as_str(), "a", "{id} breaks its constraint");
        }
        let there: Vec<&Arc<Instance>> = world.state.instances_on(&node.id).collect();
        if let Some(limit) = spec.placement.max_per_node {
            let staying = there.iter().filter(|i| i.desired == Desired::Run);
            let slots: BTreeSet<&ReplicaId> = staying.map(|i| &i.id.replica).collect();
            assert!(slots.len() <= limit as usize, "too many on {}", node.name);
        }
        let specs = there.iter().map(|i| world.state.spec_of(i).unwrap());
        let memory: u64 = specs.clone().map(|s| s.container.resources.reserved_memory).sum();
        let new = spec.container.resources.reserved_memory;
        assert!(new == 0 || memory <= node.facts.capacity.memory, "{} is overfull", node.name);
        let n_ports: usize = specs.map(|s| s.ports.len()).sum();
        assert!(spec.ports.is_empty() || n_ports == 1, "a port is taken twice on {}", node.name);
    }
}

/// No step leaves fewer ready slots than wanted, beyond what the policy allows.
fn check_floor(before: &State, after: &State, steps: &[&Step]) {
    let Some(record) = after.current(&shop()) else { return };
    let (deployment, name) = (&after.deployments[&shop()], ServiceName::new("web"));
    let spec = &record.spec.services[&name];
    let wanted = after.wanted_replicas(deployment, spec).unwrap() as usize;
    let ready = |state: &State| {
        let instances = state.instances.values();
        let ready = instances.filter(|i| i.desired == Desired::Run && i.status.state.is_ready());
        // What a node that is down said last is no more known to be so.
        let is_up = |i: &&Arc<Instance>| state.nodes[&i.node].status != NodeStatus::Down;
        ready.filter(is_up).map(|i| i.id.replica.clone()).collect::<BTreeSet<_>>().len()
    };
    let (had, has) = (ready(before), ready(after));
    let retires = steps.iter().any(|step| matches!(step, Step::Retire { .. }));
    // A rollback's policy and the step that gives way for want of room may take one more.
    let policy = [&spec.update, &spec.rollback];
    let allowed = policy.iter().map(|p| p.max_unavailable.max(1) as usize).max().unwrap();
    let allowed = if spec.update.parallelism == 0 { wanted } else { allowed };
    assert!(
        !retires || has >= had.min(wanted.saturating_sub(allowed)),
        "from {had} to {has} ready of {wanted}"
    );
}

/// What a fresh scheduler decides about a state.
fn decide(state: &State) -> Vec<Effect> {
    let mut scheduler = Scheduler::new(3);
    let mut effects = scheduler.step(Now::default(), Input::Leadership(true));
    let state = Arc::new(state.clone());
    effects
        .extend(scheduler.step(Now::default(), Input::StateChanged { state, dirty: Dirty::All }));
    assert!(effects.is_empty());
    let due = scheduler.deadline().unwrap();
    scheduler.wake(Now { mono: due, ..Now::default() })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_history_comes_to_rest(history in proptest::collection::vec(happening(), 1..40)) {
        let mut world = start();
        for what in &history {
            happen(&mut world, what);
        }
        for node in 0..3 {
            change(&mut world, node, |node| {
                node.schedulable = true;
                node.status = NodeStatus::Ready;
            });
        }
        world.converge();
        // Planning once more, with or without memory, changes nothing.
        prop_assert_eq!(world.pass(), Vec::new());
        let again = decide(&world.state);
        prop_assert!(again.is_empty(), "{again:?}");
        check_rest(&world);
    }

    #[test]
    fn equal_states_give_equal_commands(history in proptest::collection::vec(happening(), 1..30)) {
        let mut world = start();
        for what in &history {
            happen(&mut world, what);
        }
        let one = decide(&world.state);
        let mut nodes: Vec<_> = world.state.nodes.values().cloned().collect();
        nodes.reverse();
        world.state.nodes = nodes.into_iter().map(|node| (node.id.clone(), node)).collect();
        prop_assert_eq!(one, decide(&world.state));
    }

    #[test]
    fn scaling_moves_nothing_else(from in 0..8_u32, to in 0..8_u32, nodes in 1..6_usize) {
        let mut world = World::new(nodes);
        let mut spec = specs::deployment("shop");
        specs::add(&mut spec, &format!("web replicas={from}"));
        world.apply(spec).unwrap();
        world.converge();
        let before: BTreeSet<String> = world.placed().into_iter().collect();
        let services = [(ServiceName::new("web"), to)].into();
        world.send(Command::Scale { deployment: shop(), services }).unwrap();
        world.converge();
        let after: BTreeSet<String> = world.placed().into_iter().collect();
        prop_assert_eq!(before.intersection(&after).count(), from.min(to) as usize);
        prop_assert_eq!(after.len(), to as usize);
    }
}

/// At rest every slot has one instance of the current revision, unless something says why not.
fn check_rest(world: &World) {
    let state = &world.state;
    let Some(record) = state.current(&shop()) else { return };
    let deployment = &state.deployments[&shop()];
    for spec in record.spec.services.values() {
        let key = (shop(), spec.name.clone());
        let rollout = state.rollouts.get(&key).expect("a rollout was begun");
        assert_eq!(rollout.to, record.number);
        let wanted = state.wanted_replicas(deployment, spec).unwrap() as usize;
        let slots: Vec<_> = state.replicas_of(&key).collect();
        assert_eq!(slots.len(), wanted, "slots of {}", spec.name);
        for slot in slots {
            let staying: Vec<_> =
                state.instances_of(&slot.id).filter(|i| i.desired == Desired::Run).collect();
            assert!(staying.len() <= 1, "{} has two instances at rest", slot.id);
            let fits = staying.iter().any(|i| jaco_state::is_up_to_date(state, slot, i));
            let excused = slot.waiting.is_some() || rollout.state == RolloutState::Paused;
            assert!(fits || excused, "{} is not as wanted and nothing says why", slot.id);
        }
    }
}

#[test]
fn a_thousand_replicas_spread_over_fifty_nodes() {
    let mut world = World::new(50);
    let mut spec = specs::deployment("shop");
    for service in 0..10 {
        specs::add(&mut spec, &format!("s{service} replicas=100 cpu=10"));
    }
    world.apply(spec).unwrap();
    world.converge();
    let mut by_node = BTreeMap::new();
    for instance in world.state.instances.values() {
        *by_node.entry(instance.node.clone()).or_insert(0) += 1;
        assert_eq!(instance.status.state, InstanceState::Running);
    }
    assert_eq!(by_node.len(), 50);
    assert!(by_node.values().all(|n_instances| *n_instances == 20), "{by_node:?}");
    for command in &world.commands {
        let Command::Schedule { steps, .. } = command else { panic!("only schedules") };
        assert!(steps.len() <= 500);
    }
}

#[test]
fn an_idle_cluster_neither_wakes_nor_writes() {
    let mut world = World::new(3);
    let mut spec = specs::deployment("shop");
    specs::add(&mut spec, "web replicas=3");
    world.apply(spec).unwrap();
    world.converge();
    assert_eq!(world.scheduler.deadline(), None);
    assert_eq!(world.pass(), Vec::new());
    assert_eq!(world.scheduler.deadline(), None);
}

#[test]
fn a_follower_decides_nothing_and_a_refused_proposal_is_tried_again() {
    let mut world = World::new(1);
    let mut spec = specs::deployment("shop");
    specs::add(&mut spec, "web");
    world.apply(spec).unwrap();
    let mut scheduler = Scheduler::new(4);
    let state = Arc::new(world.state.clone());
    scheduler.step(Now::default(), Input::StateChanged { state, dirty: Dirty::All });
    assert_eq!(scheduler.deadline(), None);

    scheduler.step(Now::default(), Input::Leadership(true));
    let due = scheduler.deadline().unwrap();
    let effects = scheduler.wake(Now { mono: due, ..Now::default() });
    let [Effect::Propose { op, command }] = effects.as_slice() else { panic!("{effects:?}") };
    assert_eq!(scheduler.deadline(), None, "nothing runs while a proposal is under way");

    let refused = Err(world::fault("no_leader", None));
    let now = Now { mono: due, ..Now::default() };
    assert!(scheduler.step(now, Input::Proposed { op: *op, result: refused }).is_empty());
    let again = scheduler.deadline().unwrap();
    assert!(again > due);
    let effects = scheduler.wake(Now { mono: again, ..Now::default() });
    let [Effect::Propose { command: second, .. }] = effects.as_slice() else { panic!() };
    assert_eq!(command, second);
}
