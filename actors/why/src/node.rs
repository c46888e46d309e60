//! How a member is: whether it answers, its engine, its mesh, its filter, its responder.

use crate::chain::{Broken, Chain, Link, list};
use crate::door::door_link;
use crate::facts::{Facts, Look};
use crate::links::View;
use crate::seat::is_down;
use jaco_model::entity::Node;
use jaco_model::view::WhyView;
use jaco_model::{ErrorCode, NodeId};
use std::collections::BTreeMap;

/// Whom to ask what. An empty host is none, and yet the question for the front door.
pub(crate) fn looks(id: &NodeId) -> BTreeMap<NodeId, Look> {
    [(id.clone(), Look { host: Some(String::new()), ..Look::default() })].into()
}

/// The chain.
pub(crate) fn explain(view: View<'_>, id: &NodeId) -> WhyView {
    let host = view.host(id);
    let mut chain = Chain::new("node", host.clone());
    view.node_link(&mut chain, "node", id);
    let Some(node) = view.state.nodes.get(id) else { return chain.end("") };
    if view.known.suspects.contains(id) {
        let detail =
            format!("{host} is suspected: the node that answers cannot reach it, or most cannot");
        let fix = "let 7001/tcp through between the nodes; routing avoids it meanwhile";
        chain.add("suspicion", "state", Err(Broken::new("suspect", detail, fix)));
    }
    if is_down(node) {
        return chain.end("");
    }
    chain.add("work", "state", takes_work(node));
    chain.add("engine", "state", engine(node));
    if let Some(door) = view.facts(id).and_then(|facts| facts.door.as_ref()) {
        chain.add("listener", &host, door_link(&host, door, None));
    }
    if let Some(facts) = view.facts(id) {
        view.isolation_link(&mut chain, id);
        if view.state.nodes.len() > 1 {
            chain.add("mesh", &host, mesh(view, id, facts));
        }
        chain.add("names", &host, names(view, id, facts));
    }
    chain.end(format!("{host} is as it should be"))
}

fn takes_work(node: &Node) -> Link {
    if node.leaving.is_some() {
        let detail = "it is being removed: its replicas move away";
        return Err(Broken::new(
            "leaving",
            detail,
            "nothing; `jaco node list` shows when it is out",
        ));
    }
    if !node.schedulable {
        return Err(Broken::new(
            "cordoned",
            "it is cordoned and gets no new work",
            "`jaco node list` says why",
        ));
    }
    Ok(format!("{}, takes work", node.status.as_str()))
}

fn engine(node: &Node) -> Link {
    let facts = &node.facts;
    // A port that something else has is told by the link of the listeners.
    let conditions: Vec<_> =
        facts.conditions.iter().filter(|word| *word != "port_in_use").collect();
    if let Some(first) = conditions.first() {
        let detail = format!("it says of itself: {}", list(&conditions));
        let fix = format!("`jaco doctor` on {} says more", node.name);
        return Err(Broken::new(first, detail, fix));
    }
    if facts.engine_version.is_empty() {
        let fix = format!("`systemctl status docker` on {}", node.name);
        let detail = "the Docker Engine does not answer";
        return Err(Broken::new(ErrorCode::DockerError, detail, fix));
    }
    Ok(format!("Docker Engine {} answers", facts.engine_version))
}

fn mesh(view: View<'_>, id: &NodeId, facts: &Facts) -> Link {
    view.tunnel(id, facts)?;
    let (mesh, host) = (&facts.mesh, view.host(id));
    let broken: Vec<String> = mesh
        .paths
        .iter()
        .filter(|(_, condition)| *condition != "ok")
        .map(|(node, condition)| format!("{} ({condition})", view.host(node)))
        .collect();
    if !broken.is_empty() {
        let detail = format!("packets of containers do not pass to and from {}", list(&broken));
        let fix =
            "let the UDP port of the mesh, 51820, through between the nodes in both directions";
        return Err(Broken::new("mesh_dead", detail, fix));
    }
    if let Some(fault) = &mesh.fault {
        let fix = format!("the log of the daemon on {host} says more: `journalctl -u jaco`");
        return Err(Broken::new("mesh_down", fault.clone(), fix));
    }
    let (kind, mtu) = (&mesh.kind, mesh.mtu);
    Ok(format!("{kind} tunnel of MTU {mtu}, probes pass both ways to every other node"))
}

fn names(view: View<'_>, id: &NodeId, facts: &Facts) -> Link {
    let host = view.host(id);
    let fix = format!(
        "something else on {host} may have port 53; its log says more: `journalctl -u jaco`"
    );
    if !facts.names.is_there {
        return Err(Broken::new("dns_down", format!("{host} has no responder"), fix));
    }
    let used = view.state.blocks_on(id).filter(|(_, block)| block.idle_since.is_none());
    let gateways: Vec<_> = used.map(|(_, block)| block.gateway()).collect();
    let deaf: Vec<_> = gateways.iter().filter(|at| !facts.names.listening.contains(*at)).collect();
    match deaf.is_empty() {
        true => Ok(format!("answered on {} bridges", gateways.len())),
        false => {
            let detail = format!("nobody answers names on {}", list(deaf));
            Err(Broken::new("dns_down", detail, fix))
        }
    }
}
