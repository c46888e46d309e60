//! Small specs and commands to build states from.

use jaco_model::command::{ApplyDeployment, Command, InitCluster, Step};
use jaco_model::entity::{Documents, ImagePin, Node, NodeFacts, NodeStatus, Origin, Slot};
use jaco_model::spec::{
    ContainerSpec, DeploymentSpec, FailureAction, Healthcheck, HealthcheckTest, Hook, Mount,
    MountKind, NetworkAttachment, NetworkMode, NetworkSpec, NodeLossAction, NodeLossPolicy,
    Placement, PortMode, PortOptions, PortSpec, Probe, ProbeCheck, ProbeSpec, Protocol,
    RestartCondition, RestartPolicy, ServiceMode, ServiceSpec, UpdateOrder, UpdatePolicy,
    VolumeSpec,
};
use jaco_model::{
    ClusterId, DeploymentName, Generation, Millis, NodeId, NodeName, ReplicaId, Revision,
    ServiceName, WallMs, name,
};
use std::collections::BTreeMap;

/// The cluster of all tests.
pub(crate) const CLUSTER: &str = "c1";
/// The node of all tests.
pub(crate) const NODE: &str = "n1";
/// The deployment of all tests.
pub(crate) const DEPLOYMENT: &str = "shop";
/// 2026-01-01T00:00:00Z, when every test begins.
pub(crate) const START: u64 = 1_767_225_600_000;

pub(crate) fn init() -> Command {
    Command::InitCluster(Box::new(InitCluster {
        cluster_id: ClusterId::from(CLUSTER),
        name: "test".to_owned(),
        hash_key: "5a".repeat(32),
        history_limit: 10,
        trust: None,
        ipam: Some(jaco_model::entity::Ipam::default()),
        node: Node {
            id: NodeId::from(NODE),
            name: NodeName::from("alpha"),
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
        },
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

/// A service as `name key=value key…` describes it.
pub(crate) fn service(words: &str) -> ServiceSpec {
    let mut words = words.split_whitespace();
    let mut spec = plain(words.next().expect("a service has a name"));
    for word in words {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        adjust(&mut spec, key, value);
    }
    spec
}

fn adjust(spec: &mut ServiceSpec, key: &str, value: &str) {
    let seconds = || Millis::secs(value.parse().expect("seconds"));
    match key {
        "env" => _ = spec.container.environment.insert("A".to_owned(), value.to_owned()),
        "health" => spec.container.healthcheck = Some(healthcheck()),
        "probe" => {
            let probe = Some(probe());
            spec.probe = Some(ProbeSpec { readiness: probe.clone(), liveness: probe });
        }
        "readiness" => {
            spec.probe = Some(ProbeSpec { readiness: Some(probe()), liveness: None });
        }
        "restart" => {
            spec.restart.condition = match value {
                "no" => RestartCondition::None,
                "on-failure" => RestartCondition::OnFailure,
                _ => RestartCondition::Any,
            }
        }
        "attempts" => spec.restart.max_attempts = Some(value.parse().expect("a number")),
        "grace" => spec.container.stop_grace_period = seconds(),
        "limit" => spec.start_limit = seconds(),
        "post_start" => spec.container.post_start.push(hook(value)),
        "pre_stop" => spec.container.pre_stop.push(hook(value)),
        "volume" => spec.container.mounts.push(Mount {
            kind: MountKind::Volume { volume: value.to_owned(), no_copy: false, subpath: None },
            target: "/data".to_owned(),
            read_only: false,
        }),
        "published" => spec.ports.push(PortSpec {
            name: None,
            target: 8_080,
            published: value.parse().ok(),
            protocol: Protocol::Tcp,
            host_ip: None,
            mode: PortMode::Ingress,
            app_protocol: None,
            options: PortOptions::default(),
        }),
        "drain" => spec.drain_timeout = seconds(),
        "dns" => spec.container.dns.push(value.to_owned()),
        "resolv" => spec.container.mounts.push(Mount {
            kind: MountKind::Anonymous,
            target: "/etc/resolv.conf".to_owned(),
            read_only: true,
        }),
        "shares" => {
            spec.container.network_mode = NetworkMode::Service(ServiceName::from(value));
            spec.container.networks.clear();
        }
        other => panic!("unknown word {other}"),
    }
}

fn plain(name: &str) -> ServiceSpec {
    ServiceSpec {
        name: ServiceName::from(name),
        mode: ServiceMode::Replicated { replicas: 1 },
        placement: Placement::default(),
        container: ContainerSpec {
            image: format!("{name}:1"),
            stop_grace_period: Millis::secs(10),
            networks: vec![NetworkAttachment {
                network: "_default".to_owned(),
                ..NetworkAttachment::default()
            }],
            ..ContainerSpec::default()
        },
        probe: None,
        start_limit: Millis::secs(60),
        drain_timeout: Millis::secs(30),
        update: policy(),
        rollback: policy(),
        restart: RestartPolicy {
            condition: RestartCondition::Any,
            delay: Millis::secs(1),
            max_attempts: None,
            window: Millis::secs(30),
        },
        depends_on: Vec::new(),
        ports: Vec::new(),
        labels: BTreeMap::new(),
        on_node_loss: NodeLossPolicy { action: NodeLossAction::Reschedule, grace: None },
        singleton: false,
        rebalance: true,
    }
}

fn healthcheck() -> Healthcheck {
    Healthcheck {
        test: HealthcheckTest::Shell("true".to_owned()),
        interval: Some(Millis::secs(5)),
        timeout: None,
        retries: Some(3),
        start_period: None,
        start_interval: None,
    }
}

fn probe() -> Probe {
    Probe {
        check: ProbeCheck::Tcp { port: 80 },
        interval: Millis::secs(5),
        start_interval: Millis::secs(1),
        timeout: Millis::secs(2),
        failure_threshold: 3,
        success_threshold: 1,
        start_period: Millis(0),
    }
}

fn hook(command: &str) -> Hook {
    Hook {
        command: vec![command.to_owned()],
        user: None,
        privileged: false,
        working_dir: None,
        environment: BTreeMap::new(),
    }
}

/// Applies the services as the whole deployment.
pub(crate) fn apply(services: &[ServiceSpec]) -> Command {
    let pin = |service: &ServiceSpec| ImagePin {
        reference: service.container.image.clone(),
        digest: format!("sha256:{}", service.name),
        local: false,
    };
    let images = services.iter().map(|service| (service.name.clone(), pin(service))).collect();
    let keys = services.iter().flat_map(|service| &service.container.mounts);
    let volumes = keys.filter_map(|mount| match &mount.kind {
        MountKind::Volume { volume, .. } => Some((
            volume.clone(),
            VolumeSpec {
                name: name::volume_name(&DeploymentName::from(DEPLOYMENT), volume),
                driver: "local".to_owned(),
                ..VolumeSpec::default()
            },
        )),
        _ => None,
    });
    Command::Apply(Box::new(ApplyDeployment {
        spec: DeploymentSpec {
            name: DeploymentName::from(DEPLOYMENT),
            services: services.iter().map(|s| (s.name.clone(), s.clone())).collect(),
            networks: [("_default".to_owned(), NetworkSpec::default())].into(),
            volumes: volumes.collect(),
            history: None,
            routes: Vec::new(),
            acme_email: None,
            acme_dns: BTreeMap::new(),
            secrets: BTreeMap::new(),
        },
        documents: Documents { compose: format!("{services:?}"), jaco: String::new() },
        images,
        expected_revision: None,
        origin: Origin::default(),
        privileged: BTreeMap::new(),
    }))
}

/// Makes a slot.
pub(crate) fn add(service: &str, index: u32) -> Step {
    let (deployment, service) = (DeploymentName::from(DEPLOYMENT), ServiceName::from(service));
    let replica = name::replica_id(&deployment, &service, index);
    Step::AddReplica { replica, deployment, service, slot: Slot::Index(index) }
}

/// Makes the next generation of a slot here.
pub(crate) fn place(replica: &ReplicaId, generation: Generation, revision: Revision) -> Step {
    Step::Place { replica: replica.clone(), generation, node: NodeId::from(NODE), revision }
}

/// One scheduler pass.
pub(crate) fn schedule(steps: Vec<Step>) -> Command {
    Command::Schedule { based_on: 0, steps }
}
