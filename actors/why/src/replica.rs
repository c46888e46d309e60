//! Why a replica is as it is, from the files to its name.
//!
//! manifest → scheduling → node → dependencies → isolation → pull → start → health → addresses →
//! filter → bridge → names. A link that is still to come is where the replica stands now.

use crate::chain::{Broken, Chain, Link, list};
use crate::facts::{Ask, Facts, Flow, Look, Told};
use crate::links::View;
use crate::path::engine_link;
use crate::seat::Seat;
use crate::subject::Slot;
use jaco_model::entity::{Desired, Instance, InstanceState, Replica};
use jaco_model::view::WhyView;
use jaco_model::{ErrorCode, Fault, NodeId, ReplicaId, WallMs};
use jaco_state::State;
use std::collections::BTreeMap;

/// Whom to ask what.
pub(crate) fn looks(state: &State, slot: &Slot) -> BTreeMap<NodeId, Look> {
    let Some(instance) = slot.instance(state) else { return BTreeMap::new() };
    let seat = Seat::of(state, instance);
    let records = seat.networks.keys().filter_map(|scope| state.scope(scope));
    let name = instance.service.to_string();
    let look = Look {
        flows: seat.any_address().map(|at| Flow { from: at, to: at }).into_iter().collect(),
        bridges: records.map(|record| record.bridge.clone()).collect(),
        ask: seat.any_address().map(|source| Ask { source, name }),
        container: Some(instance.id.to_string()),
        peer: None,
        host: None,
    };
    [(instance.node.clone(), look)].into()
}

/// The chain.
pub(crate) fn explain(view: View<'_>, slot: &Slot) -> WhyView {
    let mut chain = Chain::new("replica", slot.replica.to_string());
    let Some(replica) = view.state.replicas.get(&slot.replica) else { return chain.end("") };
    let instance = slot.instance(view.state);
    manifest(view, &mut chain, replica, instance);
    let Some(instance) = instance else {
        chain.add("scheduling", "state", waiting(replica));
        return chain.end("");
    };
    let (host, id) = (view.host(&instance.node), &instance.id);
    let placed = format!("{id} was placed on {host}");
    chain.add_since("scheduling", "state", Some(instance.created_at), Ok(placed));
    view.node_link(&mut chain, "node", &instance.node);
    let seat = Seat::of(view.state, instance);
    for stage in Stage::ALL {
        let pull = view.facts(&instance.node).and_then(|facts| facts.container.as_ref());
        let pull = pull.and_then(|container| container.pull.clone());
        let (since, link) = stage_link(view, stage, replica, instance, pull);
        if let Some(link) = link {
            chain.add_since(stage.name(), "state", since, link);
        }
    }
    if instance.status.state.has_process() {
        engine_link(view, &mut chain, "container", &seat);
        network(view, &mut chain, &seat);
    }
    chain.end(format!("{id} is {} on {host}", instance.status.state.as_str()))
}

fn manifest(view: View<'_>, chain: &mut Chain, replica: &Replica, instance: Option<&Instance>) {
    let (deployment, service) = (&replica.deployment, &replica.service);
    let record = match instance {
        Some(instance) => view.state.revision(deployment, instance.revision),
        None => view.state.current(deployment),
    };
    let since = record.map(|record| record.applied_at);
    let link = match record {
        Some(record) if record.spec.services.contains_key(service) => {
            let image = record.images.get(service).map_or("?", |pin| pin.reference.as_str());
            let (number, who) = (record.number, &record.identity);
            Ok(format!(
                "service {service} of {deployment}, revision {number} by {who}: image {image}"
            ))
        }
        _ => {
            let detail = format!("{deployment} has no service {service} any more");
            Err(Broken::new(ErrorCode::UnknownService, detail, "it is on its way out"))
        }
    };
    chain.add_since("manifest", "state", since, link);
}

fn waiting(replica: &Replica) -> Link {
    let Some(fault) = &replica.waiting else {
        let detail = "it has no place yet; the leader decides within a second";
        return Err(Broken::new("pending", detail, "look again"));
    };
    let reasons = fault.details.iter().filter(|(key, _)| *key != "hint");
    let reasons: Vec<String> = reasons.map(|(key, why)| format!("{key}: {why}")).collect();
    let detail = match reasons.is_empty() {
        true => fault.message.clone(),
        false => format!("{} ({})", fault.message, reasons.join("; ")),
    };
    Err(Broken::of(fault, detail, fix_of(fault.code, &replica.id)))
}

/// What an instance goes through on its node, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Dependencies,
    Isolation,
    Pull,
    Start,
    Health,
}

impl Stage {
    const ALL: [Stage; 5] =
        [Stage::Dependencies, Stage::Isolation, Stage::Pull, Stage::Start, Stage::Health];

    fn name(self) -> &'static str {
        match self {
            Stage::Dependencies => "dependencies",
            Stage::Isolation => "isolation",
            Stage::Pull => "pull",
            Stage::Start => "start",
            Stage::Health => "health",
        }
    }

    /// The stage that a fault belongs to.
    fn of(fault: &Fault) -> Stage {
        match fault.code {
            ErrorCode::DependsOnUnmet => Stage::Dependencies,
            ErrorCode::IsolationUnavailable => Stage::Isolation,
            ErrorCode::ImagePullFailed => Stage::Pull,
            ErrorCode::Unhealthy | ErrorCode::StartTimeout => Stage::Health,
            _ => Stage::Start,
        }
    }
}

/// A link of a stage, with its moment; none for a stage that says nothing.
fn stage_link(
    view: View<'_>,
    stage: Stage,
    replica: &Replica,
    instance: &Instance,
    pull: Option<String>,
) -> (Option<WallMs>, Option<Link>) {
    let status = &instance.status;
    let fault = status.fault.as_ref();
    if let Some(fault) = fault.filter(|fault| Stage::of(fault) == stage) {
        let restarts = match status.restarts {
            0 => String::new(),
            n => format!(", restarted {n} times"),
        };
        let detail = format!("{}: {}{restarts}", status.state.as_str(), fault.message);
        let broken = Broken::of(fault, detail, fix_of(fault.code, &replica.id));
        return (Some(status.since), Some(Err(broken)));
    }
    let at_fault = fault.map(Stage::of);
    let is_ahead = at_fault.is_some_and(|at| stage > at);
    let pending = |detail: String| {
        let fix = format!("it is under way: `jaco wait {}`", replica.deployment);
        Some(Err(Broken::new(status.state.as_str(), detail, fix)))
    };
    match stage {
        _ if is_ahead => (None, None),
        Stage::Dependencies => (None, dependencies(view, instance)),
        Stage::Isolation => (None, None),
        Stage::Pull => match status.state {
            InstanceState::Pending => {
                (Some(status.since), pending("waits for its turn".to_owned()))
            }
            InstanceState::Pulling => {
                let far = pull.map(|far| format!(", {far}")).unwrap_or_default();
                (Some(status.since), pending(format!("the image is being pulled{far}")))
            }
            _ => (None, Some(Ok(format!("{} is there", instance.image.digest)))),
        },
        Stage::Start => started(instance, pending),
        Stage::Health => health(instance, pending),
    }
}

fn dependencies(view: View<'_>, instance: &Instance) -> Option<Link> {
    let (spec, service) = view.state.specs_of(instance)?;
    if service.depends_on.is_empty() {
        return None;
    }
    let has_begun = !matches!(instance.status.state, InstanceState::Pending);
    let met = |one| jaco_state::dependency_met(view.state, &spec.name, one);
    let unmet = service.depends_on.iter().find_map(|one| met(one).err()).filter(|_| !has_begun);
    let names = list(service.depends_on.iter().map(|one| one.service.to_string()));
    Some(match unmet {
        Some(fault) => {
            let detail = fault.message.clone();
            Err(Broken::of(&fault, detail, fix_of(fault.code, &instance.id.replica)))
        }
        None => Ok(format!("what it depends on was there: {names}")),
    })
}

fn started(
    instance: &Instance,
    pending: impl Fn(String) -> Option<Link>,
) -> (Option<WallMs>, Option<Link>) {
    use InstanceState::{Completed, Failed, Lost, Pending, Pulling, Stopped};
    let status = &instance.status;
    let since = status.started_at.or(Some(status.since));
    let container = status.container_id.as_deref().map(|id| id.get(..12).unwrap_or(id));
    let container = container.map(|id| format!("container {id} ")).unwrap_or_default();
    let link = match status.state {
        Pending | Pulling => return (None, None),
        Failed | Lost | Stopped => {
            let detail = format!("its container is {}", status.state.as_str());
            let fix = format!("`jaco get replica {}` shows its history", instance.id.replica);
            Some(Err(Broken::new(status.state.as_str(), detail, fix)))
        }
        Completed => Some(Ok(format!("{container}ended with code 0 and is not restarted"))),
        _ if instance.desired == Desired::Stop => pending("it is being stopped".to_owned()),
        _ => {
            let restarts = status.restarts;
            Some(Ok(format!("{container}started, {restarts} restarts")))
        }
    };
    (since, link)
}

fn health(
    instance: &Instance,
    pending: impl Fn(String) -> Option<Link>,
) -> (Option<WallMs>, Option<Link>) {
    use InstanceState::{Degraded, Draining, Running, Starting, Updating};
    let status = &instance.status;
    match status.state {
        Running => (status.last_health_at, Some(Ok("ready, takes connections".to_owned()))),
        Starting => (Some(status.since), pending("started and not ready yet".to_owned())),
        Degraded => {
            let (detail, replica) = ("was ready, now fails its check", &instance.id.replica);
            let broken =
                Broken::new(ErrorCode::Unhealthy, detail, fix_of(ErrorCode::Unhealthy, replica));
            (Some(status.since), Some(Err(broken)))
        }
        Updating | Draining => (
            Some(status.since),
            pending("takes no new connections: it is being replaced".to_owned()),
        ),
        _ => (None, None),
    }
}

/// Adds what the network makes of a container that runs.
fn network(view: View<'_>, chain: &mut Chain, seat: &Seat<'_>) {
    if seat.networks.is_empty() {
        return;
    }
    let (node, host) = (seat.node(), view.host(seat.node()));
    chain.add("addresses", "state", addresses(view, seat));
    if let Some(at) = seat.any_address() {
        view.filter_link(chain, "filter", node, Flow { from: at, to: at });
    }
    for scope in seat.networks.keys() {
        view.bridge_link(chain, "bridge", node, scope);
    }
    if let Some(facts) = view.facts(node)
        && let Some(link) = names(seat, facts)
    {
        chain.add("names", &host, link);
    }
}

fn addresses(view: View<'_>, seat: &Seat<'_>) -> Link {
    let mut told = Vec::new();
    for (scope, address) in &seat.networks {
        let block = view.block(scope, seat.node());
        let Some(address) = address else {
            let detail = format!("it has no address in {scope} yet");
            return Err(Broken::new("no_address", detail, "look again in a few seconds"));
        };
        told.push(match block {
            Some(block) => format!("{address} of {} in {scope}", block.net),
            None => format!("{address} in {scope}"),
        });
    }
    Ok(list(told))
}

/// Whether its own responder gives its address to whoever asks for its service.
fn names(seat: &Seat<'_>, facts: &Facts) -> Option<Link> {
    let service = &seat.instance.service;
    let own: Vec<_> = seat.networks.values().flatten().collect();
    let link = match facts.names.told.as_ref()? {
        Told::Addresses(all) if own.iter().any(|at| all.contains(at)) => {
            Ok(format!("{service} is {}", list(all)))
        }
        _ if !seat.instance.status.state.is_ready() => {
            let detail = format!("{service} does not lead to it while it is not ready");
            Err(Broken::new("dns_no_data", detail, "see the link before"))
        }
        _ => {
            let detail = format!("{service} does not lead to it although it is ready");
            Err(Broken::new("dns_no_data", detail, "look again in a second"))
        }
    };
    Some(link)
}

/// What to do about a code.
pub(crate) fn fix_of(code: ErrorCode, replica: &ReplicaId) -> String {
    match code {
        ErrorCode::Unschedulable => {
            "lower reservations, change the constraint, or add a node".to_owned()
        }
        ErrorCode::CannotSatisfyHostPlacement | ErrorCode::VolumeWaiting => {
            "bring the node back, or change `hosts`".to_owned()
        }
        ErrorCode::SubnetPoolExhausted | ErrorCode::NetworkBlockFull => {
            "remove networks that are not needed, or spread the service over more nodes".to_owned()
        }
        ErrorCode::DependsOnUnmet => "`jaco why` of the service it waits for".to_owned(),
        ErrorCode::ImagePullFailed => {
            "check the name of the image and that the node may pull it; it is tried again"
                .to_owned()
        }
        ErrorCode::Unhealthy | ErrorCode::StartTimeout => {
            format!("try its healthcheck by hand with `docker exec`, and see `jaco logs {replica}`")
        }
        ErrorCode::ContainerExited | ErrorCode::HookFailed => {
            format!("`jaco logs {replica} -p` has its last words")
        }
        ErrorCode::RestartExhausted => {
            format!("`jaco logs {replica} -p`, then `jaco restart {replica}`")
        }
        ErrorCode::IsolationUnavailable => {
            "`jaco doctor` on the node; it starts by itself once the node can keep walls".to_owned()
        }
        ErrorCode::DockerError | ErrorCode::InspectFailed => {
            "the reason is Docker's own; see its log on the node".to_owned()
        }
        _ => format!("`jaco get replica {replica}` shows its history"),
    }
}
