//! From drafts to specs: precedence, defaults, and rules that span fields of one service.

use super::cx::{CANDIDATES_MAX, Cx, Place, Spot};
use super::deploy::{Policy, default_restart};
use super::networks;
use super::objects::listing;
use super::options::Options;
use super::service::Draft;
use crate::{Problem, Reason};
use jaco_model::spec::{
    FailureAction, Healthcheck, HealthcheckTest, Mount, MountKind, NetworkAttachment, NetworkMode,
    NetworkSpec, NodeLossAction, NodeLossPolicy, Placement, PlacementPolicy, PortMode, ProbeCheck,
    ProbeSpec, RestartCondition, RestartPolicy, ServiceMode, ServiceSpec, UpdateOrder,
    UpdatePolicy, VolumeSpec,
};
use jaco_model::{ErrorCode, Millis, ServiceName};
use std::collections::BTreeMap;

const DRAIN_TIMEOUT: Millis = Millis::secs(30);
const START_LIMIT: Millis = Millis::secs(60);

/// What the rest of the file declares.
pub(super) struct World<'a> {
    pub(super) networks: &'a BTreeMap<String, Spot<NetworkSpec>>,
    pub(super) volumes: &'a BTreeMap<String, VolumeSpec>,
}

/// The facts that several defaults of a service follow from.
struct Facts {
    mode: ServiceMode,
    local_volume: bool,
    host_port: bool,
    devices: bool,
    singleton: bool,
}

/// Resolves every default of one service.
pub(super) fn resolve(
    cx: &mut Cx,
    draft: &Draft,
    options: &Options,
    mounts: Vec<Mount>,
    world: &World<'_>,
) -> ServiceSpec {
    let placement = placement(cx, draft, options);
    let mode = mode(cx, draft, options, placement.policy);
    let facts = Facts::of(draft, options, mode, &mounts, world);
    let mut container = draft.container.clone();
    container.mounts = mounts;
    container.networks = attachments(cx, draft, options, world);
    let probe = options.probe.as_ref().map(|probe| named_probe(&probe.value, &draft.name));
    let update = policy(&draft.deploy.update, options, &facts, FailureAction::Rollback);
    let rollback = policy(&draft.deploy.rollback, options, &facts, FailureAction::Pause);
    check_orders(cx, draft, options, &facts);
    check_one_replica(cx, draft, mode);
    check_pinned(cx, draft, &placement, mode);
    ServiceSpec {
        start_limit: value(&options.start_limit)
            .unwrap_or_else(|| start_limit(container.healthcheck.as_ref(), probe.as_ref())),
        drain_timeout: value(&options.drain_timeout).unwrap_or(DRAIN_TIMEOUT),
        restart: restart(draft),
        depends_on: Vec::new(),
        ports: draft.ports.iter().map(|port| port.value.clone()).collect(),
        labels: draft.deploy.labels.clone(),
        on_node_loss: value(&options.on_node_loss).unwrap_or_else(|| facts.node_loss()),
        singleton: facts.singleton,
        rebalance: value(&options.rebalance).unwrap_or(!facts.local_volume),
        name: draft.name.clone(),
        mode,
        placement,
        container,
        probe,
        update,
        rollback,
    }
}

fn value<T: Clone>(spot: &Option<Spot<T>>) -> Option<T> {
    spot.as_ref().map(|spot| spot.value.clone())
}

/// `deploy.restart_policy`, else `restart`, else any end restarts.
pub(super) fn restart(draft: &Draft) -> RestartPolicy {
    let written = draft.deploy.restart.clone().or_else(|| draft.restart.clone());
    written.unwrap_or_else(|| default_restart(RestartCondition::Any))
}

impl Facts {
    fn of(
        draft: &Draft,
        options: &Options,
        mode: ServiceMode,
        mounts: &[Mount],
        world: &World<'_>,
    ) -> Facts {
        let named = mounts.iter().filter_map(|mount| match &mount.kind {
            MountKind::Volume { volume, .. } => world.volumes.get(volume),
            MountKind::Anonymous
            | MountKind::Bind { .. }
            | MountKind::Tmpfs { .. }
            | MountKind::Image { .. } => None,
        });
        let (local, shared): (Vec<_>, Vec<_>) = named.partition(|volume| volume.is_node_local());
        let host_port =
            |port: &Spot<_>| is_published(&port.value) && port.value.mode == PortMode::Host;
        let alone = matches!(mode, ServiceMode::Replicated { replicas: 1 });
        Facts {
            mode,
            local_volume: !local.is_empty(),
            host_port: draft.ports.iter().any(host_port),
            devices: !draft.container.resources.devices.is_empty(),
            singleton: value(&options.singleton).unwrap_or(alone && !shared.is_empty()),
        }
    }

    /// What the old replica must let go of before a new one can start.
    fn exclusive(&self) -> Option<&'static str> {
        [
            (self.local_volume, "a local volume"),
            (self.host_port, "a port of mode: host"),
            (self.devices, "devices"),
            (self.singleton, "singleton: true"),
        ]
        .into_iter()
        .find_map(|(holds, what)| holds.then_some(what))
    }

    fn node_loss(&self) -> NodeLossPolicy {
        let waits = self.local_volume;
        let action = if waits { NodeLossAction::Wait } else { NodeLossAction::Reschedule };
        NodeLossPolicy { action, grace: None }
    }
}

fn is_published(port: &jaco_model::spec::PortSpec) -> bool {
    port.published.is_some()
}

fn mode(cx: &mut Cx, draft: &Draft, options: &Options, placement: PlacementPolicy) -> ServiceMode {
    if placement == PlacementPolicy::Global {
        if let Some(replicas) = &options.replicas {
            let message = "replicas has no meaning with placement: global";
            cx.fail(&replicas.place, Reason::Conflict, message);
        }
        if let Some(replicas) = &draft.deploy.replicas {
            cx.warn(&replicas.place, "ignored: a global service has one replica on each node");
        }
        return ServiceMode::Global;
    }
    if let (Some(a), Some(b)) = (&draft.deploy.replicas, &draft.scale)
        && a.value != b.value
    {
        let message = format!("differs from deploy.replicas ({})", a.value);
        cx.fail(&b.place, Reason::Conflict, message);
    }
    let written = options.replicas.as_ref().or(draft.deploy.replicas.as_ref());
    let replicas = written.or(draft.scale.as_ref()).map_or(1, |replicas| replicas.value);
    ServiceMode::Replicated { replicas }
}

fn placement(cx: &mut Cx, draft: &Draft, options: &Options) -> Placement {
    let native =
        if draft.deploy.is_global() { PlacementPolicy::Global } else { PlacementPolicy::Spread };
    let policy = value(&options.placement).unwrap_or(native);
    let mut hosts = value(&options.hosts).unwrap_or_default();
    match (policy, &options.hosts) {
        (PlacementPolicy::Hosts, _) if hosts.is_empty() => {
            let place = options.placement.as_ref().map_or(&draft.place, |spot| &spot.place);
            let message = "placement: hosts needs a non-empty list of hosts";
            cx.fail(place, Reason::Required, message);
        }
        (PlacementPolicy::Hosts, _) | (_, None) => {}
        (_, Some(spot)) => {
            cx.warn(&spot.place, "ignored: hosts only counts with placement: hosts");
            hosts.clear();
        }
    }
    let deploy = &draft.deploy;
    Placement {
        policy,
        hosts,
        constraints: value(&options.constraints).unwrap_or_else(|| deploy.constraints.clone()),
        preferences: value(&options.preferences).unwrap_or_else(|| deploy.preferences.clone()),
        max_per_node: value(&options.max_per_node).or(deploy.max_per_node).filter(|most| *most > 0),
    }
}

fn check_pinned(cx: &mut Cx, draft: &Draft, placement: &Placement, mode: ServiceMode) {
    let ServiceMode::Replicated { replicas } = mode else { return };
    let hosts = u32::try_from(placement.hosts.len()).unwrap_or(u32::MAX);
    if placement.policy != PlacementPolicy::Hosts || hosts == 0 || replicas <= hosts {
        return;
    }
    let host_port = |port: &Spot<_>| is_published(&port.value) && port.value.mode == PortMode::Host;
    let message = format!("cannot place {replicas} replicas on {hosts} pinned hosts");
    let Place { at, path } = &draft.place;
    if placement.max_per_node == Some(1) || draft.ports.iter().any(host_port) {
        let names: Vec<&str> = placement.hosts.iter().map(|host| host.as_str()).collect();
        let code = ErrorCode::ReplicasExceedPinnedHosts;
        return cx.push(
            Problem::new(code, *at, path, message)
                .with("service", &draft.name)
                .with("replicas", replicas)
                .with("hosts", names.join(", ")),
        );
    }
    cx.warn(&draft.place, format!("{message} without sharing a host"));
}

fn check_one_replica(cx: &mut Cx, draft: &Draft, mode: ServiceMode) {
    let several = !matches!(mode, ServiceMode::Replicated { replicas: 0 | 1 });
    if let Some(place) = draft.mac_address_at.as_ref().filter(|_| several) {
        let message = "not supported: one MAC address for several replicas; leave it out";
        cx.fail(place, Reason::Unsupported, message);
    }
}

fn policy(
    written: &Policy,
    options: &Options,
    facts: &Facts,
    failure_action: FailureAction,
) -> UpdatePolicy {
    let default = match facts.exclusive() {
        Some(_) => UpdateOrder::StopFirst,
        None => UpdateOrder::StartFirst,
    };
    let explicit = written.order.as_ref();
    let order = explicit.map_or(default, |order| order.value);
    let parallelism = written.parallelism.unwrap_or(1);
    let all = match facts.mode {
        ServiceMode::Replicated { replicas } => replicas.max(1),
        ServiceMode::Global => u32::MAX,
    };
    let max_unavailable = match order {
        UpdateOrder::StartFirst => 0,
        UpdateOrder::StopFirst if parallelism == 0 => all,
        UpdateOrder::StopFirst => parallelism,
    };
    UpdatePolicy {
        parallelism,
        delay: written.delay.unwrap_or_default(),
        order,
        order_explicit: explicit.is_some(),
        monitor: written.monitor.unwrap_or(Millis::secs(5)),
        failure_action: written.failure_action.unwrap_or(failure_action),
        max_failure_ppm: written.max_failure_ppm.unwrap_or_default(),
        max_unavailable: value(&options.max_unavailable).unwrap_or(max_unavailable),
    }
}

/// A written start-first must be possible.
fn check_orders(cx: &mut Cx, draft: &Draft, options: &Options, facts: &Facts) {
    for policy in [&draft.deploy.update, &draft.deploy.rollback] {
        let Some(order) = policy.order.as_ref() else { continue };
        if order.value == UpdateOrder::StopFirst {
            continue;
        }
        if facts.local_volume || facts.host_port || value(&options.singleton) == Some(true) {
            let what = facts.exclusive().unwrap_or("something exclusive");
            let message = format!("start-first is impossible with {what}; use stop-first");
            cx.fail(&order.place, Reason::Conflict, message);
        }
    }
}

fn named_probe(probe: &ProbeSpec, service: &ServiceName) -> ProbeSpec {
    let mut probe = probe.clone();
    for probe in [&mut probe.readiness, &mut probe.liveness].into_iter().flatten() {
        if let ProbeCheck::Http(http) = &mut probe.check
            && http.host.is_empty()
        {
            http.host = service.as_str().to_owned();
        }
    }
    probe
}

/// Long enough for the slowest check to pass, and never under a minute.
fn start_limit(healthcheck: Option<&Healthcheck>, probe: Option<&ProbeSpec>) -> Millis {
    let span = |start: Millis, interval: Millis, tries: u32| {
        Millis(start.0 + interval.0.saturating_mul(u64::from(tries)) + 30_000)
    };
    let active = healthcheck.filter(|check| check.test != HealthcheckTest::Disabled);
    let docker = active.map(|check| {
        let interval = check.interval.unwrap_or(Millis::secs(30));
        span(check.start_period.unwrap_or_default(), interval, check.retries.unwrap_or(3))
    });
    let native = probe
        .and_then(|probe| probe.readiness.as_ref())
        .map(|probe| span(probe.start_period, probe.interval, probe.failure_threshold));
    [docker, native].into_iter().flatten().fold(START_LIMIT, Millis::max)
}

fn attachments(
    cx: &mut Cx,
    draft: &Draft,
    options: &Options,
    world: &World<'_>,
) -> Vec<NetworkAttachment> {
    if draft.container.network_mode != NetworkMode::Networks {
        return Vec::new();
    }
    let chosen = options.networks.as_ref().filter(|networks| !networks.value.is_empty());
    let mut spots: Vec<Spot<NetworkAttachment>> = match chosen {
        Some(networks) => {
            let written = |spot: &Spot<String>| {
                let key = networks::canonical_key(&spot.value);
                let own = draft.networks.iter().find(|own| own.value.network == key);
                let attachment = own.map(|own| own.value.clone());
                Spot::new(attachment.unwrap_or_else(|| networks::named(key)), &spot.place)
            };
            networks.value.iter().map(written).collect()
        }
        None => draft.networks.clone(),
    };
    if spots.is_empty() {
        spots.push(Spot::new(networks::named(networks::DEFAULT), &draft.place));
    }
    spots.retain(|spot| is_declared(cx, spot, world));
    let mut attachments: Vec<_> = spots.into_iter().map(|spot| spot.value).collect();
    attachments.sort_by(|a, b| b.priority.cmp(&a.priority).then_with(|| a.network.cmp(&b.network)));
    let alias = draft.container_name.as_ref().filter(|name| *name != draft.name.as_str());
    for attachment in attachments.iter_mut().filter(|_| alias.is_some()) {
        attachment.aliases.extend(alias.cloned());
        attachment.aliases.sort();
        attachment.aliases.dedup();
    }
    attachments
}

fn is_declared(cx: &mut Cx, spot: &Spot<NetworkAttachment>, world: &World<'_>) -> bool {
    let key = &spot.value.network;
    if key == networks::DEFAULT || world.networks.contains_key(key) {
        return true;
    }
    let names: Vec<&str> = world.networks.keys().map(String::as_str).take(CANDIDATES_MAX).collect();
    let message = format!("network \"{key}\" is not declared{}", listing(&names));
    let Place { at, path } = &spot.place;
    let mut problem = Problem::new(ErrorCode::UnknownNetwork, *at, path, message)
        .with("network", key)
        .with_declared(&names);
    problem.suggestion = cx.nearest(key, names);
    cx.push(problem);
    false
}
