//! Small specs, commands and envelopes to build tests from.

use jaco_model::command::{
    ApplyDeployment, Command, Envelope, InitCluster, InstanceReport, Reply, Step,
};
use jaco_model::entity::{
    Documents, ImagePin, InstanceState, Node, NodeFacts, NodeStatus, Origin, Slot,
};
use jaco_model::spec::{
    ContainerSpec, DeploymentSpec, FailureAction, NetworkAttachment, NetworkSpec, NodeLossAction,
    NodeLossPolicy, Placement, RestartCondition, RestartPolicy, ServiceMode, ServiceSpec,
    UpdateOrder, UpdatePolicy,
};
use jaco_model::{
    ClusterId, DeploymentName, Fault, Generation, Identity, InstanceId, Millis, NodeId, NodeName,
    ReplicaId, RequestId, Revision, ServiceName, WallMs, name,
};
use jaco_state::{Applied, State};
use std::collections::BTreeMap;

/// 2026-01-01T00:00:00Z.
pub(crate) const START: u64 = 1_767_225_600_000;

pub(crate) fn node(id: &str, host: &str) -> Node {
    Node {
        id: NodeId::from(id),
        name: NodeName::from(host),
        raft_id: 1,
        status: NodeStatus::Ready,
        schedulable: true,
        voter: true,
        labels: BTreeMap::new(),
        facts: NodeFacts::default(),
        joined_at: WallMs(START),
        serials: Vec::new(),
        liveness_epoch: 0,
        leaving: None,
        mesh_address: None,
    }
}

pub(crate) fn init(history_limit: u32) -> Command {
    Command::InitCluster(Box::new(InitCluster {
        cluster_id: ClusterId::from("c0ffee"),
        name: "test".to_owned(),
        hash_key: "5a".repeat(32),
        history_limit,
        node: node("n1", "alpha"),
        trust: None,
        ipam: Some(jaco_model::entity::Ipam::default()),
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

pub(crate) fn service(service: &str, replicas: u32) -> ServiceSpec {
    ServiceSpec {
        name: ServiceName::from(service),
        mode: ServiceMode::Replicated { replicas },
        placement: Placement::default(),
        container: ContainerSpec {
            image: format!("{service}:1"),
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

/// A wish for a deployment; every image reference is its own digest.
pub(crate) fn wish(deployment: &str, services: Vec<ServiceSpec>) -> ApplyDeployment {
    let pin = |service: &ServiceSpec| ImagePin {
        reference: service.container.image.clone(),
        digest: format!("sha256:{}", service.container.image),
        local: false,
    };
    let images = services.iter().map(|service| (service.name.clone(), pin(service))).collect();
    let services: BTreeMap<_, _> =
        services.into_iter().map(|service| (service.name.clone(), service)).collect();
    let compose = services.values().map(|s| format!("{}: {:?}\n", s.name, s.mode)).collect();
    ApplyDeployment {
        spec: DeploymentSpec {
            name: DeploymentName::from(deployment),
            services,
            networks: [("_default".to_owned(), NetworkSpec::default())].into(),
            volumes: BTreeMap::new(),
            history: None,
            routes: Vec::new(),
            acme_email: None,
            acme_dns: BTreeMap::new(),
            secrets: BTreeMap::new(),
        },
        documents: Documents { compose, jaco: String::new() },
        images,
        expected_revision: None,
        origin: Origin { directory: "/src".to_owned(), user: "ann@desk".to_owned() },
        privileged: BTreeMap::new(),
    }
}

pub(crate) fn apply_command(deployment: &str, services: Vec<ServiceSpec>) -> Command {
    Command::Apply(Box::new(wish(deployment, services)))
}

pub(crate) fn add(deployment: &str, service: &str, index: u32) -> Step {
    let (deployment, service) = (DeploymentName::from(deployment), ServiceName::from(service));
    let replica = name::replica_id(&deployment, &service, index);
    Step::AddReplica { replica, deployment, service, slot: Slot::Index(index) }
}

pub(crate) fn place(replica: &str, generation: u64, node: &str, revision: u64) -> Step {
    Step::Place {
        replica: ReplicaId::from(replica),
        generation: Generation(generation),
        node: NodeId::from(node),
        revision: Revision(revision),
    }
}

pub(crate) fn instance(text: &str) -> InstanceId {
    text.parse().expect("<replica>.g<generation>")
}

pub(crate) fn instance_report(id: InstanceId, state: InstanceState, at: WallMs) -> InstanceReport {
    InstanceReport {
        id,
        state,
        fault: None,
        container_id: None,
        addresses: BTreeMap::new(),
        restarts: 0,
        exit_code: None,
        in_place_done: 0,
        at,
        started_at: None,
        last_health_at: None,
    }
}

pub(crate) fn report(node: &str, instances: &[(&str, InstanceState)], at: u64) -> Command {
    let at = WallMs(START + at);
    let reports =
        instances.iter().map(|(id, state)| instance_report(instance(id), *state, at)).collect();
    Command::Report { node: NodeId::from(node), instances: reports, volumes: Vec::new() }
}

pub(crate) fn schedule(steps: Vec<Step>) -> Command {
    Command::Schedule { based_on: 0, steps }
}

pub(crate) fn envelope(id: u64, at: u64, command: Command) -> Envelope {
    Envelope {
        request_id: RequestId(u128::from(id)),
        at: WallMs(START + at),
        identity: Identity::from("local"),
        os_user: Some("1000(ann)".to_owned()),
        command,
    }
}

/// A state with its log: each command takes the next index and a second.
#[derive(Default)]
pub(crate) struct Bench {
    pub(crate) state: State,
    pub(crate) clock: u64,
    next_id: u64,
}

impl Bench {
    pub(crate) fn initialised() -> Bench {
        let mut bench = Bench::default();
        bench.run(init(10)).expect("a fresh state takes a cluster");
        bench
    }

    pub(crate) fn run(&mut self, command: Command) -> Result<Reply, Fault> {
        self.run_numbered(command).result
    }

    /// Runs a command under a request id of its own.
    pub(crate) fn run_numbered(&mut self, command: Command) -> Applied {
        self.next_id += 1;
        self.run_as(self.next_id, command)
    }

    pub(crate) fn run_as(&mut self, id: u64, command: Command) -> Applied {
        self.clock += 1_000;
        let index = self.state.applied_index + 1;
        let applied = jaco_state::apply(&mut self.state, index, &envelope(id, self.clock, command));
        self.state.check().expect("invariants hold after every command");
        applied
    }
}
