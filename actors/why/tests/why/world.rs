//! Three nodes, three deployments, everything running; and commands that break it.

use crate::door::DoorFacts;
use jaco_model::command::{ApplyDeployment, Command, Envelope, InitCluster, InstanceReport, Step};
use jaco_model::entity::{
    Documents, ImagePin, InstanceState, Ipam, MeshFacts, MeshKind, Node, NodeFacts, NodeStatus,
    Origin, Slot,
};
use jaco_model::spec::{
    Condition, ContainerSpec, Dependency, DeploymentSpec, FailureAction, NetworkAttachment,
    NetworkMode, NetworkSpec, NodeLossAction, NodeLossPolicy, Placement, PortMode, PortSpec,
    Protocol, RestartCondition, RestartPolicy, ServiceMode, ServiceSpec, Sharing, UpdateOrder,
    UpdatePolicy,
};
use jaco_model::{
    ClusterId, DeploymentName, ErrorCode, Fault, Generation, Identity, InstanceId, Millis, NodeId,
    NodeName, ReplicaId, RequestId, Revision, ServiceName, WallMs,
};
use jaco_state::State;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

/// The cluster, and what was said about the nodes.
pub(crate) struct World {
    pub(crate) state: State,
    /// Words about what a node sees, such as `mesh n2 dead`.
    pub(crate) sights: Vec<(NodeId, Vec<String>)>,
    /// Nodes that do not answer.
    pub(crate) silent: BTreeMap<NodeId, String>,
    /// Nodes that the one that explains takes for dead.
    pub(crate) suspects: Vec<NodeId>,
    /// What concerns the front door.
    pub(crate) door: DoorFacts,
}

impl World {
    /// | replica | on | networks of its deployment |
    /// |---|---|---|
    /// | shop-web-0, shop-web-1 | n1, n2 | default, front |
    /// | shop-db-0 | n2 | default, with the alias postgres |
    /// | shop-cache-0 | n1 | back, which is internal |
    /// | shop-tool-0 | n1 | those of its host |
    /// | beta-db-0 | n1 | default |
    /// | proxy-edge-0 | n3 | front of shop, which is shared with it |
    pub(crate) fn new() -> World {
        let mut world = World {
            state: State::default(),
            sights: Vec::new(),
            silent: BTreeMap::new(),
            suspects: Vec::new(),
            door: DoorFacts::default(),
        };
        world.send(Command::InitCluster(Box::new(InitCluster {
            cluster_id: ClusterId::from("c1"),
            name: "test".to_owned(),
            hash_key: "5a".repeat(32),
            history_limit: 10,
            node: node(1),
            trust: None,
            ipam: Some(Ipam::default()),
        })));
        for number in 1..=3 {
            world.state.nodes.insert(node(number).id, Arc::new(node(number)));
        }
        world.apply("shop", &["_default", "front", "back"], &shop());
        world.apply("beta", &["_default"], &[service("db", &["_default"])]);
        world.apply("proxy", &["theirs"], &[service("edge", &["theirs"])]);
        for (replica, at) in [
            ("shop-web-0", "n1"),
            ("shop-web-1", "n2"),
            ("shop-db-0", "n2"),
            ("shop-cache-0", "n1"),
            ("shop-tool-0", "n1"),
            ("beta-db-0", "n1"),
            ("proxy-edge-0", "n3"),
        ] {
            world.place(replica, at);
            world.report(replica, InstanceState::Running, None);
        }
        world
    }

    /// Carries out a command of a golden file.
    pub(crate) fn run(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let id = |name: &&str| NodeId::from(*name);
        match words.as_slice() {
            ["report", replica, state, fault @ ..] => {
                let fault = fault.first().map(|code| {
                    let code = ErrorCode::ALL.iter().find(|known| known.as_str() == *code);
                    Fault::new(*code.unwrap(), "as its node says")
                });
                self.report(replica, state_of(state), fault);
            }
            ["wait", replica, code] => {
                let code = ErrorCode::ALL.iter().find(|known| known.as_str() == *code).unwrap();
                let waiting = Fault::new(*code, "0 of 3 nodes fit").with("n1", "insufficient_cpu");
                let (replica, waiting) = (self.add(replica), Some(waiting));
                let steps = vec![Step::Explain { replica, waiting }];
                self.send(Command::Schedule { based_on: 0, steps });
            }
            ["well"] => {
                self.sights.clear();
                self.silent.clear();
                self.suspects.clear();
            }
            ["down", node] => self.change(node, |node| node.status = NodeStatus::Down),
            ["condition", node, word] => {
                self.change(node, |node| node.facts.conditions.push((*word).to_owned()));
            }
            ["silent", node, why @ ..] => drop(self.silent.insert(id(node), why.join(" "))),
            ["suspect", node] => self.suspects.push(id(node)),
            ["sees", node, words @ ..] => {
                let words = words.iter().map(|word| (*word).to_owned()).collect();
                self.sights.push((id(node), words));
            }
            _ => assert!(self.run_door(&words), "no command: {line}"),
        }
    }

    fn change(&mut self, name: &str, change: impl FnOnce(&mut Node)) {
        let mut node = Node::clone(&self.state.nodes[name]);
        change(&mut node);
        self.state.nodes.insert(node.id.clone(), Arc::new(node));
    }

    fn send(&mut self, command: Command) {
        let index = self.state.applied_index + 1;
        let envelope = Envelope {
            request_id: RequestId(u128::from(index)),
            at: WallMs(1_767_225_600_000 + 1_000 * index),
            identity: Identity::from("ada"),
            os_user: None,
            command,
        };
        jaco_state::apply(&mut self.state, index, &envelope).result.unwrap();
    }

    fn apply(&mut self, deployment: &str, networks: &[&str], services: &[ServiceSpec]) {
        let pin = |service: &ServiceSpec| {
            let reference = format!("{}:1", service.name);
            (service.name.clone(), ImagePin { reference, digest: "sha256:1".into(), local: false })
        };
        let network = |key: &&str| {
            let internal = *key == "back";
            let external = (*key == "theirs").then(|| "shop/front".to_owned());
            let shared = match *key {
                "front" => Sharing::Deployments(["proxy"].map(DeploymentName::from).into()),
                _ => Sharing::Nobody,
            };
            let network = NetworkSpec { internal, external, shared, ..NetworkSpec::default() };
            ((*key).to_owned(), network)
        };
        self.send(Command::Apply(Box::new(ApplyDeployment {
            spec: DeploymentSpec {
                name: DeploymentName::from(deployment),
                services: services.iter().map(|s| (s.name.clone(), s.clone())).collect(),
                networks: networks.iter().map(network).collect(),
                volumes: BTreeMap::new(),
                history: None,
                routes: Vec::new(),
                acme_email: None,
                acme_dns: BTreeMap::new(),
                secrets: BTreeMap::new(),
            },
            documents: Documents::default(),
            images: services.iter().map(pin).collect(),
            expected_revision: None,
            origin: Origin::default(),
            privileged: BTreeMap::new(),
        })));
    }

    /// Adds a slot by its name, which says what it is of.
    fn add(&mut self, name: &str) -> ReplicaId {
        let (rest, index) = name.rsplit_once('-').unwrap();
        let (deployment, service) = rest.split_once('-').unwrap();
        let replica = ReplicaId::from(name);
        let step = Step::AddReplica {
            replica: replica.clone(),
            deployment: DeploymentName::from(deployment),
            service: ServiceName::from(service),
            slot: Slot::Index(index.parse().unwrap()),
        };
        self.send(Command::Schedule { based_on: 0, steps: vec![step] });
        replica
    }

    fn place(&mut self, name: &str, node: &str) {
        let replica = self.add(name);
        let node = NodeId::from(node);
        let (generation, revision) = (Generation(1), Revision(1));
        let step = Step::Place { replica, generation, node, revision };
        self.send(Command::Schedule { based_on: 0, steps: vec![step] });
    }

    /// What the node says of the first instance of a replica; its addresses follow from its blocks.
    fn report(&mut self, replica: &str, state: InstanceState, fault: Option<Fault>) {
        let id = InstanceId { replica: ReplicaId::from(replica), generation: Generation(1) };
        let instance = self.state.instances[&id].clone();
        let record = self.state.revision(&instance.deployment, instance.revision).unwrap().clone();
        let networks = &record.spec.services[&instance.service].container.networks;
        let addresses = networks.iter().map(|NetworkAttachment { network, .. }| {
            let scope = record.spec.scope_of(network);
            let block = self.state.block(&scope, &instance.node).unwrap();
            let last = replica.bytes().map(u32::from).sum::<u32>() % 60;
            let address = Ipv4Addr::from_bits(block.gateway().to_bits() + 1 + last);
            (network.clone(), address.to_string())
        });
        let waits = matches!(state, InstanceState::Pending | InstanceState::Pulling);
        let report = InstanceReport {
            id,
            state,
            fault,
            container_id: (!waits).then(|| "4f".repeat(32)),
            addresses: if waits { BTreeMap::new() } else { addresses.collect() },
            restarts: 0,
            exit_code: None,
            in_place_done: 0,
            at: WallMs(1_767_225_700_000),
            started_at: None,
            last_health_at: None,
        };
        let node = instance.node.clone();
        self.send(Command::Report { node, instances: vec![report], volumes: Vec::new() });
    }
}

fn state_of(text: &str) -> InstanceState {
    use InstanceState::{Degraded, Failed, Pending, Pulling, Running, Starting};
    let all = [Pending, Pulling, Starting, Running, Degraded, Failed];
    all.into_iter().find(|state| state.as_str() == text).unwrap()
}

fn node(number: u8) -> Node {
    let name = format!("n{number}");
    Node {
        id: NodeId::new(name.clone()),
        name: NodeName::new(name),
        raft_id: u64::from(number),
        status: NodeStatus::Ready,
        schedulable: true,
        voter: true,
        labels: BTreeMap::new(),
        facts: NodeFacts {
            address: format!("192.0.2.{number}:7001"),
            engine_version: "28.5.1".to_owned(),
            mesh: Some(MeshFacts {
                public_key: format!("{number}{}=", "A".repeat(42)),
                port: 51820,
                kind: MeshKind::Kernel,
                mtu: 1420,
            }),
            ..NodeFacts::default()
        },
        joined_at: WallMs(1),
        serials: Vec::new(),
        liveness_epoch: 0,
        leaving: None,
        mesh_address: Some(Ipv4Addr::new(10, 80, 0, number)),
    }
}

fn shop() -> Vec<ServiceSpec> {
    let mut web = service("web", &["_default", "front"]);
    web.ports.push(PortSpec {
        name: Some("http".into()),
        target: 8080,
        published: None,
        protocol: Protocol::Tcp,
        host_ip: None,
        mode: PortMode::Ingress,
        app_protocol: None,
        options: Default::default(),
    });
    web.depends_on.push(Dependency {
        service: ServiceName::from("db"),
        condition: Condition::ServiceHealthy,
        required: true,
        restart: false,
    });
    let mut db = service("db", &["_default"]);
    db.container.networks[0].aliases.push("postgres".to_owned());
    let mut tool = service("tool", &[]);
    tool.container.network_mode = NetworkMode::Host;
    let (cache, idle) = (service("cache", &["back"]), service("idle", &["_default"]));
    vec![web, db, cache, tool, idle]
}

fn policy() -> UpdatePolicy {
    UpdatePolicy {
        parallelism: 1,
        delay: Millis(0),
        order: UpdateOrder::StartFirst,
        order_explicit: false,
        monitor: Millis(0),
        failure_action: FailureAction::Pause,
        max_failure_ppm: 0,
        max_unavailable: 0,
    }
}

fn service(name: &str, networks: &[&str]) -> ServiceSpec {
    let attach = |key: &&str| NetworkAttachment {
        network: (*key).to_owned(),
        ..NetworkAttachment::default()
    };
    ServiceSpec {
        name: ServiceName::from(name),
        mode: ServiceMode::Replicated { replicas: 1 },
        placement: Placement::default(),
        container: ContainerSpec {
            networks: networks.iter().map(attach).collect(),
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
