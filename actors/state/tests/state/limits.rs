//! What the state keeps about commands is bounded.

use crate::fixture::{self, Bench};
use jaco_model::command::Command;
use jaco_model::{DeploymentName, ServiceName};
use jaco_state::State;

fn scale(replicas: u32) -> Command {
    let deployment = DeploymentName::from("shop");
    Command::Scale { deployment, services: [(ServiceName::from("web"), replicas)].into() }
}

fn run(state: &mut State, at: u64, command: Command) {
    let index = state.applied_index + 1;
    let applied = jaco_state::apply(state, index, &fixture::envelope(index, at, command));
    applied.result.expect("it is accepted");
}

fn shop() -> State {
    let mut bench = Bench::initialised();
    bench
        .run(fixture::apply_command("shop", vec![fixture::service("web", 1)]))
        .expect("it is accepted");
    bench.state
}

#[test]
fn the_audit_log_keeps_its_newest_ten_thousand_lines() {
    let mut state = shop();
    for i in 0..10_020 {
        run(&mut state, 10_000 + u64::from(i) * 100, scale(2 + i % 2));
    }
    state.check().unwrap();
    assert_eq!(state.audit().count(), 10_000);
    assert_eq!(state.audit().last().unwrap().raft_index, state.applied_index);
    // Ten minutes of requests at one every 100 ms.
    assert!(state.requests.len() <= 6_001, "{}", state.requests.len());
}

#[test]
fn the_oldest_answers_make_room() {
    let mut state = shop();
    for i in 0..65_540 {
        let command = Command::Delete { deployment: DeploymentName::from("x"), volumes: false };
        let envelope = fixture::envelope(100 + i, 10_000 + i, command);
        let index = state.applied_index + 1;
        jaco_state::apply(&mut state, index, &envelope).result.unwrap_err();
    }
    assert_eq!(state.requests.len(), 65_536);
    assert!(!state.requests.contains_key(&jaco_model::RequestId(103)));
    assert!(state.requests.contains_key(&jaco_model::RequestId(104)));
}

#[test]
fn audit_lines_live_thirty_days() {
    let mut state = shop();
    assert_eq!(state.audit().count(), 2);
    run(&mut state, 31 * 86_400_000, scale(2));
    state.check().unwrap();
    assert_eq!(state.audit().map(|event| event.kind.as_str()).collect::<Vec<_>>(), ["scale"]);
}

#[test]
fn a_clock_that_goes_back_is_not_believed() {
    let mut state = shop();
    run(&mut state, 90_000, scale(2));
    let before = state.cluster.as_ref().unwrap().cluster_time;
    run(&mut state, 0, scale(3));
    assert_eq!(state.cluster.as_ref().unwrap().cluster_time, before);
    assert_eq!(state.audit().last().unwrap().ts, before);
}

#[test]
fn histories_keep_their_newest_entries() {
    use jaco_model::entity::InstanceState::{Degraded, Draining, Running, Stopped};
    let mut bench = Bench::default();
    bench.state = shop();
    bench.run_as(500, fixture::schedule(vec![fixture::add("shop", "web", 0)]));
    for generation in 1..8 {
        let id = format!("shop-web-0.g{generation}");
        let place = fixture::place("shop-web-0", generation, "n1", 1);
        bench.run_as(501, fixture::schedule(vec![place]));
        for i in 0..8 {
            bench.run_as(502, fixture::report("n1", &[(&id, Running)], i));
            bench.run_as(502, fixture::report("n1", &[(&id, Degraded)], i));
        }
        let instance = &bench.state.instances[&fixture::instance(&id)];
        assert_eq!(instance.status.history.len(), 10);
        bench.run_as(503, fixture::report("n1", &[(&id, Draining), (&id, Stopped)], 9));
    }
    let replica = bench.state.replicas.values().next().unwrap();
    let past: Vec<u64> = replica.past.iter().map(|instance| instance.id.generation.0).collect();
    assert_eq!(past, [3, 4, 5, 6, 7]);
}

#[test]
fn revisions_beyond_the_limit_are_forgotten_unless_something_runs_them() {
    let mut bench = Bench::default();
    bench.run(fixture::init(3)).unwrap();
    let apply = |bench: &mut Bench, n| {
        bench.run(fixture::apply_command("shop", vec![fixture::service("web", n)])).unwrap();
    };
    let kept = |bench: &Bench| bench.state.revisions.keys().map(|k| k.1.0).collect::<Vec<_>>();
    apply(&mut bench, 1);
    let add = fixture::add("shop", "web", 0);
    bench.run(fixture::schedule(vec![add, fixture::place("shop-web-0", 1, "n1", 1)])).unwrap();
    for n in 2..=5 {
        apply(&mut bench, n);
    }
    assert_eq!(kept(&bench), [1, 3, 4, 5]);
    let stopped = jaco_model::entity::InstanceState::Stopped;
    bench.run(fixture::report("n1", &[("shop-web-0.g1", stopped)], 0)).unwrap();
    assert_eq!(kept(&bench), [3, 4, 5]);
}
