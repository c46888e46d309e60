//! Specs in short words, such as `web replicas=3 image=1 order=stop-first`.

use jaco_model::spec::{
    Condition, Constraint, ConstraintKey, ContainerSpec, Dependency, DeploymentSpec, FailureAction,
    Mount, MountKind, NetworkMode, NodeLossAction, NodeLossPolicy, Placement, PlacementPolicy,
    PortMode, PortSpec, Preference, Protocol, RestartCondition, RestartPolicy, ServiceMode,
    ServiceSpec, UpdateOrder, UpdatePolicy, VolumeSpec,
};
use jaco_model::{DeploymentName, Millis, NodeName, ServiceName, name};
use std::collections::BTreeMap;

/// A deployment without services.
pub(crate) fn deployment(name: &str) -> DeploymentSpec {
    DeploymentSpec {
        name: DeploymentName::new(name),
        services: BTreeMap::new(),
        networks: BTreeMap::new(),
        volumes: BTreeMap::new(),
        history: None,
        routes: Vec::new(),
        acme_email: None,
        acme_dns: BTreeMap::new(),
        secrets: BTreeMap::new(),
    }
}

/// Adds a service described by words.
pub(crate) fn add(deployment: &mut DeploymentSpec, words: &str) {
    let mut words = words.split_whitespace();
    let mut service = service(words.next().expect("a service name"));
    for word in words {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        set(deployment, &mut service, key, value);
    }
    deployment.services.insert(service.name.clone(), service);
}

pub(crate) fn service(name: &str) -> ServiceSpec {
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
    ServiceSpec {
        name: ServiceName::new(name),
        mode: ServiceMode::Replicated { replicas: 1 },
        placement: Placement::default(),
        container: ContainerSpec { image: "1".to_owned(), ..ContainerSpec::default() },
        probe: None,
        start_limit: Millis::secs(60),
        drain_timeout: Millis::secs(30),
        rollback: UpdatePolicy { failure_action: FailureAction::Pause, ..policy.clone() },
        update: policy,
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

fn set(deployment: &mut DeploymentSpec, service: &mut ServiceSpec, key: &str, value: &str) {
    let number = || value.parse::<u64>().expect("a number");
    let small = || value.parse::<u32>().expect("a number");
    match key {
        "replicas" => service.mode = ServiceMode::Replicated { replicas: small() },
        "global" => {
            service.mode = ServiceMode::Global;
            service.placement.policy = PlacementPolicy::Global;
        }
        "image" => value.clone_into(&mut service.container.image),
        "env" => {
            let (name, value) = value.split_once(':').expect("name:value");
            service.container.environment.insert(name.to_owned(), value.to_owned());
        }
        "cpu" => service.container.resources.reserved_cpu_milli = number(),
        "memory" => service.container.resources.reserved_memory = number() << 20,
        "platform" => service.container.platform = Some(value.to_owned()),
        "joins" => service.container.network_mode = NetworkMode::Service(ServiceName::new(value)),
        "port" => service.ports.push(port(value.parse().expect("a port"), PortMode::Host)),
        "volume" => mount(deployment, service, value),
        "after" => depend(service, value),
        "ends" => service.restart.condition = RestartCondition::None,
        _ => set_placement(service, key, value),
    }
}

fn set_placement(service: &mut ServiceSpec, key: &str, value: &str) {
    let placement = &mut service.placement;
    match key {
        "pack" => placement.policy = PlacementPolicy::Pack,
        "hosts" => {
            placement.policy = PlacementPolicy::Hosts;
            placement.hosts = value.split(',').map(NodeName::from).collect();
        }
        "max_per_node" => placement.max_per_node = Some(value.parse().expect("a number")),
        "spread" => placement.preferences.push(Preference { label: value.to_owned() }),
        "label" => {
            let (label, wanted) = value.split_once(':').expect("label:value");
            placement.constraints.push(Constraint {
                key: ConstraintKey::Label(label.to_owned()),
                equal: true,
                value: wanted.to_owned(),
            });
        }
        _ => set_update(service, key, value),
    }
}

fn set_update(service: &mut ServiceSpec, key: &str, value: &str) {
    let update = &mut service.update;
    match key {
        "parallelism" => update.parallelism = value.parse().expect("a number"),
        "delay" => update.delay = Millis::secs(value.parse().expect("seconds")),
        "order" => {
            update.order_explicit = true;
            let stop_first = value == "stop-first";
            update.order =
                if stop_first { UpdateOrder::StopFirst } else { UpdateOrder::StartFirst };
            update.max_unavailable = u32::from(stop_first) * update.parallelism;
        }
        "on_failure" => {
            update.failure_action = match value {
                "pause" => FailureAction::Pause,
                "continue" => FailureAction::Continue,
                _ => FailureAction::Rollback,
            };
        }
        "max_failure_ppm" => update.max_failure_ppm = value.parse().expect("a number"),
        "max_unavailable" => update.max_unavailable = value.parse().expect("a number"),
        other => panic!("no such word: {other}"),
    }
}

fn port(number: u16, mode: PortMode) -> PortSpec {
    PortSpec {
        name: None,
        target: number,
        published: Some(number),
        protocol: Protocol::Tcp,
        host_ip: None,
        mode,
        app_protocol: None,
        options: Default::default(),
    }
}

fn mount(deployment: &mut DeploymentSpec, service: &mut ServiceSpec, key: &str) {
    let name = name::volume_name(&deployment.name, key);
    let volume = VolumeSpec { name, driver: "local".to_owned(), ..VolumeSpec::default() };
    deployment.volumes.insert(key.to_owned(), volume);
    let kind = MountKind::Volume { volume: key.to_owned(), no_copy: false, subpath: None };
    service.container.mounts.push(Mount { kind, target: format!("/{key}"), read_only: false });
    service.update.order = UpdateOrder::StopFirst;
    service.update.max_unavailable = 1;
}

fn depend(service: &mut ServiceSpec, value: &str) {
    let mut parts = value.split(':');
    let name = parts.next().expect("a service");
    let mut dependency = Dependency {
        service: ServiceName::new(name),
        condition: Condition::ServiceStarted,
        required: true,
        restart: false,
    };
    for part in parts {
        match part {
            "healthy" => dependency.condition = Condition::ServiceHealthy,
            "completed" => dependency.condition = Condition::ServiceCompletedSuccessfully,
            "optional" => dependency.required = false,
            "restart" => dependency.restart = true,
            other => panic!("no such condition: {other}"),
        }
    }
    service.depends_on.push(dependency);
}
