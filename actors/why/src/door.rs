//! Links that chains about routes and certificates have in common: what the host resolves to, and
//! whether every node that a client may reach listens.

use crate::chain::{Broken, Chain, Link, list};
use crate::facts::{Door, Look, Resolved};
use crate::links::View;
use crate::seat::is_down;
use jaco_model::NodeId;
use jaco_model::entity::Node;
use jaco_model::spec::TlsMode;
use jaco_state::State;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

/// Whom to ask what: every node serves every host.
pub(crate) fn looks(state: &State, host: &str) -> BTreeMap<NodeId, Look> {
    let look = Look { host: Some(host.to_owned()), ..Look::default() };
    state.nodes.keys().map(|node| (node.clone(), look.clone())).collect()
}

/// Adds what the host resolves to.
pub(crate) fn dns_link(view: View<'_>, chain: &mut Chain, host: &str) {
    if let Some(resolved) = &view.known.resolved {
        chain.add("dns", "dns", dns(view, host, resolved));
    }
}

fn dns(view: View<'_>, host: &str, resolved: &Resolved) -> Link {
    let all = match resolved {
        Ok(all) if !all.is_empty() => all,
        other => {
            let why = other.as_ref().err().map(|why| format!(": {why}")).unwrap_or_default();
            let nodes: BTreeSet<IpAddr> = view.state.nodes.values().filter_map(|n| at(n)).collect();
            let detail = format!("{host} resolves to nothing{why}");
            let fix = format!(
                "give {host} an A record that leads to the nodes; they know themselves as {}",
                list(nodes)
            );
            return Err(Broken::new("dns", detail, fix));
        }
    };
    let told = all.iter().map(|address| {
        match view.state.nodes.values().find(|n| at(n) == Some(*address)) {
            Some(node) => format!("{address} ({})", node.name),
            None => address.to_string(),
        }
    });
    let told = list(told);
    let nodes = view.state.nodes.values().filter(|node| leads_to(view, node));
    Ok(match (nodes.count(), all.len()) {
        (0, _) => format!(
            "{host} resolves to {told}: no node calls itself so, something in front must lead here"
        ),
        (known, total) if known < total => {
            format!("{host} resolves to {told}; not all of them are nodes of this cluster")
        }
        _ => format!("{host} resolves to {told}"),
    })
}

/// The address that other nodes know a node by.
fn at(node: &Node) -> Option<IpAddr> {
    node.facts.address.parse::<SocketAddr>().ok().map(|address| address.ip())
}

/// Whether the name leads to a node.
fn leads_to(view: View<'_>, node: &Node) -> bool {
    let resolved = view.known.resolved.as_ref().and_then(|resolved| resolved.as_ref().ok());
    resolved.zip(at(node)).is_some_and(|(all, address)| all.contains(&address))
}

/// Adds, for each node, whether it listens. A node that is down matters when the name leads to it.
pub(crate) fn door_links(view: View<'_>, chain: &mut Chain, tls: Option<&TlsMode>) {
    for (id, node) in &view.state.nodes {
        if is_down(node) {
            if leads_to(view, node) {
                view.node_link(chain, "node", id);
            }
            continue;
        }
        let Some(facts) = view.facts(id) else {
            view.node_link(chain, "node", id);
            continue;
        };
        if let Some(door) = &facts.door {
            chain.add("listener", &view.host(id), door_link(&view.host(id), door, tls));
        }
    }
}

pub(crate) fn door_link(host: &str, door: &Door, tls: Option<&TlsMode>) -> Link {
    // Of a route it is the proxy's sockets that matter; a node is asked about all of them.
    let matters = |key: &&String| tls.is_none() || key.starts_with("http");
    if let Some(key) = door.closed.keys().find(matters) {
        let (why, port) = (&door.closed[key], key.rsplit(':').next().unwrap_or_default());
        let detail = format!("{host} cannot listen on {key}: {why}");
        let fix = format!(
            "`ss -ltnp 'sport = :{port}'` on {host} shows who has it; end that or set \
             `ingress.http_addr` and `ingress.https_addr`; it is tried again every 5 s"
        );
        return Err(Broken::new("port_in_use", detail, fix));
    }
    if door.http.is_empty() && door.https.is_empty() {
        return Ok(format!("{host} has no front door (`ingress.enabled`); others serve"));
    }
    let needs_https = tls.is_some_and(|tls| *tls != TlsMode::Off);
    if needs_https && door.https.is_empty() {
        let detail = format!("{host} listens for HTTP alone");
        let fix = format!("set `ingress.https_addr` on {host}");
        return Err(Broken::new("no_https", detail, fix));
    }
    let open = door.http.iter().chain(&door.https);
    Ok(format!("{host} listens on {}", list(open)))
}
