//! Blocks of scopes on their way from commands to prefixes of peers.

use crate::model::{key, net};
use crate::state::node;
use jaco_model::command::{ApplyDeployment, Command, Envelope, InitCluster, Step};
use jaco_model::entity::{Documents, ImagePin, Ipam, Origin, Slot};
use jaco_model::spec::{
    ContainerSpec, DeploymentSpec, FailureAction, NetworkAttachment, NetworkSpec, NodeLossAction,
    NodeLossPolicy, Placement, RestartCondition, RestartPolicy, ServiceMode, ServiceSpec,
    UpdateOrder, UpdatePolicy,
};
use jaco_model::{
    ClusterId, DeploymentName, Generation, Identity, Millis, NodeId, RequestId, Revision,
    ServiceName, WallMs, name,
};
use jaco_netmesh_core::{Settings, desired};
use jaco_state::State;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// 2026-01-01T00:00:00Z.
const START: u64 = 1_767_225_600_000;

fn run(state: &mut State, command: Command) {
    let index = state.applied_index + 1;
    let envelope = Envelope {
        request_id: RequestId(u128::from(index)),
        at: WallMs(START + index * 1_000),
        identity: Identity::from("local"),
        os_user: None,
        command,
    };
    jaco_state::apply(state, index, &envelope).result.unwrap();
}

fn init() -> Command {
    Command::InitCluster(Box::new(InitCluster {
        cluster_id: ClusterId::from("c0ffee"),
        name: "test".to_owned(),
        hash_key: "5a".repeat(32),
        history_limit: 10,
        node: node(1, "192.168.1.1:7001"),
        trust: None,
        ipam: Some(Ipam::default()),
    }))
}

fn policy() -> UpdatePolicy {
    UpdatePolicy {
        parallelism: 1,
        delay: Millis(0),
        order: UpdateOrder::StartFirst,
        order_explicit: false,
        monitor: Millis::secs(5),
        failure_action: FailureAction::Rollback,
        max_failure_ppm: 0,
        max_unavailable: 0,
    }
}

fn service() -> ServiceSpec {
    ServiceSpec {
        name: ServiceName::from("web"),
        mode: ServiceMode::Replicated { replicas: 1 },
        placement: Placement::default(),
        container: ContainerSpec {
            image: "web:1".to_owned(),
            networks: vec![NetworkAttachment {
                network: "_default".to_owned(),
                ..NetworkAttachment::default()
            }],
            ..ContainerSpec::default()
        },
        probe: None,
        start_limit: Millis::secs(60),
        drain_timeout: Millis::secs(10),
        update: policy(),
        rollback: policy(),
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

/// A deployment with one replica on the first node.
fn deploy(state: &mut State, deployment: &str) {
    let web = ServiceName::from("web");
    let pin =
        ImagePin { reference: "web:1".to_owned(), digest: "sha256:1".to_owned(), local: false };
    let deployment = DeploymentName::from(deployment);
    let wish = ApplyDeployment {
        spec: DeploymentSpec {
            name: deployment.clone(),
            services: [(web.clone(), service())].into(),
            networks: [("_default".to_owned(), NetworkSpec::default())].into(),
            volumes: BTreeMap::new(),
            history: None,
            routes: Vec::new(),
            acme_email: None,
            acme_dns: BTreeMap::new(),
            secrets: BTreeMap::new(),
        },
        documents: Documents { compose: String::new(), jaco: String::new() },
        images: [(web.clone(), pin)].into(),
        expected_revision: None,
        origin: Origin { directory: "/src".to_owned(), user: "ann".to_owned() },
        privileged: BTreeMap::new(),
    };
    run(state, Command::Apply(Box::new(wish)));
    let replica = name::replica_id(&deployment, &web, 0);
    let slot = Slot::Index(0);
    let add = Step::AddReplica { replica: replica.clone(), deployment, service: web, slot };
    let place = Step::Place {
        replica,
        generation: Generation(1),
        node: NodeId::new("n1"),
        revision: Revision(1),
    };
    run(state, Command::Schedule { based_on: 0, steps: vec![add] });
    run(state, Command::Schedule { based_on: 0, steps: vec![place] });
}

#[test]
fn blocks_of_a_node_are_prefixes_of_its_peer() {
    let mut state = State::default();
    run(&mut state, init());
    let mut first = node(1, "192.168.1.1:7001");
    first.mesh_address = state.nodes[&NodeId::new("n1")].mesh_address;
    let second = node(2, "192.168.1.2:7001");
    for node in [first, second] {
        state.nodes.insert(node.id.clone(), Arc::new(node));
    }
    let settings = Settings { me: NodeId::new("n2"), port: 51820, mtu: None, seed: 0 };
    let allowed = |state: &State| desired(state, &settings).unwrap().peers[&key(1)].allowed.clone();
    assert_eq!(allowed(&state), BTreeSet::from([net("10.80.0.1/32")]));
    deploy(&mut state, "a");
    assert_eq!(allowed(&state), BTreeSet::from([net("10.80.0.1/32"), net("10.80.32.0/26")]));
    deploy(&mut state, "b");
    assert_eq!(allowed(&state), BTreeSet::from([net("10.80.0.1/32"), net("10.80.32.0/25")]));
    // On the node itself they are no peer's.
    let own = Settings { me: NodeId::new("n1"), ..settings };
    let mesh = desired(&state, &own).unwrap();
    assert_eq!(mesh.peers[&key(2)].allowed, BTreeSet::from([net("10.80.0.2/32")]));
}
