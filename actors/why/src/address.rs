//! The way of packets from a replica to an address that no container has.

use crate::chain::{Broken, Chain, Link};
use crate::links::View;
use crate::seat::Seat;
use crate::subject::Port;
use jaco_model::entity::{Block, Node, Scope};
use std::net::Ipv4Addr;

/// Ports of nodes that containers never reach.
const CONTROL_PORTS: [u16; 6] = [7000, 7001, 51820, 2375, 2376, 2377];
/// Port of the responder on the gateway of each network.
const NAMES_PORT: u16 = 53;

/// Adds the links from the target on.
pub(crate) fn explain(
    view: View<'_>,
    chain: &mut Chain,
    source: &Seat<'_>,
    at: Ipv4Addr,
    port: Option<&Port>,
) {
    chain.add("target", "state", target(view, source, at, port));
    if !view.state.pool().contains(&at) {
        chain.add("network", "state", way_out(view, source));
        view.node_link(chain, "source_node", source.node());
        view.isolation_link(chain, source.node());
        if chain.holds() {
            let host = view.host(source.node());
            let detail = format!(
                "{host} sends it on with its own address; what is behind it JACO does not see"
            );
            chain.add("way_out", "state", Ok(detail));
        }
    }
}

fn target(view: View<'_>, source: &Seat<'_>, at: Ipv4Addr, port: Option<&Port>) -> Link {
    let state = view.state;
    let number = port.map(|port| port.number);
    if let Some(node) = node_at(view, at) {
        return of_node(view, source, node, at, number);
    }
    if !state.pool().contains(&at) {
        return Ok(format!("{at} is outside of the cluster's networks"));
    }
    if state.mesh_range().contains(&at) {
        let detail = format!("{at} is an address of the mesh, which is for nodes alone");
        return Err(Broken::new("cross_scope", detail, "use the name of a service instead"));
    }
    let found = state.blocks.values().map(AsRef::as_ref);
    let Some(block) = found.into_iter().find(|block: &&Block| block.net.contains(&at)) else {
        let detail = format!("{at} is in the pool {} and belongs to nobody", state.pool());
        return Err(stale(detail));
    };
    if block.gateway() == at {
        return gateway(view, source, block, number);
    }
    let scope = &block.scope;
    Err(stale(format!(
        "no container of {scope} has {at} now, whose block is on {}",
        view.host(&block.node)
    )))
}

/// Addresses come and go with containers.
fn stale(detail: String) -> Broken {
    Broken::new("no_address", detail, "look the address up by name for each connection")
}

/// The gateway of a network answers names and pings, to its own containers alone.
fn gateway(view: View<'_>, source: &Seat<'_>, block: &Block, port: Option<u16>) -> Link {
    let (scope, host) = (&block.scope, view.host(&block.node));
    let is_own = source.networks.contains_key(scope) && *source.node() == block.node;
    let what = format!("{} is the gateway of {scope} on {host}", block.gateway());
    match port {
        _ if !is_own => {
            let fix = "only containers of that network on that node reach it";
            Err(Broken::new("host", what, fix))
        }
        None | Some(NAMES_PORT) => Ok(format!("{what}, which answers names on port 53")),
        Some(port) => {
            let detail = format!("{what}, and {port} is not the port for names, 53");
            let fix = "`isolation.host_ports` of the node opens ports of the host to containers";
            Err(Broken::new("host", detail, fix))
        }
    }
}

/// Nodes are reached as any host outside, but for the ports of the cluster itself.
fn of_node(
    view: View<'_>,
    source: &Seat<'_>,
    node: &Node,
    at: Ipv4Addr,
    port: Option<u16>,
) -> Link {
    let what = format!("{at} is {}", node.name);
    if node.id == *source.node() {
        let detail = format!("{what}, the node that {} runs on", source.name());
        let fix = format!(
            "list the port under `isolation.host_ports` of {}, if containers may reach it",
            view.host(&node.id)
        );
        return Err(Broken::new("host", detail, fix));
    }
    if let Some(port) = port.filter(|port| CONTROL_PORTS.contains(port)) {
        let detail = format!("{what}, and {port} is a port of the cluster itself");
        return Err(Broken::new("control", detail, "containers never reach it"));
    }
    Ok(format!("{what}, reached as any host outside"))
}

fn node_at<'a>(view: View<'a>, at: Ipv4Addr) -> Option<&'a Node> {
    let has = |node: &&Node| {
        let told = [&node.facts.address, &node.facts.api_address];
        let hosts = told.into_iter().filter_map(|text| text.rsplit_once(':').map(|(host, _)| host));
        hosts.into_iter().any(|host| host.parse::<Ipv4Addr>() == Ok(at))
    };
    view.state.nodes.values().map(AsRef::as_ref).find(has)
}

/// Whether any network of a container has a way out.
fn way_out(view: View<'_>, source: &Seat<'_>) -> Link {
    let is_closed = |scope: &&Scope| view.state.scope(scope).is_some_and(|record| record.internal);
    let open: Vec<&Scope> = source.networks.keys().filter(|scope| !is_closed(scope)).collect();
    match open.first() {
        Some(scope) => Ok(format!("{scope} has a way out")),
        None => {
            let detail = format!("all networks of {} are internal", source.instance.id.replica);
            let fix = "give the service a network without `internal: true`, and apply";
            Err(Broken::new("internal", detail, fix))
        }
    }
}
