//! The way of packets from a replica to another one.
//!
//! source → target → network → addresses → the source's node, filter and mesh → the target's node,
//! mesh, filter and bridge → its container → the port. Where a wall is in between, the chain ends
//! at what shows that the wall stands.

use crate::address;
use crate::chain::{Broken, Chain, Link};
use crate::facts::{Flow, Look};
use crate::links::{View, networks};
use crate::replica::fix_of;
use crate::seat::{Seat, seat_at};
use crate::subject::{End, Port, Slot};
use jaco_model::entity::Scope;
use jaco_model::spec::NetworkMode;
use jaco_model::view::WhyView;
use jaco_model::{ErrorCode, NodeId};
use jaco_state::State;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// Both ends, and what goes between them.
struct Way<'s> {
    source: Seat<'s>,
    target: Seat<'s>,
    /// The network that both are in; `None` behind a wall.
    scope: Option<Scope>,
    /// `None` while one of them has no address.
    flow: Option<Flow>,
}

impl<'s> Way<'s> {
    fn of(source: Seat<'s>, target: Seat<'s>, at: Option<Ipv4Addr>) -> Way<'s> {
        let address = |seat: &Seat<'_>, scope: &Scope| seat.networks.get(scope).copied().flatten();
        let wanted = at.and_then(|at| target.scope_at(at));
        let shared = |scope: &&Scope| wanted.is_none_or(|wanted| wanted == *scope);
        let mut scopes: Vec<&Scope> = source.shared(&target).filter(shared).collect();
        let has_both =
            |scope: &&Scope| address(&source, scope).is_some() && address(&target, scope).is_some();
        scopes.sort_by_key(|scope| !has_both(scope));
        let scope = scopes.first().map(|scope| (*scope).clone());
        let ends = match &scope {
            Some(scope) => (address(&source, scope), address(&target, scope)),
            None => (source.any_address(), at.or_else(|| target.any_address())),
        };
        let flow = ends.0.zip(ends.1).map(|(from, to)| Flow { from, to });
        Way { source, target, scope, flow }
    }

    /// Whether both are on one node.
    fn is_local(&self) -> bool {
        self.source.node() == self.target.node()
    }
}

/// Where a path leads.
enum Leads<'s> {
    /// To a container.
    To(Box<Way<'s>>),
    /// To an address that no container has.
    Out(Seat<'s>, Ipv4Addr),
}

/// `None` while an end has no container.
fn leads<'s>(state: &'s State, from: &Slot, to: &End) -> Option<Leads<'s>> {
    let source = Seat::of(state, from.instance(state)?);
    Some(match to {
        End::Slot(slot) => {
            let target = Seat::of(state, slot.instance(state)?);
            Leads::To(Box::new(Way::of(source, target, None)))
        }
        End::Address(at) => match seat_at(state, *at) {
            Some(target) => Leads::To(Box::new(Way::of(source, target, Some(*at)))),
            None => Leads::Out(source, *at),
        },
    })
}

/// Whom to ask what.
pub(crate) fn looks(state: &State, from: &Slot, to: &End) -> BTreeMap<NodeId, Look> {
    match leads(state, from, to) {
        None => BTreeMap::new(),
        Some(Leads::Out(source, at)) => {
            let flows = source.any_address().map(|from| Flow { from, to: at });
            let look = Look { flows: flows.into_iter().collect(), ..Look::default() };
            [(source.node().clone(), look)].into()
        }
        Some(Leads::To(way)) => {
            let bridge = way.scope.as_ref().and_then(|scope| state.scope(scope));
            let look = Look {
                flows: way.flow.into_iter().collect(),
                bridges: bridge.map(|record| record.bridge.clone()).into_iter().collect(),
                ..Look::default()
            };
            let (source, target) = (way.source.node(), way.target.node());
            let peer = |node: &NodeId| (!way.is_local()).then(|| node.clone());
            let mut looks = BTreeMap::new();
            looks.insert(source.clone(), Look { peer: peer(target), ..look.clone() });
            let container = Some(way.target.name());
            looks.insert(target.clone(), Look { peer: peer(source), container, ..look });
            looks
        }
    }
}

/// The chain.
pub(crate) fn explain(view: View<'_>, from: &Slot, to: &End, port: Option<&Port>) -> WhyView {
    let end = match to {
        End::Slot(slot) => slot.replica.to_string(),
        End::Address(address) => address.to_string(),
    };
    let suffix = port.map(|port| format!(":{}/{}", port.number, port.protocol));
    let suffix = suffix.unwrap_or_default();
    let subject = format!("{} to {end}{suffix}", from.replica);
    let mut chain = Chain::new("path", subject);
    container_link(view, &mut chain, "source", from);
    if let End::Slot(slot) = to {
        container_link(view, &mut chain, "target", slot);
    }
    match leads(view.state, from, to) {
        None => {}
        Some(Leads::Out(source, at)) => address::explain(view, &mut chain, &source, at, port),
        Some(Leads::To(way)) => {
            if let End::Address(at) = to {
                let detail = format!("{at} is {}", describe(view, &way.target));
                chain.add("target", "state", Ok(detail));
            }
            between(view, &mut chain, &way, port);
        }
    }
    chain.end("allowed and open")
}

/// Adds whether a replica has a container that runs.
pub(crate) fn container_link(view: View<'_>, chain: &mut Chain, step: &str, slot: &Slot) {
    let replica = &slot.replica;
    let look = format!("`jaco why {replica}` says why");
    let Some(instance) = slot.instance(view.state) else {
        let waiting = view.state.replicas.get(replica).and_then(|slot| slot.waiting.clone());
        let broken = match waiting {
            Some(fault) => {
                Broken::of(&fault, format!("{replica} has no place: {}", fault.message), look)
            }
            None => Broken::new("pending", format!("{replica} has no container yet"), look),
        };
        chain.add(step, "state", Err(broken));
        return;
    };
    let status = &instance.status;
    let mut detail = describe(view, &Seat::of(view.state, instance));
    if let Some(fault) = status.fault.as_ref() {
        detail = format!("{detail}: {}: {}", fault.code, fault.message);
    }
    let link = match (&status.fault, status.state.has_process()) {
        (_, true) => Ok(detail),
        (Some(fault), false) => Err(Broken::of(fault, detail, fix_of(fault.code, replica))),
        (None, false) => Err(Broken::new(status.state.as_str(), detail, look)),
    };
    chain.add_since(step, "state", Some(status.since), link);
}

/// `shop-web-0.g1 of shop/web on node-1, running`
pub(crate) fn describe(view: View<'_>, seat: &Seat<'_>) -> String {
    let instance = seat.instance;
    let (name, host, state) = (seat.name(), view.host(&instance.node), instance.status.state);
    let service = format!("{}/{}", instance.deployment, instance.service);
    format!("{name} of {service} on {host}, {}", state.as_str())
}

fn between(view: View<'_>, chain: &mut Chain, way: &Way<'_>, port: Option<&Port>) {
    let (source, target) = (way.source.node(), way.target.node());
    chain.add("network", "state", network(view, way));
    let Some(scope) = &way.scope else {
        if let Some(flow) = way.flow {
            view.node_link(chain, "source_node", source);
            view.wall_link(chain, "source_filter", source, flow);
            if !way.is_local() {
                view.node_link(chain, "target_node", target);
                view.wall_link(chain, "target_filter", target, flow);
            }
        }
        return;
    };
    chain.add("addresses", "state", addresses(view, way, scope));
    view.node_link(chain, "source_node", source);
    if !way.is_local() {
        view.node_link(chain, "target_node", target);
    }
    if let Some(flow) = way.flow {
        view.filter_link(chain, "source_filter", source, flow);
        if !way.is_local() {
            view.mesh_link(chain, "source_mesh", source, target);
            view.mesh_link(chain, "target_mesh", target, source);
            view.filter_link(chain, "target_filter", target, flow);
        }
    }
    view.bridge_link(chain, "target_bridge", target, scope);
    engine_link(view, chain, "target_container", &way.target);
    if chain.holds() {
        chain.add("port", "state", port_link(way, port));
    }
}

/// Adds what the engine of its node says of a container.
pub(crate) fn engine_link(view: View<'_>, chain: &mut Chain, step: &str, seat: &Seat<'_>) {
    let Some(found) = view.facts(seat.node()).and_then(|facts| facts.container.as_ref()) else {
        return;
    };
    let (host, name) = (view.host(seat.node()), seat.name());
    let link = match (&found.unread, found.state.as_deref()) {
        (Some(why), _) => {
            let detail = format!("the engine of {host} does not say how {name} is: {why}");
            let fix = format!("look at Docker on {host}: `systemctl status docker`");
            Err(Broken::new(ErrorCode::DockerError, detail, fix))
        }
        (None, Some("running")) => Ok(format!("the engine says that {name} is running")),
        (None, Some(state)) => {
            let detail = format!("the engine says that {name} is {state}");
            let fix = format!("`jaco logs {} -p` has its last words", seat.instance.id.replica);
            Err(Broken::new(ErrorCode::ContainerExited, detail, fix))
        }
        (None, None) => {
            let detail = format!("the engine has no container {name}");
            let fix = "the node makes it anew by itself; look again in a few seconds";
            Err(Broken::new(ErrorCode::ContainerExited, detail, fix))
        }
    };
    chain.add(step, &host, link);
}

fn network(view: View<'_>, way: &Way<'_>) -> Link {
    let own_way = |seat: &Seat<'_>| {
        let name = &seat.instance.id.replica;
        let what = match seat.mode {
            NetworkMode::Host => "uses the network of its host, where JACO filters nothing",
            NetworkMode::None => "has no network",
            _ if seat.networks.is_empty() => "is of a revision that is not known any more",
            _ => return None,
        };
        let fix = "give the service networks instead of network_mode".to_owned();
        Some(Broken::new("no_network", format!("{name} {what}"), fix))
    };
    if let Some(broken) = own_way(&way.source).or_else(|| own_way(&way.target)) {
        return Err(broken);
    }
    if let Some(scope) = &way.scope {
        return Ok(format!("both are in the network {scope}"));
    }
    let (source, target) = (way.source.instance, way.target.instance);
    let of = |seat: &Seat<'_>| {
        format!("{} is in {}", seat.instance.id.replica, networks(seat.networks.keys()))
    };
    let both = format!("{}, {}", of(&way.source), of(&way.target));
    let what = match source.deployment == target.deployment {
        true => "no network in common",
        false => "a wall between deployments",
    };
    let here = (&source.deployment, &source.service);
    let there = (&target.deployment, &target.service);
    let fix = view.wall_fix(&here, &there, way.target.networks.keys());
    Err(Broken::new("cross_scope", format!("{what}: {both}"), fix))
}

fn addresses(view: View<'_>, way: &Way<'_>, scope: &Scope) -> Link {
    let at = |seat: &Seat<'_>| {
        let address = seat.networks.get(scope).copied().flatten();
        let block = view.block(scope, seat.node());
        match (address, block) {
            (Some(address), Some(block)) if block.net.contains(&address) => {
                Ok(format!("{address} in {} of {}", block.net, view.host(seat.node())))
            }
            (Some(address), _) => Err(format!(
                "{} has {address}, and {} has no such block of {scope}",
                seat.name(),
                view.host(seat.node())
            )),
            (None, _) => Err(format!("{} has no address in {scope} yet", seat.name())),
        }
    };
    let both = at(&way.source).and_then(|from| Ok((from, at(&way.target)?)));
    let (from, to) = both.map_err(|detail| {
        let fix = "addresses come with the start of the container; `jaco why` of the replica says \
                   what it waits for";
        Broken::new("no_address", detail, fix)
    })?;
    Ok(format!("from {from} to {to}"))
}

/// JACO filters no ports within a network; what it cannot know is said.
fn port_link(way: &Way<'_>, port: Option<&Port>) -> Link {
    let status = &way.target.instance.status;
    let replica = &way.target.instance.id.replica;
    let what = match port {
        Some(port) => format!("{}/{} is open as every port is", port.number, port.protocol),
        None => "every port is open".to_owned(),
    };
    if status.state.is_ready() {
        return Ok(format!("{what}; whether {replica} listens there only its program knows"));
    }
    let fault = status.fault.as_ref().map(|fault| format!(": {}", fault.message));
    let detail = format!(
        "{what}, but {replica} is {} and may not listen yet{}",
        status.state.as_str(),
        fault.unwrap_or_default()
    );
    let code = status
        .fault
        .as_ref()
        .map_or_else(|| status.state.as_str().to_owned(), |fault| fault.code.to_string());
    Err(Broken::new(code, detail, format!("`jaco why {replica}` says what it waits for")))
}
