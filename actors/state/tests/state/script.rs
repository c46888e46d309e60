//! Scripts: one command per line, as text.

use crate::fixture::{self, Bench};
use crate::members;
use jaco_model::command::{Command, RestartTarget, Rollback, Step, VolumeReport};
use jaco_model::entity::{
    InstanceState, NodeFacts, NodeStatus, RevisionStatus, Rollout, Scope, Slot,
};
use jaco_model::spec::{
    Condition, Dependency, Mount, MountKind, NetworkSpec, PortMode, PortSpec, Protocol,
    ServiceMode, ServiceSpec, VolumeSpec,
};
use jaco_model::{
    DeploymentName, ErrorCode, Fault, NodeId, NodeName, ReplicaId, Revision, ServiceName, WallMs,
    name,
};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;

/// The words of one line: `<verb> <word>… [<key>=<value>]…`.
pub(crate) struct Line<'a> {
    words: Vec<&'a str>,
}

impl<'a> Line<'a> {
    pub(crate) fn new(text: &'a str) -> Line<'a> {
        Line { words: text.split_whitespace().collect() }
    }

    pub(crate) fn word(&self, i: usize) -> &'a str {
        self.words
            .get(i)
            .copied()
            .unwrap_or_else(|| panic!("word {i} is missing: {:?}", self.words))
    }

    pub(crate) fn option(&self, key: &str) -> Option<&'a str> {
        self.words.iter().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    }

    pub(crate) fn number(&self, key: &str) -> Option<u64> {
        self.option(key).map(|text| text.parse().expect("a number"))
    }

    pub(crate) fn has(&self, word: &str) -> bool {
        self.words.contains(&word)
    }
}

/// A value of an enum by its name in JSON.
pub(crate) fn named<T: DeserializeOwned>(text: &str) -> T {
    serde_json::from_value(text.into()).expect("a known name")
}

/// The command that a line means.
pub(crate) fn command(bench: &Bench, line: &Line<'_>) -> Command {
    match line.word(0) {
        "init" => init(line),
        "apply" => apply(line),
        "rollback" => Command::Rollback(Rollback {
            deployment: DeploymentName::from(line.word(1)),
            to: line.number("to").map(Revision),
            cause: line.option("cause").map(|code| Fault::new(named(code), "it failed")),
            expected_revision: line.number("expect").map(Revision),
        }),
        "delete" => Command::Delete {
            deployment: DeploymentName::from(line.word(1)),
            volumes: line.has("volumes"),
        },
        "scale" => {
            let numbers = line.words[2..].iter().filter(|word| !word.starts_with("id="));
            let numbers = numbers.map(|word| {
                let (service, n) = word.split_once('=').expect("<service>=<n>");
                (ServiceName::from(service), n.parse().expect("a number"))
            });
            let deployment = DeploymentName::from(line.word(1));
            Command::Scale { deployment, services: numbers.collect() }
        }
        "restart" => {
            Command::Restart { target: target(line.word(1)), in_place: line.has("in-place") }
        }
        "acme" => crate::acme::command(&bench.state, line),
        "step" => Command::Schedule { based_on: 0, steps: vec![step(line)] },
        "report" => report(bench, line),
        "volume" => volume(line),
        "node" => Command::ReportNode {
            node: NodeId::from(line.word(1)),
            status: named::<NodeStatus>(line.word(2)),
            facts: Box::new(NodeFacts {
                address: line.option("address").unwrap_or_default().to_owned(),
                ..NodeFacts::default()
            }),
        },
        _ => members::command(line),
    }
}

fn init(line: &Line<'_>) -> Command {
    let mut command = fixture::init(10);
    if let (Command::InitCluster(init), Some(host)) = (&mut command, line.option("host")) {
        init.node.name = NodeName::from(host);
    }
    command
}

fn target(text: &str) -> RestartTarget {
    if let Some(replica) = text.strip_prefix("replica:") {
        return RestartTarget::Replica { replica: ReplicaId::from(replica) };
    }
    match text.split_once('/') {
        Some((deployment, service)) => RestartTarget::Service {
            deployment: DeploymentName::from(deployment),
            service: ServiceName::from(service),
        },
        None => RestartTarget::Deployment { deployment: DeploymentName::from(text) },
    }
}

/// `apply <deployment> <service>[,<setting>]… [expect=N] [volume=key:name] [network=key]`
fn apply(line: &Line<'_>) -> Command {
    let services = line.words[2..].iter().filter(|word| !word.contains('=') || word.contains(','));
    let mut wish = fixture::wish(line.word(1), services.map(|word| service(word)).collect());
    wish.expected_revision = line.number("expect").map(Revision);
    if let Some(note) = line.option("note") {
        wish.documents.jaco = note.to_owned();
    }
    if let Some(domain) = line.option("route") {
        wish.spec.routes.push(crate::acme::route(domain));
    }
    if let Some(key) = line.option("network") {
        wish.spec.networks.insert(key.to_owned(), NetworkSpec::default());
    }
    if let Some(volume) = line.option("volume") {
        let (key, name) = volume.split_once(':').expect("<key>:<name>");
        let name = match name {
            "" => name::volume_name(&wish.spec.name, key),
            name => name.to_owned(),
        };
        let driver = line.option("driver").unwrap_or("local").to_owned();
        let options = line.option("option").map(|o| ("o".to_owned(), o.to_owned()));
        let driver_opts = options.into_iter().collect();
        let volume = VolumeSpec { name, driver, driver_opts, ..VolumeSpec::default() };
        wish.spec.volumes.insert(key.to_owned(), volume);
    }
    if let Some(service) = line.option("privileged") {
        wish.privileged.insert(ServiceName::from(service), vec!["privileged".to_owned()]);
    }
    Command::Apply(Box::new(wish))
}

/// `web,n=2,image=web:2,port=80,host=alpha,env=secret,needs=db,mount=data`
fn service(text: &str) -> ServiceSpec {
    let mut parts = text.split(',');
    let mut service = fixture::service(parts.next().expect("a name"), 1);
    for part in parts {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        match key {
            "n" => service.mode = ServiceMode::Replicated { replicas: value.parse().expect("n") },
            "global" => service.mode = ServiceMode::Global,
            "image" => service.container.image = value.to_owned(),
            "host" => service.placement.hosts.push(NodeName::from(value)),
            "env" => {
                service.container.environment.insert("SECRET".to_owned(), value.to_owned());
            }
            "port" => service.ports.push(port(value, PortMode::Ingress)),
            "hostport" => service.ports.push(port(value, PortMode::Host)),
            "needs" => service.depends_on.push(dependency(value, Condition::ServiceStarted)),
            "mount" => service.container.mounts.push(Mount {
                kind: MountKind::Volume { volume: value.to_owned(), no_copy: false, subpath: None },
                target: "/data".to_owned(),
                read_only: false,
            }),
            "drain" => service.drain_timeout = jaco_model::Millis::secs(value.parse().expect("s")),
            other => panic!("unknown setting {other}"),
        }
    }
    service
}

fn port(number: &str, mode: PortMode) -> PortSpec {
    PortSpec {
        name: None,
        target: 8080,
        published: Some(number.parse().expect("a port")),
        protocol: Protocol::Tcp,
        host_ip: None,
        mode,
        app_protocol: None,
        options: Default::default(),
    }
}

pub(crate) fn dependency(service: &str, condition: Condition) -> Dependency {
    Dependency { service: ServiceName::from(service), condition, required: true, restart: false }
}

fn step(line: &Line<'_>) -> Step {
    match line.word(1) {
        "add" => add(line.word(2), line.word(3), line.word(4)),
        "place" => {
            let number = |i: usize| line.word(i).parse().expect("a number");
            fixture::place(line.word(2), number(3), line.word(4), number(5))
        }
        "retire" => Step::Retire { instance: fixture::instance(line.word(2)) },
        "remove" => Step::RemoveReplica { replica: ReplicaId::from(line.word(2)) },
        "explain" => Step::Explain {
            replica: ReplicaId::from(line.word(2)),
            waiting: line
                .words
                .get(3)
                .map(|message| Fault::new(ErrorCode::Unschedulable, (*message).to_owned())),
        },
        "rollout" => Step::SetRollout { rollout: rollout(line) },
        "settle" => Step::SettleRevision {
            deployment: DeploymentName::from(line.word(2)),
            revision: Revision(line.word(3).parse().expect("a number")),
            status: named::<RevisionStatus>(line.word(4)),
        },
        "release" => Step::ReleaseBlock {
            scope: Scope::new(DeploymentName::from(line.word(2)), line.word(3)),
            node: NodeId::from(line.word(4)),
        },
        "purge" => Step::Purge { deployment: DeploymentName::from(line.word(2)) },
        other => panic!("unknown step {other}"),
    }
}

fn add(deployment: &str, service: &str, slot: &str) -> Step {
    if let Ok(index) = slot.parse() {
        return fixture::add(deployment, service, index);
    }
    let (deployment, service) = (DeploymentName::from(deployment), ServiceName::from(service));
    let host = NodeName::from(slot);
    let replica = name::global_replica_id(&deployment, &service, &host);
    Step::AddReplica { replica, deployment, service, slot: Slot::Node(host) }
}

/// `step rollout <deployment> <service> <to> <state> [from=N] [code=C]`
fn rollout(line: &Line<'_>) -> Rollout {
    Rollout {
        deployment: DeploymentName::from(line.word(2)),
        service: ServiceName::from(line.word(3)),
        from: line.number("from").map(Revision),
        to: Revision(line.word(4).parse().expect("a number")),
        state: named(line.word(5)),
        is_rollback: false,
        total: 1,
        done: 0,
        failures: 0,
        started_at: WallMs(fixture::START),
        reason: line.option("code").map(|code| Fault::new(named(code), "it failed")),
    }
}

/// `report <node> <instance>=<state>…`
fn report(bench: &Bench, line: &Line<'_>) -> Command {
    let instances = line.words[2..].iter().map(|word| {
        let (id, state) = word.split_once('=').expect("<instance>=<state>");
        (id, named::<InstanceState>(state))
    });
    let instances: Vec<_> = instances.collect();
    fixture::report(line.word(1), &instances, bench.clock + 500)
}

/// `volume <node> <name> <deployment> <key> [gone]`
fn volume(line: &Line<'_>) -> Command {
    let volume = VolumeReport {
        name: line.word(2).to_owned(),
        deployment: DeploymentName::from(line.word(3)),
        key: line.word(4).to_owned(),
        driver: "local".to_owned(),
        present: !line.has("gone"),
    };
    let node = NodeId::from(line.word(1));
    Command::Report { node, instances: Vec::new(), volumes: vec![volume] }
}

/// Flat text of a map.
pub(crate) fn pairs(map: &BTreeMap<String, String>) -> String {
    map.iter().map(|(key, value)| format!(" {key}={value:?}")).collect()
}
