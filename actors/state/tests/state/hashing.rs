//! What the state hash and the spec hashes depend on, and what they do not.

use crate::fixture::{self, Bench, START};
use jaco_model::command::Command;
use jaco_model::entity::InstanceState::{Pulling, Running};
use jaco_model::spec::{NetworkSpec, PortMode, PortSpec, Protocol, ServiceSpec};
use jaco_model::{DeploymentName, ServiceName};
use jaco_state::State;

/// Two replicas placed on one node.
fn placed() -> Bench {
    let mut bench = Bench::initialised();
    bench
        .run(fixture::apply_command("shop", vec![fixture::service("web", 2)]))
        .expect("it is accepted");
    let steps = vec![
        fixture::add("shop", "web", 0),
        fixture::add("shop", "web", 1),
        fixture::place("shop-web-0", 1, "n1", 1),
        fixture::place("shop-web-1", 1, "n1", 1),
    ];
    bench.run(fixture::schedule(steps)).expect("it is accepted");
    bench
}

/// Applies commands at one moment, so that only their order can make a difference.
fn at_once(bench: &Bench, commands: &[Command]) -> State {
    let mut state = bench.state.clone();
    for command in commands {
        let index = state.applied_index + 1;
        let envelope = fixture::envelope(index, 60_000, command.clone());
        jaco_state::apply(&mut state, index, &envelope).result.expect("it is accepted");
        state.check().expect("invariants hold");
    }
    state
}

#[test]
fn the_order_of_independent_changes_leaves_no_trace() {
    let bench = placed();
    let first = fixture::report("n1", &[("shop-web-0.g1", Running)], 50_000);
    let second = fixture::report("n1", &[("shop-web-1.g1", Pulling)], 50_000);
    let one_way = at_once(&bench, &[first.clone(), second.clone()]);
    let other_way = at_once(&bench, &[second, first]);
    assert_eq!(one_way, other_way);
    assert_eq!(one_way.hash(), other_way.hash());
}

#[test]
fn a_change_that_is_undone_leaves_no_trace() {
    use jaco_model::command::Step;
    let explain = |waiting| {
        let replica = jaco_model::ReplicaId::from("shop-web-0");
        fixture::schedule(vec![Step::Explain { replica, waiting }])
    };
    let why = jaco_model::Fault::new(jaco_model::ErrorCode::Unschedulable, "no room");
    let bench = placed();
    let undone = at_once(&bench, &[explain(Some(why.clone())), explain(None)]);
    let never = at_once(&bench, &[explain(None), explain(None)]);
    let waiting = at_once(&bench, &[explain(None), explain(Some(why))]);
    assert_eq!(undone.hash(), never.hash());
    assert_ne!(undone.hash(), waiting.hash());
}

#[test]
fn every_index_has_a_hash_of_its_own() {
    let bench = placed();
    let again = fixture::report("n1", &[], 50_000);
    let once = at_once(&bench, std::slice::from_ref(&again));
    let twice = at_once(&bench, &[again.clone(), again]);
    assert_ne!(once.hash(), twice.hash());
    assert_ne!(State::default().hash(), once.hash());
}

/// The spec hash of `web` after `change`, under a key made of `digit`.
fn spec_hash(digit: char, change: impl Fn(&mut ServiceSpec)) -> String {
    let mut service = fixture::service("web", 1);
    change(&mut service);
    let mut init = fixture::init(10);
    if let Command::InitCluster(init) = &mut init {
        init.hash_key = digit.to_string().repeat(64);
    }
    let mut state = State::default();
    for (index, command) in [(1, init), (2, fixture::apply_command("shop", vec![service]))] {
        let envelope = fixture::envelope(index, 0, command);
        jaco_state::apply(&mut state, index, &envelope).result.expect("it is accepted");
    }
    let (deployment, service) = (DeploymentName::from("shop"), ServiceName::from("web"));
    jaco_state::target_hash(&state, &deployment, &service)
        .expect("the service has a hash")
        .to_owned()
}

fn port(mode: PortMode) -> PortSpec {
    PortSpec {
        name: None,
        target: 80,
        published: Some(8080),
        protocol: Protocol::Tcp,
        host_ip: None,
        mode,
        app_protocol: None,
        options: Default::default(),
    }
}

#[test]
fn only_what_makes_the_container_changes_its_hash() {
    let plain = spec_hash('a', |_| {});
    assert_eq!(plain.len(), 64);
    let same: [fn(&mut ServiceSpec); 5] = [
        |web| web.mode = jaco_model::spec::ServiceMode::Replicated { replicas: 7 },
        |web| web.update.parallelism = 4,
        |web| web.placement.max_per_node = Some(1),
        |web| web.ports.push(PortSpec { published: None, ..port(PortMode::Host) }),
        |web| web.ports.push(port(PortMode::Ingress)),
    ];
    for (i, change) in same.iter().enumerate() {
        assert_eq!(spec_hash('a', change), plain, "harmless change {i}");
    }
    let other: [fn(&mut ServiceSpec); 4] = [
        |web| web.container.image = "web:2".to_owned(),
        |web| web.container.init = Some(true),
        |web| web.ports.push(port(PortMode::Host)),
        |web| web.probe = Some(jaco_model::spec::ProbeSpec { readiness: None, liveness: None }),
    ];
    for (i, change) in other.iter().enumerate() {
        assert_ne!(spec_hash('a', change), plain, "replacing change {i}");
    }
    assert_ne!(spec_hash('b', |_| {}), plain, "the key is part of it");
}

#[test]
fn a_network_definition_is_part_of_the_hash_of_those_on_it_alone() {
    let mut bench = Bench::initialised();
    let mut wish = fixture::wish("shop", vec![fixture::service("web", 1)]);
    wish.spec.networks.insert("other".to_owned(), NetworkSpec::default());
    let mut internal = |network: &str| {
        let mut wish = wish.clone();
        wish.spec.networks.entry(network.to_owned()).or_default().internal = true;
        bench.run(Command::Apply(Box::new(wish))).unwrap();
        let record = bench.state.current(&DeploymentName::from("shop")).unwrap();
        record.hashes[&ServiceName::from("web")].clone()
    };
    assert_ne!(internal("_default"), internal("other"));
    assert_eq!(internal("other"), internal("third"));
    assert!(bench.state.cluster.as_ref().unwrap().cluster_time.0 > START);
}
