//! From the replicated state to the table.

use crate::fixture::{host, ip, net};
use crate::world::World;
use jaco_firewall_core::{Input, Policy, Prefix, ScopeBlocks};
use jaco_model::command::{ApplyDeployment, Command, Envelope, InitCluster, Step};
use jaco_model::entity::{
    Block, Documents, ImagePin, InstanceState, Ipam, Node, NodeFacts, NodeStatus, Origin, Scope,
    Slot,
};
use jaco_model::spec::{
    ContainerSpec, DeploymentSpec, FailureAction, NetworkAttachment, NetworkSpec, NodeLossAction,
    NodeLossPolicy, Placement, RestartCondition, RestartPolicy, ServiceMode, ServiceSpec,
    UpdateOrder, UpdatePolicy,
};
use jaco_model::{
    ClusterId, DeploymentName, Generation, Identity, Millis, NodeId, NodeName, RequestId, Revision,
    ServiceName, WallMs, name,
};
use jaco_state::State;
use std::collections::BTreeMap;
use std::sync::Arc;

fn node(id: &str, address: &str) -> Node {
    Node {
        id: NodeId::from(id),
        name: NodeName::from(id),
        raft_id: 1,
        status: NodeStatus::Ready,
        schedulable: true,
        voter: true,
        labels: BTreeMap::new(),
        facts: NodeFacts {
            address: format!("{address}:7000"),
            api_address: "name.example:7443".to_owned(),
            ..NodeFacts::default()
        },
        joined_at: WallMs(1),
        serials: Vec::new(),
        liveness_epoch: 0,
        leaving: None,
        mesh_address: None,
    }
}

fn service() -> ServiceSpec {
    let policy = UpdatePolicy {
        parallelism: 1,
        delay: Millis(0),
        order: UpdateOrder::StartFirst,
        order_explicit: false,
        monitor: Millis::secs(5),
        failure_action: FailureAction::Rollback,
        max_failure_ppm: 0,
        max_unavailable: 0,
    };
    let attach = |network: &str| NetworkAttachment {
        network: network.to_owned(),
        ..NetworkAttachment::default()
    };
    ServiceSpec {
        name: ServiceName::from("web"),
        mode: ServiceMode::Replicated { replicas: 1 },
        placement: Placement::default(),
        container: ContainerSpec {
            image: "web:1".to_owned(),
            networks: vec![attach("_default"), attach("back")],
            ..ContainerSpec::default()
        },
        probe: None,
        start_limit: Millis::secs(60),
        drain_timeout: Millis::secs(10),
        update: policy.clone(),
        rollback: policy,
        restart: RestartPolicy {
            condition: RestartCondition::Any,
            delay: Millis::secs(1),
            max_attempts: None,
            window: Millis::secs(5),
        },
        depends_on: Vec::new(),
        ports: Vec::new(),
        labels: BTreeMap::new(),
        on_node_loss: NodeLossPolicy { action: NodeLossAction::Reschedule, grace: None },
        singleton: false,
        rebalance: true,
    }
}

fn wish() -> Command {
    let service = service();
    let image =
        ImagePin { reference: "web:1".to_owned(), digest: "sha256:1".to_owned(), local: false };
    let back = NetworkSpec { internal: true, block_prefix: Some(24), ..NetworkSpec::default() };
    Command::Apply(Box::new(ApplyDeployment {
        images: [(service.name.clone(), image)].into(),
        spec: DeploymentSpec {
            name: DeploymentName::from("shop"),
            services: [(service.name.clone(), service)].into(),
            networks: [("_default".to_owned(), NetworkSpec::default()), ("back".to_owned(), back)]
                .into(),
            volumes: BTreeMap::new(),
            history: None,
            routes: Vec::new(),
            acme_email: None,
            acme_dns: BTreeMap::new(),
            secrets: BTreeMap::new(),
        },
        documents: Documents { compose: String::new(), jaco: String::new() },
        expected_revision: None,
        origin: Origin { directory: "/src".to_owned(), user: "ann".to_owned() },
        privileged: BTreeMap::new(),
    }))
}

fn init(ipam: Option<Ipam>) -> Command {
    Command::InitCluster(Box::new(InitCluster {
        cluster_id: ClusterId::from("c0ffee"),
        name: "test".to_owned(),
        hash_key: "5a".repeat(32),
        history_limit: 10,
        node: node("n-1", "192.168.7.1"),
        trust: None,
        ipam,
    }))
}

fn place() -> Command {
    let (deployment, service) = (DeploymentName::from("shop"), ServiceName::from("web"));
    let replica = name::replica_id(&deployment, &service, 0);
    let slot = Slot::Index(0);
    let steps = vec![
        Step::AddReplica { replica: replica.clone(), deployment, service, slot },
        Step::Place {
            replica,
            generation: Generation(1),
            node: NodeId::from("n-1"),
            revision: Revision(1),
        },
    ];
    Command::Schedule { based_on: 0, steps }
}

fn state(commands: Vec<Command>) -> State {
    let mut state = State::default();
    for (index, command) in (1..).zip(commands) {
        let envelope = Envelope {
            request_id: RequestId(u128::from(index)),
            at: WallMs(1_767_225_600_000 + index),
            identity: Identity::from("local"),
            os_user: None,
            command,
        };
        jaco_state::apply(&mut state, index, &envelope).result.unwrap();
    }
    state
}

fn policy_of(state: State) -> Option<Policy> {
    let mut world = World::new();
    world.step(Input::StateChanged(Arc::new(state)));
    world.run(500);
    world.core.policy().map(|policy| policy.as_ref().clone())
}

#[test]
fn blocks_of_the_state_become_bridges_and_scopes() {
    let mut state = state(vec![init(Some(Ipam::default())), wish(), place()]);
    let implicit = Scope::new(DeploymentName::from("shop"), "_default");
    let elsewhere = NodeId::from("n-2");
    state.nodes.insert(elsewhere.clone(), Arc::new(node("n-2", "192.168.7.2")));
    let block = Block {
        scope: implicit.clone(),
        node: elsewhere.clone(),
        net: "10.90.0.0/26".parse().unwrap(),
        since: WallMs(1),
        idle_since: None,
    };
    state.blocks.insert((implicit.clone(), elsewhere), Arc::new(block));
    let here: BTreeMap<String, (Scope, Block)> = state
        .blocks_on(&NodeId::from("n-1"))
        .map(|(scope, block)| (state.scopes[scope].bridge.clone(), (scope.clone(), block.clone())))
        .collect();
    assert_eq!(here.len(), 2, "a block for each network");
    let policy = policy_of(state).unwrap();
    assert_eq!((policy.pool, policy.mesh), (net("10.80.0.0/12"), net("10.80.0.0/19")));
    assert_eq!(policy.block_lengths, [24, 26].into());
    assert_eq!(policy.node_addresses, [ip("192.168.7.1"), ip("192.168.7.2")].into());
    assert_eq!(policy.bridges.keys().collect::<Vec<_>>(), here.keys().collect::<Vec<_>>());
    for (name, (scope, block)) in here {
        let bridge = &policy.bridges[&name];
        let is_implicit = scope == implicit;
        assert_eq!((bridge.block, bridge.gateway), (block.net.into(), block.gateway()));
        assert_eq!(bridge.internal, !is_implicit);
        let remote = is_implicit.then(|| net("10.90.0.0/26")).into_iter().collect();
        assert!(policy.scopes.contains(&ScopeBlocks { local: block.net.into(), remote }));
    }
}

#[test]
fn without_an_address_plan_nothing_is_installed() {
    assert_eq!(policy_of(State::default()), None);
    assert_eq!(policy_of(state(vec![init(None)])), None);
    let planned = policy_of(state(vec![init(Some(Ipam::default()))])).unwrap();
    assert!(planned.scopes.is_empty() && planned.block_lengths == [26].into());
}

/// The only instance runs on a node with these addresses.
fn run_at(state: &mut State, node: &str, addresses: [(&str, &str); 2]) {
    let id = state.instances.keys().next().cloned().unwrap();
    let mut instance = state.instances[&id].as_ref().clone();
    instance.node = NodeId::from(node);
    instance.status.state = InstanceState::Running;
    instance.status.addresses =
        addresses.map(|(key, address)| (key.to_owned(), address.to_owned())).into();
    state.instances.insert(id, Arc::new(instance));
}

#[test]
fn a_container_in_several_networks_may_use_its_default_route_for_all() {
    let mut state = state(vec![init(Some(Ipam::default())), wish(), place()]);
    state.nodes.insert(NodeId::from("n-2"), Arc::new(node("n-2", "192.168.7.2")));
    let scope = |key: &str| Scope::new(DeploymentName::from("shop"), key);
    for (key, net) in [("_default", "10.90.0.0/26"), ("back", "10.91.0.0/24")] {
        let node = NodeId::from("n-2");
        let net = net.parse().unwrap();
        let block = Block {
            scope: scope(key),
            node: node.clone(),
            net,
            since: WallMs(1),
            idle_since: None,
        };
        state.blocks.insert((scope(key), node), Arc::new(block));
    }
    let here = |key: &str| state.block(&scope(key), &NodeId::from("n-1")).unwrap().net;
    let (front, back) = (here("_default"), here("back"));
    let bridge = |key: &str| state.scope(&scope(key)).unwrap().bridge.clone();
    let (at_front, at_back) = (bridge("_default"), bridge("back"));

    let (in_front, in_back) = (host(front.into(), 2), host(back.into(), 2));
    let texts = (in_front.to_string(), in_back.to_string());
    run_at(&mut state, "n-1", [("_default", &texts.0), ("back", &texts.1)]);
    let local = policy_of(state.clone()).unwrap();
    assert_eq!(local.strays, [(at_front, in_back), (at_back, in_front)].into());
    let detours = [(in_front, net("10.91.0.0/24")), (in_back, net("10.90.0.0/26"))];
    assert_eq!(local.detours, detours.into());
    assert_eq!(local.open, [in_back].into(), "the closed one, by way of the other");

    run_at(&mut state, "n-2", [("_default", "10.90.0.2"), ("back", "10.91.0.2")]);
    let remote = policy_of(state.clone()).unwrap();
    let detours = [(ip("10.90.0.2"), Prefix::from(back)), (ip("10.91.0.2"), Prefix::from(front))];
    assert_eq!(remote.detours, detours.into());
    assert!(remote.strays.is_empty() && remote.open.is_empty(), "they are another node's");

    let id = state.instances.keys().next().cloned().unwrap();
    let mut ended = state.instances[&id].as_ref().clone();
    ended.status.state = InstanceState::Stopped;
    state.instances.insert(id, Arc::new(ended));
    assert!(policy_of(state).unwrap().detours.is_empty());
}
