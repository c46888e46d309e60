//! What nodes see on which all is well, but for what the test says. Names are answered by the real
//! core of the responder.

use crate::world::World;
use jaco_dns_core::{DnsCore, Effect, Input, Settings, Told as Said, Zones, tell};
use jaco_kit_core::{Core, Now};
use jaco_model::NodeId;
use jaco_model::entity::Scope;
use jaco_why::{
    Bridge, Container, Door, Facts, Filter, Flow, Known, Look, Mesh, Names, Peer, Table, Told,
    Upstream,
};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

/// What everybody who is asked answers.
pub(crate) fn known(world: &World, looks: &BTreeMap<NodeId, Look>) -> Known {
    let answer = |(node, look): (&NodeId, &Look)| {
        let seen = match world.silent.get(node) {
            Some(why) => Err(why.clone()),
            None => Ok(facts(world, node, look)),
        };
        (node.clone(), seen)
    };
    Known {
        facts: looks.iter().map(answer).collect(),
        suspects: world.suspects.iter().cloned().collect(),
        resolved: Some(world.door.resolved.clone()),
        own_certificate: world.door.own_certificate.clone(),
        now: world.door.now,
    }
}

fn facts(world: &World, node: &NodeId, look: &Look) -> Facts {
    let state = &world.state;
    let others = state.nodes.keys().filter(|other| *other != node);
    let mut facts = Facts {
        index: state.applied_index,
        filter: Filter {
            table: Some(Table {
                rules: 61,
                allowed: look.flows.iter().map(|flow| allows(world, *flow)).collect(),
                ..Table::default()
            }),
            ..Filter::default()
        },
        mesh: Mesh {
            kind: "kernel".to_owned(),
            is_up: true,
            mtu: 1420,
            has_route: true,
            paths: others.map(|other| (other.clone(), "ok".to_owned())).collect(),
            peer: look.peer.as_ref().map(|peer| Peer {
                endpoint: format!("192.0.2.{}:51820", &peer.as_str()[1..]).parse().ok(),
                handshake_seconds: Some(12),
                carries: look.flows.iter().map(|_| true).collect(),
            }),
            ..Mesh::default()
        },
        bridges: look
            .bridges
            .iter()
            .map(|name| (name.clone(), Bridge { is_up: true, mtu: 1420 }))
            .collect(),
        names: Names {
            is_there: true,
            listening: state.blocks_on(node).map(|(_, block)| block.gateway()).collect(),
            told: None,
        },
        container: look
            .container
            .as_ref()
            .map(|_| Container { state: Some("running".to_owned()), ..Container::default() }),
        door: look.host.as_ref().map(|host| crate::door::door(state, host)),
        ..Facts::default()
    };
    for (_, words) in world.sights.iter().filter(|(seer, _)| seer == node) {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        change(&mut facts, &words);
    }
    if let Some(ask) = &look.ask {
        let upstreams = upstreams(world, node);
        let zones = zones(world, node, &facts);
        facts.names.told = Some(told(tell(&zones, ask.source, &ask.name), upstreams));
    }
    facts
}

/// Whether both addresses are in blocks of one network.
fn allows(world: &World, flow: Flow) -> bool {
    let scope = |address: Ipv4Addr| -> Option<Scope> {
        let found = world.state.blocks.values().find(|block| block.net.contains(&address));
        found.map(|block| block.scope.clone())
    };
    scope(flow.from).is_some() && scope(flow.from) == scope(flow.to)
}

/// Lets a node see something else.
fn change(facts: &mut Facts, words: &[&str]) {
    match words {
        ["no", "table"] => facts.filter.table = None,
        ["empty", "table"] => {
            if let Some(table) = &mut facts.filter.table {
                table.allowed.iter_mut().for_each(|allowed| *allowed = false);
            }
        }
        ["open", "table"] => {
            if let Some(table) = &mut facts.filter.table {
                table.allowed.iter_mut().for_each(|allowed| *allowed = true);
            }
        }
        ["fault", why @ ..] => facts.filter.fault = Some(why.join(" ")),
        ["mesh", "down"] => facts.mesh.is_up = false,
        ["mesh", "unrouted"] => facts.mesh.has_route = false,
        ["mesh", "stranger"] => facts.mesh.peer = None,
        ["mesh", node, condition] => {
            facts.mesh.paths.insert(NodeId::from(*node), (*condition).to_owned());
        }
        ["http", "taken"] => {
            let door = facts.door.as_mut().unwrap();
            door.http.clear();
            let why = "Address already in use (os error 98)".to_owned();
            door.closed.insert("http 0.0.0.0:80".to_owned(), why);
        }
        ["no", "door"] => facts.door = Some(Door::default()),
        ["no", "upstreams"] => facts.door.as_mut().unwrap().upstreams.clear(),
        ["no", "certificate"] => facts.door.as_mut().unwrap().has_certificate = false,
        ["no", "orders"] => facts.door.as_mut().unwrap().orders = Some(false),
        ["old", "door"] => facts.door.as_mut().unwrap().orders = None,
        ["no", "bridges"] => facts.bridges.clear(),
        ["container", "gone"] => facts.container = Some(Container::default()),
        ["container", state] => {
            facts.container =
                Some(Container { state: Some((*state).to_owned()), ..Container::default() });
        }
        ["pull", far] => {
            facts.container =
                Some(Container { pull: Some((*far).to_owned()), ..Container::default() });
        }
        ["no", "responder"] => facts.names.is_there = false,
        ["deaf"] => facts.names.listening.clear(),
        ["suspects", node] => drop(facts.suspects.insert(NodeId::from(*node))),
        ["upstreams", ..] => {}
        _ => panic!("no sight: {words:?}"),
    }
}

/// `sees n1 upstreams ADDRESS[!] …`; with `!` it fails.
fn upstreams(world: &World, node: &NodeId) -> Vec<Upstream> {
    let sights = world.sights.iter().filter(|(seer, _)| seer == node);
    let mut lists = sights.filter(|(_, words)| words[0] == "upstreams");
    let list = lists.next_back().map(|(_, words)| words[1..].to_vec());
    let list = list.unwrap_or_else(|| vec!["198.51.100.53:53".to_owned()]);
    let read = |text: &String| Upstream {
        address: text.trim_end_matches('!').parse().unwrap(),
        is_failing: text.ends_with('!'),
    };
    list.iter().map(read).collect()
}

fn zones(world: &World, node: &NodeId, facts: &Facts) -> Arc<Zones> {
    let mut core = DnsCore::new(node.clone(), Settings::default());
    let mut effects = core.step(Now::default(), Input::Suspects(facts.suspects.clone()));
    let state = Arc::new(world.state.clone());
    effects.extend(core.step(Now::default(), Input::StateChanged(state)));
    let served = effects.into_iter().filter_map(|effect| match effect {
        Effect::Serve(zones) => Some(zones),
        _ => None,
    });
    served.last().unwrap_or_default()
}

fn told(said: Said, upstreams: Vec<Upstream>) -> Told {
    match said {
        Said::NoName => Told::NoName,
        Said::Stranger => Told::Stranger,
        Said::Addresses(addresses) => Told::Addresses(addresses),
        Said::Services(targets) => Told::Services(targets),
        Said::Pointer(name) => Told::Pointer(name),
        Said::Empty => Told::Empty,
        Said::Missing => Told::Missing,
        Said::Refused => Told::Refused,
        Said::Forward(_) => Told::Forward(upstreams),
    }
}
