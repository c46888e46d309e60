//! The core over a real state: two nodes, two deployments, one of which shares a network.

use crate::world::ask;
use jaco_dns_core::{DnsCore, Effect, Input, Settings, Zones};
use jaco_kit_core::{Core, Mono, Now, OpId, Wall};
use jaco_model::command::{ApplyDeployment, Command, Envelope, InitCluster, InstanceReport, Step};
use jaco_model::entity::{
    Documents, ImagePin, InstanceState, Ipam, Node, NodeFacts, NodeStatus, Origin, Scope, Slot,
};
use jaco_model::spec::{
    ContainerSpec, DeploymentSpec, FailureAction, NetworkAttachment, NetworkMode, NetworkSpec,
    NodeLossAction, NodeLossPolicy, Placement, PortMode, PortSpec, Protocol, RestartCondition,
    RestartPolicy, ServiceMode, ServiceSpec, Sharing, UpdateOrder, UpdatePolicy,
};
use jaco_model::{
    ClusterId, DeploymentName, Generation, Identity, InstanceId, Millis, NodeId, NodeName,
    RequestId, Revision, ServiceName, WallMs, name,
};
use jaco_state::State;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

fn node(id: &str) -> Node {
    Node {
        id: NodeId::from(id),
        name: NodeName::from(id),
        raft_id: 1,
        status: NodeStatus::Ready,
        schedulable: true,
        voter: true,
        labels: BTreeMap::new(),
        facts: NodeFacts::default(),
        joined_at: WallMs(1),
        serials: Vec::new(),
        liveness_epoch: 0,
        leaving: None,
        mesh_address: None,
    }
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

/// A service on networks by key; the first alias is its own, in all of them.
fn service(name: &str, networks: &[&str], alias: Option<&str>) -> ServiceSpec {
    let attach = |key: &&str| NetworkAttachment {
        network: (*key).to_owned(),
        aliases: alias.iter().map(|alias| (*alias).to_owned()).collect(),
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

/// A state that grows by commands, and the core of node `n1` over it.
struct Cluster {
    state: State,
    core: DnsCore,
    zones: Arc<Zones>,
    /// Orders that were not answered yet.
    listens: Vec<(OpId, String, Ipv4Addr)>,
    unlistened: Vec<Ipv4Addr>,
    now: u64,
}

impl Cluster {
    fn new() -> Cluster {
        let mut cluster = Cluster {
            state: State::default(),
            core: DnsCore::new(NodeId::from("n1"), Settings::default()),
            zones: Arc::default(),
            listens: Vec::new(),
            unlistened: Vec::new(),
            now: 1_000,
        };
        cluster.command(Command::InitCluster(Box::new(InitCluster {
            cluster_id: ClusterId::from("c1"),
            name: "test".to_owned(),
            hash_key: "5a".repeat(32),
            history_limit: 10,
            node: node("n1"),
            trust: None,
            ipam: Some(Ipam::default()),
        })));
        cluster.state.nodes.insert(NodeId::from("n2"), Arc::new(node("n2")));
        cluster
    }

    fn command(&mut self, command: Command) {
        let index = self.state.applied_index + 1;
        let envelope = Envelope {
            request_id: RequestId(u128::from(index)),
            at: WallMs(self.now + 1_767_225_600_000),
            identity: Identity::from("test"),
            os_user: None,
            command,
        };
        let applied = jaco_state::apply(&mut self.state, index, &envelope);
        applied.result.unwrap();
    }

    fn apply(
        &mut self,
        deployment: &str,
        networks: &[(&str, Option<&str>)],
        services: &[ServiceSpec],
    ) {
        let pin = |service: &ServiceSpec| {
            let reference = format!("{}:1", service.name);
            (service.name.clone(), ImagePin { reference, digest: "sha256:1".into(), local: false })
        };
        let network = |(key, external): &(&str, Option<&str>)| {
            let external = external.map(str::to_owned);
            let shared = Sharing::Everybody;
            ((*key).to_owned(), NetworkSpec { external, shared, ..NetworkSpec::default() })
        };
        self.command(Command::Apply(Box::new(ApplyDeployment {
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
            documents: Documents { compose: format!("{services:?}"), jaco: String::new() },
            images: services.iter().map(pin).collect(),
            expected_revision: None,
            origin: Origin::default(),
            privileged: BTreeMap::new(),
        })));
    }

    fn place(&mut self, replica: &str, node: &str) {
        let (rest, index) = replica.rsplit_once('-').unwrap();
        let (deployment, service) = rest.split_once('-').unwrap();
        let (deployment, service) = (DeploymentName::from(deployment), ServiceName::from(service));
        let index = index.parse().unwrap();
        let replica = name::replica_id(&deployment, &service, index);
        let slot = Slot::Index(index);
        let add = Step::AddReplica { replica: replica.clone(), deployment, service, slot };
        let node = NodeId::from(node);
        let place = Step::Place { replica, generation: Generation(1), node, revision: Revision(1) };
        self.command(Command::Schedule { based_on: 0, steps: vec![add, place] });
    }

    fn report(&mut self, replica: &str, state: InstanceState, addresses: &[(&str, &str)]) {
        let id: InstanceId = format!("{replica}.g1").parse().unwrap();
        let node = self.state.instances[&id].node.clone();
        let pairs = addresses.iter().map(|(key, address)| ((*key).into(), (*address).into()));
        let report = InstanceReport {
            id,
            state,
            fault: None,
            container_id: None,
            addresses: pairs.collect(),
            restarts: 0,
            exit_code: None,
            in_place_done: 0,
            at: WallMs(2),
            started_at: None,
            last_health_at: None,
        };
        self.command(Command::Report { node, instances: vec![report], volumes: Vec::new() });
    }

    fn input(&mut self, input: Input) -> usize {
        let now = Now { mono: Mono(self.now), wall: Wall(0) };
        let effects = self.core.step(now, input);
        self.perform(effects)
    }

    fn show(&mut self) -> usize {
        self.input(Input::StateChanged(Arc::new(self.state.clone())))
    }

    fn wake_at(&mut self, now: u64) -> usize {
        self.now = now;
        let effects = self.core.wake(Now { mono: Mono(now), wall: Wall(0) });
        self.perform(effects)
    }

    fn perform(&mut self, effects: Vec<Effect>) -> usize {
        self.core.check_invariants();
        let count = effects.len();
        for effect in effects {
            match effect {
                Effect::Serve(zones) => self.zones = zones,
                Effect::Listen { op, bridge, gateway } => self.listens.push((op, bridge, gateway)),
                Effect::Unlisten { gateway } => self.unlistened.push(gateway),
            }
        }
        count
    }

    fn ask(&self, source: &str, question: &str) -> String {
        ask(&self.zones, source.parse().unwrap(), question)
    }

    /// Answers the only order in flight.
    fn answer(&mut self, result: Result<(), &str>) -> usize {
        let (op, ..) = self.listens.pop().unwrap();
        assert!(self.listens.is_empty());
        self.input(Input::Listening { op, result: result.map_err(str::to_owned) })
    }
}

/// `webshop` with `web` and `db`, of which `web` runs on both nodes.
fn webshop() -> Cluster {
    let mut cluster = Cluster::new();
    let mut web = service("web", &["_default", "front"], Some("www"));
    web.ports.push(PortSpec {
        name: Some("http".into()),
        target: 80,
        published: None,
        protocol: Protocol::Tcp,
        host_ip: None,
        mode: PortMode::Ingress,
        app_protocol: None,
        options: Default::default(),
    });
    let mut side = service("side", &[], None);
    side.container.network_mode = NetworkMode::Service(ServiceName::from("web"));
    let db = service("db", &["_default"], None);
    let networks = [("_default", None), ("front", None)];
    cluster.apply("webshop", &networks, &[web, db, side, service("lone", &["front"], None)]);
    cluster.place("webshop-web-0", "n1");
    cluster.place("webshop-web-1", "n2");
    cluster.place("webshop-db-0", "n2");
    let running = InstanceState::Running;
    cluster.report("webshop-web-0", running, &[("_default", "10.81.0.2"), ("front", "10.81.0.66")]);
    cluster.report(
        "webshop-web-1",
        running,
        &[("_default", "10.81.0.130"), ("front", "10.81.0.194")],
    );
    cluster.report("webshop-db-0", InstanceState::Starting, &[("_default", "10.81.0.131")]);
    cluster.show();
    cluster
}

const WEB: &str = "10.81.0.2";

#[test]
fn the_state_becomes_tables() {
    let mut cluster = webshop();
    let all =
        "NOERROR | 10.81.0.130 ttl=5 | 10.81.0.194 ttl=5 | 10.81.0.2 ttl=5 | 10.81.0.66 ttl=5";
    for name in ["web A", "www A", "web.webshop A", "www.webshop.jaco.internal A"] {
        assert_eq!(cluster.ask(WEB, name), all, "{name}");
    }
    assert_eq!(cluster.ask("10.81.0.66", "web A"), all, "both addresses are the same container");
    assert!(
        cluster
            .ask(WEB, "_http._tcp.web SRV")
            .contains("0 1 80 webshop-web-1.webshop.jaco.internal.")
    );
    // Not ready, without a replica, in another's namespace.
    assert!(cluster.ask(WEB, "db A").starts_with("NOERROR | SOA"));
    assert_eq!(cluster.ask(WEB, "tasks.db A"), "NOERROR | 10.81.0.131 ttl=5");
    assert!(cluster.ask(WEB, "lone A").starts_with("NOERROR | SOA"));
    assert!(cluster.ask(WEB, "side A").starts_with("NOERROR | SOA"));
    assert_eq!(cluster.ask("10.81.0.130", "web A"), "silence", "a container of another node");
    cluster.report("webshop-db-0", InstanceState::Running, &[("_default", "10.81.0.131")]);
    assert_eq!(cluster.show(), 1);
    assert_eq!(cluster.ask(WEB, "db A"), "NOERROR | 10.81.0.131 ttl=5");
    for gone in [InstanceState::Degraded, InstanceState::Draining] {
        cluster.report("webshop-db-0", gone, &[("_default", "10.81.0.131")]);
        cluster.show();
        assert!(cluster.ask(WEB, "db A").starts_with("NOERROR | SOA"), "{gone:?}");
    }
}

#[test]
fn a_lodger_has_the_addresses_of_its_host() {
    let mut cluster = webshop();
    cluster.place("webshop-side-0", "n1");
    cluster.report("webshop-side-0", InstanceState::Running, &[]);
    cluster.show();
    assert_eq!(cluster.ask(WEB, "side A"), "NOERROR | 10.81.0.2 ttl=5 | 10.81.0.66 ttl=5");
    let reverse = cluster.ask(WEB, "2.0.81.10.in-addr.arpa PTR");
    assert_eq!(reverse, "NOERROR | webshop-web-0.webshop.jaco.internal. ttl=5");
    cluster.report("webshop-web-0", InstanceState::Failed, &[]);
    cluster.show();
    assert_eq!(cluster.ask(WEB, "web A"), "silence");
}

#[test]
fn what_changes_nothing_makes_no_tables() {
    let mut cluster = webshop();
    assert_eq!(cluster.show(), 0);
    cluster.apply("ledger", &[("_default", None)], &[service("book", &["_default"], None)]);
    // Its name is ours from now on, and nothing else.
    assert_eq!(cluster.show(), 1);
    assert!(cluster.ask(WEB, "x.ledger A").starts_with("NXDOMAIN"));
    cluster.place("ledger-book-0", "n2");
    cluster.report("ledger-book-0", InstanceState::Running, &[("_default", "10.81.1.2")]);
    assert_eq!(cluster.show(), 0);
    assert!(cluster.ask(WEB, "book.ledger A").starts_with("NXDOMAIN"));
}

#[test]
fn the_dead_lose_their_records_with_or_without_a_leader() {
    let mut cluster = webshop();
    let own = "NOERROR | 10.81.0.2 ttl=5 | 10.81.0.66 ttl=5";
    cluster.input(Input::Suspects([NodeId::from("n2")].into()));
    assert_eq!(cluster.ask(WEB, "web A"), own);
    assert!(cluster.ask(WEB, "tasks.db A").starts_with("NOERROR | SOA"));
    assert!(cluster.ask(WEB, "130.0.81.10.in-addr.arpa PTR").starts_with("NXDOMAIN"));
    cluster.input(Input::Suspects([].into()));
    assert!(cluster.ask(WEB, "web A").contains("10.81.0.130"));
    let down = Command::SetLiveness {
        node: NodeId::from("n2"),
        up: false,
        epoch: 1,
        evidence: vec![NodeName::from("n1")],
    };
    cluster.command(down);
    cluster.show();
    assert_eq!(cluster.ask(WEB, "web A"), own);
    // Up again, its containers are back when it says that they run.
    let up = Command::SetLiveness {
        node: NodeId::from("n2"),
        up: true,
        epoch: 2,
        evidence: vec![NodeName::from("n1")],
    };
    cluster.command(up);
    cluster.report("webshop-web-1", InstanceState::Running, &[("_default", "10.81.0.130")]);
    cluster.show();
    assert!(cluster.ask(WEB, "web A").contains("10.81.0.130"));
    // Whoever is suspected by others still answers its own containers.
    cluster.input(Input::Suspects([NodeId::from("n1")].into()));
    assert!(cluster.ask(WEB, "web A").contains("10.81.0.66"));
}

#[test]
fn a_container_may_ask_before_its_report_is_written() {
    let mut cluster = webshop();
    cluster.place("webshop-web-2", "n1");
    cluster.show();
    assert_eq!(cluster.ask("10.81.0.3", "web A"), "silence");
    let seats = BTreeMap::from([("_default".to_owned(), "10.81.0.3".to_owned())]);
    let id: InstanceId = "webshop-web-2.g1".parse().unwrap();
    cluster.input(Input::Seated([(id, seats)].into()));
    assert!(cluster.ask("10.81.0.3", "web A").contains("10.81.0.130"));
    assert!(!cluster.ask("10.81.0.3", "tasks.web A").contains("10.81.0.3 "), "it does not run");
    cluster.input(Input::Seated(BTreeMap::new()));
    assert_eq!(cluster.ask("10.81.0.3", "web A"), "silence");
}

#[test]
fn an_address_goes_to_the_container_that_lives() {
    let mut cluster = webshop();
    cluster.place("webshop-lone-0", "n1");
    cluster.report("webshop-web-0", InstanceState::Failed, &[("_default", WEB)]);
    cluster.report("webshop-lone-0", InstanceState::Running, &[("front", WEB)]);
    cluster.show();
    // It is on one network, so it sees what is there and no more.
    assert_eq!(cluster.ask(WEB, "web A"), "NOERROR | 10.81.0.194 ttl=5");
    assert!(cluster.ask(WEB, "db A").starts_with("NXDOMAIN"));
}

#[test]
fn a_guest_sees_the_shared_network_alone() {
    let mut cluster = webshop();
    let networks = [("_default", None), ("theirs", Some("webshop/front"))];
    cluster.apply("ledger", &networks, &[service("book", &["_default", "theirs"], None)]);
    cluster.place("ledger-book-0", "n1");
    let seats = [("_default", "10.81.2.2"), ("theirs", "10.81.0.67")];
    cluster.report("ledger-book-0", InstanceState::Running, &seats);
    cluster.show();
    assert_eq!(
        cluster.ask("10.81.2.2", "web.webshop A"),
        "NOERROR | 10.81.0.194 ttl=5 | 10.81.0.66 ttl=5"
    );
    assert!(cluster.ask("10.81.2.2", "db.webshop A").starts_with("NXDOMAIN"));
    assert!(cluster.ask("10.81.0.67", "book A").contains("10.81.2.2"));
    assert_eq!(cluster.ask(WEB, "book.ledger A"), "NOERROR | 10.81.0.67 ttl=5");
}

#[test]
fn every_bridge_of_this_node_is_listened_on() {
    let cluster = webshop();
    let scope = |key: &str| Scope::new(DeploymentName::from("webshop"), key);
    let expected = |key: &str| {
        let block = cluster.state.block(&scope(key), &NodeId::from("n1")).unwrap();
        (cluster.state.scope(&scope(key)).unwrap().bridge.clone(), block.gateway())
    };
    let mut wanted = vec![expected("_default"), expected("front")];
    let mut ordered: Vec<_> = cluster.listens.iter().map(|(_, b, g)| (b.clone(), *g)).collect();
    wanted.sort();
    ordered.sort();
    assert_eq!(ordered, wanted);
    assert_eq!(cluster.core.closed().count(), 2);
}

#[test]
fn a_socket_is_tried_again_and_looked_after() {
    let mut cluster = Cluster::new();
    cluster.apply("webshop", &[("_default", None)], &[service("web", &["_default"], None)]);
    cluster.place("webshop-web-0", "n1");
    cluster.show();
    cluster.answer(Err("no such device"));
    let fault = cluster.core.closed().next().map(|(_, _, why)| why.map(str::to_owned));
    assert_eq!(fault, Some(Some("no such device".to_owned())));
    let Mono(retry) = cluster.core.deadline().unwrap();
    assert!((1_080..=1_120).contains(&retry), "{retry}");
    cluster.wake_at(retry);
    cluster.answer(Ok(()));
    assert_eq!(cluster.core.closed().count(), 0);
    // A look every five seconds, or when interfaces change.
    assert_eq!(cluster.core.deadline(), Some(Mono(retry + 5_000)));
    assert_eq!(cluster.input(Input::LinksChanged), 1);
    cluster.answer(Ok(()));
    assert_eq!(cluster.wake_at(retry + 4_999), 0);
    assert_eq!(cluster.wake_at(retry + 5_000), 1);
    // The order of a bridge that goes meanwhile is answered, and forgotten.
    cluster.state = Cluster::new().state;
    assert_eq!(cluster.show(), 2);
    assert_eq!(cluster.unlistened.len(), 1);
    assert_eq!(cluster.answer(Ok(())), 0);
    assert_eq!(cluster.core.deadline(), None, "nothing to do, so no timer");
}
