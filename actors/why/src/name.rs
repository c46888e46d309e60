//! What a name is to a replica that asks for it.
//!
//! who asks → which networks it knows of → what the name is → whether they share a network →
//! which replicas it stands for → the node that answers → its responder → the answer itself.

use crate::chain::{Broken, Chain, Link, list};
use crate::facts::{Ask, Facts, Look, Told, Upstream};
use crate::links::{View, networks};
use crate::meaning::{By, Meaning, Named, meaning};
use crate::path::container_link;
use crate::replica::fix_of;
use crate::seat::{Seat, hostname, is_down};
use crate::subject::Slot;
use jaco_model::NodeId;
use jaco_model::entity::{Instance, Replica, Scope};
use jaco_model::spec::NetworkMode;
use jaco_model::view::WhyView;
use jaco_state::{State, shown_instance};
use std::collections::{BTreeMap, BTreeSet};

/// Replicas of a service that are told one by one.
const REPLICAS_TOLD: usize = 10;

/// Whom to ask what.
pub(crate) fn looks(state: &State, name: &str, from: &Slot) -> BTreeMap<NodeId, Look> {
    let Some(instance) = from.instance(state) else { return BTreeMap::new() };
    let seat = Seat::of(state, instance);
    let ask = seat.any_address().map(|source| Ask { source, name: name.to_owned() });
    [(instance.node.clone(), Look { ask, ..Look::default() })].into()
}

/// The chain.
pub(crate) fn explain(view: View<'_>, name: &str, from: &Slot) -> WhyView {
    let subject = format!("{name} from {}", from.replica);
    let mut chain = Chain::new("name", subject);
    container_link(view, &mut chain, "asker", from);
    let Some(instance) = from.instance(view.state) else { return chain.end("") };
    let seat = Seat::of(view.state, instance);
    if !chain.add("view", "state", known_networks(view, &seat)) {
        return chain.end("");
    }
    let lower = name.to_ascii_lowercase();
    let means = meaning(view.state, &seat, &lower);
    chain.add("name", "state", what(name, &seat, &means));
    match &means {
        Meaning::Service(named) => {
            let shared = named.scopes(&lower);
            let scopes = crate::meaning::scopes(named.spec, named.service);
            if chain.add("networks", "state", shares(view, &seat, named, &shared, &scopes)) {
                chain.add("replicas", "state", replicas(view, &seat, named));
            }
        }
        Meaning::Replica(replica) => {
            if chain.add("networks", "state", replica_shares(view, &seat, replica)) {
                chain.add("replicas", "state", one_replica(view, &seat, replica));
            }
        }
        Meaning::Reverse | Meaning::Outside | Meaning::Unknown { .. } => {}
    }
    view.node_link(&mut chain, "node", seat.node());
    let mut said = None;
    if let Some(facts) = view.facts(seat.node()) {
        let host = view.host(seat.node());
        let listens = listening(view, &seat, facts);
        let answers = chain.add("responder", &host, listens);
        match &facts.names.told {
            Some(told) if answers => {
                let link = answer(view, &seat, &means, facts, told);
                said = link.as_ref().ok().cloned();
                chain.add("answer", &host, link);
            }
            None if seat.any_address().is_none() => {
                let detail = format!("{} has no address yet to ask from", seat.name());
                let fix = format!("`jaco why {}` says what it waits for", from.replica);
                chain.add("answer", "state", Err(Broken::new("no_address", detail, fix)));
            }
            _ => {}
        }
    }
    chain.end(said.unwrap_or_else(|| format!("{name} is what it should be")))
}

fn known_networks(view: View<'_>, seat: &Seat<'_>) -> Link {
    let replica = &seat.instance.id.replica;
    let why = match seat.mode {
        NetworkMode::Host => "uses the network of its host and asks the host's name servers",
        NetworkMode::None => "has no network and can ask nobody",
        _ if seat.networks.is_empty() => "is of a revision that is not known any more",
        _ => {
            let detail = format!("knows names of {}", networks(seat.networks.keys()));
            let gateways: Vec<String> = seat
                .networks
                .keys()
                .filter_map(|scope| Some(view.block(scope, seat.node())?.gateway().to_string()))
                .collect();
            return Ok(match gateways.is_empty() {
                true => detail,
                false => format!("{detail}; asks {}", list(gateways)),
            });
        }
    };
    let fix = "give the service networks instead of network_mode";
    Err(Broken::new("no_network", format!("{replica} {why}"), fix))
}

fn what(name: &str, seat: &Seat<'_>, means: &Meaning<'_>) -> Link {
    let own = &seat.instance.deployment;
    match means {
        Meaning::Service(Named { spec, service, by }) => {
            let whose = match spec.name == *own {
                true => format!("the service {} of {}", service.name, spec.name),
                false => {
                    format!("the service {} of another deployment, {}", service.name, spec.name)
                }
            };
            Ok(match by {
                By::Name => whose,
                By::Alias => format!("an alias of {whose}"),
                By::Tasks => format!("all running replicas of {whose}"),
                By::Port => format!("a named port of {whose}"),
            })
        }
        Meaning::Replica(replica) => {
            Ok(format!("the replica {} of {}/{}", replica.id, replica.deployment, replica.service))
        }
        Meaning::Reverse => Ok("the name of an address".to_owned()),
        Meaning::Outside => Ok("a name of the world outside, asked elsewhere".to_owned()),
        Meaning::Unknown { near, elsewhere } => {
            let mut detail = format!("nothing that {own} knows is called {name}");
            let fix = match near {
                Some(near) => format!("did you mean {near}?"),
                None => format!("`jaco get deployment {own}` lists the services"),
            };
            if !elsewhere.is_empty() {
                let those = list(elsewhere);
                detail = format!("{detail}; {those} has it, but names end at the wall");
            }
            Err(Broken::new("unknown_name", detail, fix))
        }
    }
}

/// Whether a service has a network in common with the asker in which the name holds.
fn shares(
    view: View<'_>,
    seat: &Seat<'_>,
    named: &Named<'_>,
    holds_in: &[Scope],
    all: &[Scope],
) -> Link {
    let (service, owner) = (&named.service.name, &named.spec.name);
    let shared: Vec<&Scope> = holds_in.iter().filter(|s| seat.networks.contains_key(*s)).collect();
    if !shared.is_empty() {
        return Ok(format!("both are in {}", networks(shared)));
    }
    let there = match all {
        [] => format!("{service} has no networks"),
        _ if named.by == By::Alias => format!("the alias holds in {}", networks(holds_in)),
        _ => format!("{service} is in {}", networks(all)),
    };
    let detail =
        format!("no network in common: {there}, the asker in {}", networks(seat.networks.keys()));
    let here = (&seat.instance.deployment, &seat.instance.service);
    let fix = view.wall_fix(&here, &(owner, service), all);
    Err(Broken::new("cross_scope", detail, fix))
}

fn replica_shares(view: View<'_>, seat: &Seat<'_>, replica: &Replica) -> Link {
    let shown = shown_instance(view.state, replica);
    let Some(other) = shown.map(|instance| Seat::of(view.state, instance)) else {
        return Ok("it has no container yet".to_owned());
    };
    let shared: Vec<&Scope> = seat.shared(&other).collect();
    if !shared.is_empty() {
        return Ok(format!("both are in {}", networks(shared)));
    }
    let (there, here) = (networks(other.networks.keys()), networks(seat.networks.keys()));
    let detail = format!("no network in common: {} is in {there}, the asker in {here}", replica.id);
    let here = (&seat.instance.deployment, &seat.instance.service);
    let there = (&replica.deployment, &replica.service);
    let fix = view.wall_fix(&here, &there, other.networks.keys());
    Err(Broken::new("cross_scope", detail, fix))
}

/// Which replicas a service has, how each is, and whether any of them answers to the name.
fn replicas(view: View<'_>, seat: &Seat<'_>, named: &Named<'_>) -> Link {
    let key = (named.spec.name.clone(), named.service.name.clone());
    let mut slots: Vec<&Replica> = view.state.replicas_of(&key).map(AsRef::as_ref).collect();
    slots.sort_by(|a, b| a.slot.cmp(&b.slot));
    let mut told = Vec::new();
    let (mut good, mut first_bad) = (0_usize, None);
    for slot in &slots {
        let shown = shown_instance(view.state, slot).map(AsRef::as_ref);
        let serves = shown.is_some_and(|one| serves(view, seat, one, named.by == By::Tasks));
        good += usize::from(serves);
        if !serves && first_bad.is_none() {
            first_bad = Some((*slot, shown));
        }
        told.push(told_of(view, seat, slot, shown));
    }
    let more = told.len().saturating_sub(REPLICAS_TOLD);
    told.truncate(REPLICAS_TOLD);
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    let told = format!("{}{more}", told.join(", "));
    let word = if named.by == By::Tasks { "running" } else { "ready" };
    if good > 0 {
        return Ok(format!("{good} of {} {word}: {told}", slots.len()));
    }
    let Some((slot, shown)) = first_bad else {
        let fix = format!("`jaco scale {}/{}=1`", named.spec.name, named.service.name);
        let detail = format!("{} has no replicas", named.service.name);
        return Err(Broken::new("no_replica", detail, fix));
    };
    let detail = format!("none of {} is {word}: {told}", slots.len());
    Err(because(view, detail, slot, shown))
}

/// Whether a replica's address is among the answers.
fn serves(view: View<'_>, seat: &Seat<'_>, instance: &Instance, any_running: bool) -> bool {
    let state = instance.status.state;
    let is_good = if any_running { state.has_process() } else { state.is_ready() };
    is_good && !is_dead(view, seat, instance)
}

/// Whether the asker's node takes the node of a replica for dead.
fn is_dead(view: View<'_>, seat: &Seat<'_>, instance: &Instance) -> bool {
    let node = &instance.node;
    let is_lost = view.state.nodes.get(node).is_none_or(|node| is_down(node));
    *node != *seat.node() && (is_lost || view.doubts(view.facts(seat.node()), node))
}

fn told_of(view: View<'_>, seat: &Seat<'_>, slot: &Replica, shown: Option<&Instance>) -> String {
    let Some(instance) = shown else {
        let why = slot.waiting.as_ref().map(|fault| format!(": {}", fault.code));
        return format!("{} has no place{}", slot.id, why.unwrap_or_default());
    };
    let (host, status) = (view.host(&instance.node), &instance.status);
    if is_dead(view, seat, instance) {
        return format!("{} was on {host}, which is taken for dead", slot.id);
    }
    let why = status.fault.as_ref().map(|fault| format!(" ({})", fault.code));
    format!("{} {} on {host}{}", slot.id, status.state.as_str(), why.unwrap_or_default())
}

/// Why the first replica that does not serve does not.
fn because(view: View<'_>, detail: String, slot: &Replica, shown: Option<&Instance>) -> Broken {
    let look = format!("`jaco why {}` says why", slot.id);
    let node = shown.map(|instance| &instance.node);
    let lost = node.filter(|node| {
        view.state.nodes.get(*node).is_none_or(|node| is_down(node))
            || view.known.suspects.contains(*node)
    });
    if let Some(node) = lost {
        let host = hostname(view.state, node);
        return Broken::new(
            "node_down",
            detail,
            format!("bring {host} back; `jaco why {host}` says more"),
        );
    }
    let fault = shown.and_then(|instance| instance.status.fault.as_ref()).or(slot.waiting.as_ref());
    match fault {
        Some(fault) => Broken::of(fault, detail, look),
        None => {
            let state = shown.map_or("pending", |instance| instance.status.state.as_str());
            Broken::new(state, detail, look)
        }
    }
}

fn one_replica(view: View<'_>, seat: &Seat<'_>, replica: &Replica) -> Link {
    let shown = shown_instance(view.state, replica).map(AsRef::as_ref);
    let detail = told_of(view, seat, replica, shown);
    match shown {
        Some(instance) if serves(view, seat, instance, true) => Ok(detail),
        _ => {
            let mut broken = because(view, detail, replica, shown);
            if let Some(fault) = shown.and_then(|instance| instance.status.fault.as_ref()) {
                broken.fix = fix_of(fault.code, &replica.id);
            }
            Err(broken)
        }
    }
}

/// Whether the responder answers on a gateway that the asker asks.
fn listening(view: View<'_>, seat: &Seat<'_>, facts: &Facts) -> Link {
    let host = view.host(seat.node());
    let fix = format!(
        "something else on {host} may have port 53; its log says more: `journalctl -u jaco`"
    );
    if !facts.names.is_there {
        return Err(Broken::new("dns_down", format!("{host} has no responder"), fix));
    }
    let blocks = seat.networks.keys().filter_map(|scope| view.block(scope, seat.node()));
    let gateways: Vec<_> = blocks.map(jaco_model::entity::Block::gateway).collect();
    let deaf: Vec<_> = gateways.iter().filter(|at| !facts.names.listening.contains(*at)).collect();
    if !deaf.is_empty() {
        let detail = format!("{host} does not answer on {}", list(deaf));
        return Err(Broken::new("dns_down", detail, fix));
    }
    Ok(format!("answers on {}", list(gateways)))
}

/// What the responder says, and whether that is what it should say.
fn answer(
    view: View<'_>,
    seat: &Seat<'_>,
    means: &Meaning<'_>,
    facts: &Facts,
    told: &Told,
) -> Link {
    let host = view.host(seat.node());
    let behind = facts.index.saturating_add(1) < view.state.applied_index;
    let late = || {
        let (its, ours) = (facts.index, view.state.applied_index);
        match behind {
            true => format!("{host} works by log index {its}, this node by {ours}: it is behind"),
            false => {
                format!("look again in a second; then see the log of {host}: `journalctl -u jaco`")
            }
        }
    };
    let is_outside = matches!(means, Meaning::Outside | Meaning::Reverse);
    match told {
        Told::Addresses(addresses) => Ok(list(addresses)),
        Told::Services(targets) => {
            let texts = targets.iter().map(|(port, target)| format!("{target}:{port}"));
            Ok(list(texts.collect::<BTreeSet<String>>()))
        }
        Told::Pointer(name) => Ok(name.clone()),
        Told::Forward(upstreams) if is_outside => forwarded(&host, upstreams),
        Told::Forward(_) => {
            let detail = "asked elsewhere: its last label is a top-level domain";
            let fix = "add .jaco.internal to the name";
            Err(Broken::new("dns_forwarded", detail, fix))
        }
        Told::Stranger => {
            let detail = format!("silence: {host} does not know the address of the asker");
            Err(Broken::new("dns_stranger", detail, late()))
        }
        Told::Empty => {
            let detail = "no address (NOERROR without an answer)";
            Err(Broken::new("dns_no_data", detail, late()))
        }
        Told::Missing => {
            Err(Broken::new("dns_no_name", "there is no such name (NXDOMAIN)", late()))
        }
        Told::NoName | Told::Refused => {
            let detail = "refused: the text is no name that can be asked for";
            Err(Broken::new("unknown_name", detail, "names are labels with dots between them"))
        }
    }
}

fn forwarded(host: &str, upstreams: &[Upstream]) -> Link {
    let asked = upstreams.iter().map(|one| match one.is_failing {
        true => format!("{} (failing)", one.address),
        false => one.address.to_string(),
    });
    let asked = list(asked);
    if upstreams.is_empty() {
        let detail = format!("{host} has nobody to ask about names of the world outside");
        let fix = "set `dns.forwarders` of the node, or a usable name server in its resolv.conf";
        return Err(Broken::new("dns_no_upstream", detail, fix));
    }
    if upstreams.iter().all(|one| one.is_failing) {
        let detail = format!("{host} asks {asked}, and none answers");
        let fix = format!("check from {host} that they answer on port 53, or set `dns.forwarders`");
        return Err(Broken::new("dns_upstream_down", detail, fix));
    }
    Ok(format!("{host} asks {asked}"))
}
