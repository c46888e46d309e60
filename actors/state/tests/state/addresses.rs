//! Addresses are given out once, taken back, and explained when there are none.

use crate::fixture::{self, Bench};
use jaco_model::command::{Command, Envelope, JoinNode, Step};
use jaco_model::entity::{
    InstanceState, Ipam, Leaving, MeshFacts, MeshKind, NodeFacts, NodeStatus, Scope,
};
use jaco_model::spec::{NetworkAttachment, NetworkSpec, Sharing};
use jaco_model::{DeploymentName, ErrorCode, NodeId, ReplicaId, WallMs, name};
use jaco_state::State;
use proptest::prelude::*;

const IDLE: u64 = 600_000;

fn init(pool: &str, block_prefix: u8) -> Command {
    let Command::InitCluster(mut init) = fixture::init(3) else { unreachable!() };
    init.ipam = Some(Ipam { pool: pool.parse().expect("a prefix"), block_prefix });
    Command::InitCluster(init)
}

fn scope(deployment: &str, network: &str) -> Scope {
    Scope::new(DeploymentName::from(deployment), network)
}

fn node_id(id: &str) -> NodeId {
    NodeId::from(id)
}

fn run(bench: &mut Bench, command: Command) -> Vec<jaco_model::event::Event> {
    let applied = bench.run_numbered(command);
    applied.result.expect("the command is taken");
    applied.events
}

/// A deployment with one placed replica.
fn deploy(bench: &mut Bench, deployment: &str, node: &str) {
    run(
        bench,
        Command::Apply(Box::new(fixture::wish(deployment, vec![fixture::service("web", 1)]))),
    );
    run(bench, fixture::schedule(vec![fixture::add(deployment, "web", 0)]));
    run(bench, fixture::schedule(vec![fixture::place(&format!("{deployment}-web-0"), 1, node, 1)]));
}

fn end(bench: &mut Bench, instance: &str, node: &str) {
    let at = bench.clock;
    run(bench, fixture::report(node, &[(instance, InstanceState::Stopped)], at));
}

fn release(bench: &mut Bench, deployment: &str, node: &str) {
    let (scope, node) = (scope(deployment, "default"), node_id(node));
    run(bench, fixture::schedule(vec![Step::ReleaseBlock { scope, node }]));
}

fn net(bench: &Bench, deployment: &str, node: &str) -> Option<String> {
    let block = bench.state.block(&scope(deployment, "default"), &node_id(node))?;
    Some(block.net.to_string())
}

#[test]
fn the_lowest_block_is_given_out_and_comes_back_after_its_quarantine() {
    let mut bench = Bench::default();
    run(&mut bench, init("10.80.0.0/12", 26));
    for (deployment, expected) in [("a", "10.80.32.0/26"), ("b", "10.80.32.64/26")] {
        deploy(&mut bench, deployment, "n1");
        assert_eq!(net(&bench, deployment, "n1").as_deref(), Some(expected));
    }
    let record = bench.state.scope(&scope("a", "_default")).unwrap();
    assert_eq!((record.engine_name.as_str(), record.bridge.len()), ("jaco_a__default", 15));
    end(&mut bench, "a-web-0.g1", "n1");
    release(&mut bench, "a", "n1");
    assert!(net(&bench, "a", "n1").is_some(), "it was idle for a moment only");
    bench.clock += IDLE;
    release(&mut bench, "a", "n1");
    assert_eq!(net(&bench, "a", "n1"), None);
    assert!(bench.state.scope(&scope("a", "default")).is_none());
    deploy(&mut bench, "c", "n1");
    assert_eq!(net(&bench, "c", "n1").as_deref(), Some("10.80.32.128/26"), "quarantine");
    bench.clock += 60_000;
    deploy(&mut bench, "d", "n1");
    assert_eq!(net(&bench, "d", "n1").as_deref(), Some("10.80.32.0/26"));
}

#[test]
fn a_replica_that_comes_back_keeps_the_block() {
    let mut bench = Bench::default();
    run(&mut bench, init("10.80.0.0/12", 26));
    deploy(&mut bench, "a", "n1");
    end(&mut bench, "a-web-0.g1", "n1");
    bench.clock += IDLE;
    run(&mut bench, fixture::schedule(vec![fixture::place("a-web-0", 2, "n1", 1)]));
    release(&mut bench, "a", "n1");
    let block = bench.state.block(&scope("a", "default"), &node_id("n1")).unwrap();
    assert_eq!((block.net.to_string().as_str(), block.idle_since), ("10.80.32.0/26", None));
}

#[test]
fn an_exhausted_pool_is_explained_and_a_purge_makes_room() {
    let mut bench = Bench::default();
    // Four blocks of /22, of which the mesh spoils one.
    run(&mut bench, init("10.80.0.0/20", 22));
    assert_eq!(bench.state.pool_use(bench.state.cluster_time()), 0);
    for deployment in ["a", "b", "c", "d"] {
        deploy(&mut bench, deployment, "n1");
    }
    assert_eq!(bench.state.pool_use(bench.state.cluster_time()), 80);
    let slot = |bench: &Bench| bench.state.replicas[&ReplicaId::from("d-web-0")].as_ref().clone();
    let fault = slot(&bench).waiting.unwrap();
    assert_eq!(fault.code, ErrorCode::SubnetPoolExhausted);
    let details: Vec<_> = ["pool", "needed", "quarantined", "largest_users"]
        .map(|key| fault.detail(key).unwrap().to_owned())
        .into();
    assert_eq!(details, ["10.80.0.0/20", "/22", "0", "a/default: 1, b/default: 1, c/default: 1"]);
    assert_eq!(slot(&bench).generation.0, 0, "nothing was placed");
    run(&mut bench, Command::Delete { deployment: "a".into(), volumes: false });
    end(&mut bench, "a-web-0.g1", "n1");
    let steps = vec![
        Step::RemoveReplica { replica: "a-web-0".into() },
        Step::Purge { deployment: "a".into() },
    ];
    run(&mut bench, fixture::schedule(steps));
    assert_eq!(net(&bench, "a", "n1"), None);
    let place = || fixture::schedule(vec![fixture::place("d-web-0", 1, "n1", 1)]);
    run(&mut bench, place());
    assert_eq!(slot(&bench).waiting.unwrap().detail("quarantined"), Some("1024"));
    bench.clock += 60_000;
    run(&mut bench, place());
    assert_eq!(slot(&bench).waiting, None);
    assert_eq!(net(&bench, "d", "n1").as_deref(), Some("10.80.4.0/22"));
}

#[test]
fn a_full_block_takes_no_more() {
    let mut bench = Bench::default();
    run(&mut bench, init("10.80.0.0/12", 28));
    run(
        &mut bench,
        Command::Apply(Box::new(fixture::wish("a", vec![fixture::service("web", 14)]))),
    );
    for index in 0..14 {
        run(&mut bench, fixture::schedule(vec![fixture::add("a", "web", index)]));
        let id = format!("a-web-{index}");
        run(&mut bench, fixture::schedule(vec![fixture::place(&id, 1, "n1", 1)]));
    }
    assert_eq!(bench.state.instances.len(), 13);
    let waiting = bench.state.replicas[&ReplicaId::from("a-web-13")].waiting.clone().unwrap();
    assert_eq!(waiting.code, ErrorCode::NetworkBlockFull);
}

#[test]
fn networks_have_blocks_of_the_size_they_ask_for_and_four_sizes_are_all() {
    let mut bench = Bench::default();
    run(&mut bench, init("10.80.0.0/12", 26));
    for (deployment, asked, given) in
        [("a", 24, 24), ("b", 28, 28), ("c", 22, 22), ("d", 23, 26), ("e", 28, 28)]
    {
        let mut wish = fixture::wish(deployment, vec![fixture::service("web", 1)]);
        let network =
            NetworkSpec { block_prefix: Some(asked), internal: true, ..NetworkSpec::default() };
        wish.spec.networks.insert("_default".to_owned(), network);
        run(&mut bench, Command::Apply(Box::new(wish)));
        run(&mut bench, fixture::schedule(vec![fixture::add(deployment, "web", 0)]));
        let id = format!("{deployment}-web-0");
        run(&mut bench, fixture::schedule(vec![fixture::place(&id, 1, "n1", 1)]));
        let record = bench.state.scope(&scope(deployment, "default")).unwrap();
        assert_eq!((record.prefix, record.internal), (given, true), "{deployment}");
    }
    let wish = fixture::wish("a", vec![fixture::service("web", 2)]);
    run(&mut bench, Command::Apply(Box::new(wish)));
    let record = bench.state.scope(&scope("a", "default")).unwrap();
    assert_eq!((record.prefix, record.internal), (24, false), "the size is fixed, the rest is not");
}

#[test]
fn a_cluster_without_a_plan_catches_up() {
    let mut bench = Bench::default();
    let Command::InitCluster(mut old) = fixture::init(3) else { unreachable!() };
    old.ipam = None;
    run(&mut bench, Command::InitCluster(old));
    deploy(&mut bench, "a", "n1");
    assert_eq!(net(&bench, "a", "n1"), None);
    assert_eq!(bench.state.pool().to_string(), "10.80.0.0/12");
    run(&mut bench, Command::EstablishAddresses(Ipam::default()));
    assert_eq!(net(&bench, "a", "n1").as_deref(), Some("10.80.32.0/26"));
    let mesh = bench.state.nodes[&node_id("n1")].mesh_address;
    assert_eq!(mesh.unwrap().to_string(), "10.80.0.1");
    let before = bench.state.blocks.clone();
    let other = Ipam { pool: "10.64.0.0/12".parse().unwrap(), block_prefix: 26 };
    run(&mut bench, Command::EstablishAddresses(other));
    assert_eq!((bench.state.pool(), &bench.state.blocks), (Ipam::default().pool, &before));
}

fn join(bench: &mut Bench, id: &str, raft_id: u64) {
    let secret_hash = format!("{:064x}", raft_id);
    let expires_at = WallMs(bench.clock + 60_000 + fixture::START);
    run(bench, Command::IssueJoinToken { secret_hash: secret_hash.clone(), expires_at });
    let mut node = fixture::node(id, id);
    node.raft_id = raft_id;
    let key_digest = secret_hash.clone();
    run(bench, Command::JoinNode(Box::new(JoinNode { secret_hash, key_digest, node })));
}

fn remove(bench: &mut Bench, id: &str) {
    run(bench, Command::RemoveNode { node: node_id(id), leaving: Leaving::Force });
    run(bench, Command::ForgetNode { node: node_id(id) });
}

#[test]
fn a_mesh_address_stays_unused_for_a_day() {
    let mut bench = Bench::default();
    run(&mut bench, init("10.80.0.0/12", 26));
    let mesh =
        |bench: &Bench, id: &str| bench.state.nodes[&node_id(id)].mesh_address.unwrap().to_string();
    join(&mut bench, "n2", 2);
    assert_eq!(mesh(&bench, "n2"), "10.80.0.2");
    remove(&mut bench, "n2");
    join(&mut bench, "n3", 3);
    assert_eq!(mesh(&bench, "n3"), "10.80.0.3");
    bench.clock += 24 * 3_600_000;
    join(&mut bench, "n4", 4);
    assert_eq!(mesh(&bench, "n4"), "10.80.0.2");
}

#[test]
fn a_mesh_key_belongs_to_one_member() {
    let mut bench = Bench::default();
    run(&mut bench, init("10.80.0.0/12", 26));
    join(&mut bench, "n2", 2);
    let report = |node: &str, key: String| Command::ReportNode {
        node: node_id(node),
        status: NodeStatus::Ready,
        facts: Box::new(NodeFacts {
            mesh: Some(MeshFacts {
                public_key: key,
                port: 51820,
                kind: MeshKind::Kernel,
                mtu: 1420,
            }),
            ..NodeFacts::default()
        }),
    };
    let key = |c: &str| format!("{}A=", c.repeat(42));
    run(&mut bench, report("n1", key("B")));
    run(&mut bench, report("n1", key("B")));
    let taken = bench.run_numbered(report("n2", key("B"))).result.unwrap_err();
    assert_eq!((taken.code, taken.detail("owner")), (ErrorCode::AlreadyExists, Some("alpha")));
    let bad = bench.run_numbered(report("n2", "key".to_owned())).result.unwrap_err();
    assert_eq!(bad.detail("field"), Some("public_key"));
    assert_eq!(bench.state.nodes[&node_id("n2")].facts.mesh, None);
    run(&mut bench, report("n2", key("C")));
}

/// One random change of a small cluster.
#[derive(Clone, Copy, Debug)]
struct Choice {
    kind: u8,
    a: u8,
    b: u8,
    seconds: u16,
}

const NODES: [&str; 3] = ["n1", "n2", "n3"];
const DEPLOYMENTS: [&str; 5] = ["a", "b", "c", "d", "a_b"];

impl Choice {
    fn node(self) -> &'static str {
        NODES[usize::from(self.b) % NODES.len()]
    }

    fn deployment(self) -> &'static str {
        DEPLOYMENTS[usize::from(self.a) % DEPLOYMENTS.len()]
    }

    /// The service is on two networks; one of them may be of another deployment.
    fn wish(self) -> Command {
        let mut service = fixture::service("web", 3);
        let network = "net".to_owned();
        service
            .container
            .networks
            .push(NetworkAttachment { network, ..NetworkAttachment::default() });
        let mut wish = fixture::wish(self.deployment(), vec![service]);
        let external = (self.b > 200).then(|| "b/net".to_owned());
        let block_prefix = (self.b < 100).then_some(22 + self.b % 7);
        let shared = Sharing::Everybody;
        let network = NetworkSpec { external, block_prefix, shared, ..NetworkSpec::default() };
        wish.spec.networks.insert("net".to_owned(), network);
        Command::Apply(Box::new(wish))
    }

    fn command(self, state: &State) -> Command {
        let deployment = DeploymentName::from(self.deployment());
        let instances: Vec<_> = state.instances.values().collect();
        let blocks: Vec<_> = state.blocks.values().collect();
        match self.kind {
            0..=2 => self.wish(),
            3..=10 => {
                let key = (deployment.clone(), "web".into());
                let next = state.counters.get(&key).copied().unwrap_or(0);
                let index = if self.kind < 8 { next } else { u32::from(self.b) % (next + 1) };
                let replica = name::replica_id(&deployment, &key.1, index);
                let generation = state.replicas.get(&replica).map_or(1, |r| r.generation.0 + 1);
                let revision = state.deployments.get(&deployment).map_or(1, |d| d.revision.0);
                let node = NODES[usize::from(self.a ^ self.b) % 3];
                fixture::schedule(vec![
                    fixture::add(self.deployment(), "web", next),
                    fixture::place(replica.as_str(), generation, node, revision),
                ])
            }
            11..=14 if !instances.is_empty() => {
                let instance = instances[usize::from(self.a) % instances.len()];
                let id = instance.id.to_string();
                fixture::report(
                    instance.node.as_str(),
                    &[(&id, InstanceState::Stopped)],
                    fixture::START,
                )
            }
            15..=16 if !blocks.is_empty() => {
                let block = blocks[usize::from(self.a) % blocks.len()];
                let (scope, node) = (block.scope.clone(), block.node.clone());
                fixture::schedule(vec![Step::ReleaseBlock { scope, node }])
            }
            17 => Command::Delete { deployment, volumes: false },
            18 => {
                let slots = state.replicas.values().filter(|slot| slot.deployment == deployment);
                let mut steps: Vec<_> =
                    slots.map(|slot| Step::RemoveReplica { replica: slot.id.clone() }).collect();
                steps.push(Step::Purge { deployment });
                fixture::schedule(steps)
            }
            19 if self.b.is_multiple_of(4) => {
                Command::RemoveNode { node: node_id(self.node()), leaving: Leaving::Force }
            }
            20 => Command::ForgetNode { node: node_id(self.node()) },
            _ => Command::ReportNode {
                node: node_id(self.node()),
                status: NodeStatus::Ready,
                facts: Box::default(),
            },
        }
    }
}

fn choices() -> impl Strategy<Value = Vec<Choice>> {
    let choice = (0_u8..22, any::<u8>(), any::<u8>(), 0_u16..900)
        .prop_map(|(kind, a, b, seconds)| Choice { kind, a, b, seconds });
    proptest::collection::vec(choice, 1..120)
}

/// Plays the choices in a pool of very few blocks; the state is checked after each.
fn play(choices: &[Choice]) -> Result<(Vec<Envelope>, State, usize), TestCaseError> {
    let mut state = State::default();
    let (mut log, mut n_refused) = (Vec::new(), 0);
    let mut commands: Vec<Command> = vec![init("192.168.16.0/20", 23)];
    for (i, id) in NODES.iter().enumerate().skip(1) {
        let (secret_hash, raft_id) = (format!("{i:064x}"), i as u64 + 1);
        let expires_at = WallMs(fixture::START + 3_600_000);
        commands.push(Command::IssueJoinToken { secret_hash: secret_hash.clone(), expires_at });
        let mut node = fixture::node(id, id);
        node.raft_id = raft_id;
        let key_digest = secret_hash.clone();
        commands.push(Command::JoinNode(Box::new(JoinNode { secret_hash, key_digest, node })));
        commands.push(Command::ReportNode {
            node: node_id(id),
            status: NodeStatus::Ready,
            facts: Box::default(),
        });
    }
    for a in 0..5 {
        commands.push(Choice { kind: 0, a, b: 40 * a, seconds: 0 }.wish());
    }
    let (n_first, mut clock) = (commands.len(), 0);
    let first = commands.into_iter().map(Ok);
    for (i, step) in first.chain(choices.iter().map(Err)).enumerate() {
        let command = step.unwrap_or_else(|choice: &Choice| {
            clock += u64::from(choice.seconds) * 1_000;
            choice.command(&state)
        });
        let index = i as u64 + 1;
        let envelope = fixture::envelope(index, clock, command);
        let applied = jaco_state::apply(&mut state, index, &envelope);
        prop_assert!(i >= n_first || applied.result.is_ok(), "{:?}", applied.result);
        state.check().map_err(|e| TestCaseError::fail(format!("{e} after {envelope:?}")))?;
        n_refused += state
            .replicas
            .values()
            .filter_map(|replica| replica.waiting.as_ref())
            .filter(|waiting| waiting.code == ErrorCode::SubnetPoolExhausted)
            .count();
        log.push(envelope);
    }
    Ok((log, state, n_refused))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    /// `State::check` finds every overlap.
    #[test]
    fn no_history_gives_an_address_out_twice(choices in choices()) {
        let (log, state, _) = play(&choices)?;
        let mut replayed = State::default();
        for (i, envelope) in log.iter().enumerate() {
            jaco_state::apply(&mut replayed, i as u64 + 1, envelope);
            let before = replayed.clone();
            jaco_state::apply(&mut replayed, i as u64 + 1, envelope);
            prop_assert_eq!(&before.blocks, &replayed.blocks, "twice {:?}", envelope);
        }
        prop_assert_eq!(state.hash(), replayed.hash());
        prop_assert_eq!(&state, &replayed);
        let restored = State::from_sections(&state.to_sections());
        let restored = restored.map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert_eq!(&state, &restored);
    }
}

/// The property is worth nothing on histories that never fill the pool or free a block.
#[test]
fn random_histories_fill_the_pool_and_empty_it() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut seen = [0; 4];
    for _ in 0..24 {
        let choices = choices().new_tree(&mut runner).unwrap().current();
        let (_, state, n_refused) = play(&choices).unwrap();
        let idle = state.blocks.values().filter(|block| block.idle_since.is_some()).count();
        let sizes = [state.blocks.len(), idle, state.quarantine.len(), n_refused];
        seen.iter_mut().zip(sizes).for_each(|(seen, size)| *seen += size);
    }
    assert!(seen.iter().all(|n| *n > 0), "{seen:?}");
}
