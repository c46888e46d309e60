//! Links that several kinds of chains have: a node, its filter, its mesh, its bridges.

use crate::chain::{Broken, Chain, Link, list};
use crate::facts::{Facts, Filter, Flow, Known};
use crate::seat::{hostname, is_down};
use jaco_model::entity::{Block, Scope};
use jaco_model::{DeploymentName, ErrorCode, NodeId, ServiceName};
use jaco_state::State;
use std::net::Ipv4Addr;

/// A service by its deployment and its name.
pub(crate) type Service<'s> = (&'s DeploymentName, &'s ServiceName);

/// What every link is judged by.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) state: &'a State,
    pub(crate) known: &'a Known,
}

impl<'a> View<'a> {
    pub(crate) fn host(&self, node: &NodeId) -> String {
        hostname(self.state, node)
    }

    /// What a node saw, if it was asked and answered.
    pub(crate) fn facts(&self, node: &NodeId) -> Option<&'a Facts> {
        self.known.facts.get(node)?.as_ref().ok()
    }

    /// The block of a scope on a node.
    pub(crate) fn block(&self, scope: &Scope, node: &NodeId) -> Option<&'a Block> {
        self.state.block(scope, node).map(AsRef::as_ref)
    }

    /// Adds whether a node is up and answers.
    pub(crate) fn node_link(&self, chain: &mut Chain, step: &str, node: &NodeId) {
        let link = self.node(node);
        let is_asked = self.known.facts.contains_key(node);
        let source = if is_asked && link.is_ok() { self.host(node) } else { "state".to_owned() };
        chain.add(step, &source, link);
    }

    fn node(&self, node: &NodeId) -> Link {
        let host = self.host(node);
        let Some(member) = self.state.nodes.get(node) else {
            let detail = format!("{host} is no member any more");
            return Err(Broken::new(ErrorCode::NodeLost, detail, "its replicas are placed anew"));
        };
        if is_down(member) {
            let detail = format!("{host} is down: it answers neither the leader nor others");
            let fix = format!("bring {host} back; `jaco node list` shows when it was last heard");
            return Err(Broken::new("node_down", detail, fix));
        }
        match self.known.facts.get(node) {
            Some(Err(why)) => {
                let detail = format!("{host} does not answer: {why}");
                let fix = format!(
                    "look whether the daemon of {host} runs, and let 7001/tcp through between the \
                     nodes; its containers may run on meanwhile"
                );
                Err(Broken::new(ErrorCode::NodeUnreachable, detail, fix))
            }
            Some(Ok(_)) => Ok(format!("{host} answers")),
            None => Ok(format!("{host} is {}", member.status.as_str())),
        }
    }

    /// Adds whether the filter of a node lets the first flow of its question through.
    pub(crate) fn filter_link(&self, chain: &mut Chain, step: &str, node: &NodeId, flow: Flow) {
        if let Some(facts) = self.facts(node) {
            let link = self.filter(node, &facts.filter, flow);
            chain.add(step, &self.host(node), link);
        }
    }

    fn filter(&self, node: &NodeId, filter: &Filter, flow: Flow) -> Link {
        let host = self.host(node);
        let (from, to) = (self.range(flow.from), self.range(flow.to));
        let unavailable = |detail: String| Err(no_filter(&host, detail));
        let Some(table) = filter_table(&host, filter)? else {
            return unavailable(format!("there is no packet filter on {host}"));
        };
        if let Some(fenced) = [flow.from, flow.to].into_iter().find(|a| table.fenced.contains(a)) {
            let detail = format!("{fenced} is fenced off on {host}");
            return Err(Broken::new(
                "fence",
                detail,
                "it ends when the replica has its lease again",
            ));
        }
        if table.allowed.first() == Some(&false) {
            let detail = format!("{host} does not have {from} to {to} among the allowed pairs");
            let fix = format!(
                "the node repairs this by itself within a second; if it stays, see the log of {host}"
            );
            return Err(Broken::new("cross_scope", detail, fix));
        }
        match &filter.fault {
            Some(fault) => unavailable(fault.clone()),
            None => {
                let rules = table.rules;
                Ok(format!("in force with {rules} rules, {from} to {to} is allowed"))
            }
        }
    }

    /// Adds whether the filter of a node holds a wall.
    pub(crate) fn wall_link(&self, chain: &mut Chain, step: &str, node: &NodeId, flow: Flow) {
        let Some(facts) = self.facts(node) else { return };
        let host = self.host(node);
        let (from, to) = (self.range(flow.from), self.range(flow.to));
        let link = match filter_table(&host, &facts.filter) {
            Err(broken) => Err(broken),
            Ok(None) => Err(no_filter(&host, format!("there is no packet filter on {host}"))),
            Ok(Some(table)) if table.allowed.first() == Some(&true) => Err(no_filter(
                &host,
                format!("{host} lets {from} to {to} through, which it should not"),
            )),
            Ok(Some(_)) => Ok(format!("in force, {from} to {to} is dropped as cross_scope")),
        };
        chain.add_above_all(step, &host, link);
    }

    /// Adds whether a node's filter works at all.
    pub(crate) fn isolation_link(&self, chain: &mut Chain, node: &NodeId) {
        let Some(facts) = self.facts(node) else { return };
        let host = self.host(node);
        let link = match (filter_table(&host, &facts.filter), &facts.filter.fault) {
            (Err(broken), _) => Err(broken),
            (Ok(_), Some(fault)) => Err(no_filter(&host, fault.clone())),
            (Ok(None), None) => {
                Err(no_filter(&host, format!("there is no packet filter on {host}")))
            }
            (Ok(Some(table)), None) => Ok(format!("in force with {} rules", table.rules)),
        };
        chain.add("filter", &host, link);
    }

    /// Adds whether the mesh of `node` carries the first flow to or from `other`.
    pub(crate) fn mesh_link(&self, chain: &mut Chain, step: &str, node: &NodeId, other: &NodeId) {
        if let Some(facts) = self.facts(node) {
            let link = self.mesh(node, facts, other);
            chain.add(step, &self.host(node), link);
        }
    }

    fn mesh(&self, node: &NodeId, facts: &Facts, other: &NodeId) -> Link {
        let (host, there, mesh) = (self.host(node), self.host(other), &facts.mesh);
        let log = format!("the log of the daemon on {host} says more: `journalctl -u jaco`");
        self.tunnel(node, facts)?;
        let Some(peer) = mesh.peer.as_ref() else {
            let detail = format!("the tunnel of {host} does not have {there} as a peer");
            return Err(Broken::new("mesh_no_peer", detail, log));
        };
        if peer.carries.first() == Some(&false) {
            let detail = format!("the tunnel of {host} carries nothing of this network to {there}");
            return Err(Broken::new("mesh_no_peer", detail, log));
        }
        let at = peer.endpoint.map_or_else(|| "no address".to_owned(), |at| at.to_string());
        let shaken = match peer.handshake_seconds {
            Some(seconds) => format!("last handshake {seconds} s ago"),
            None => "no handshake yet".to_owned(),
        };
        let tunnel =
            format!("{} tunnel of MTU {} to {there} at {at}, {shaken}", mesh.kind, mesh.mtu);
        let port = peer.endpoint.map_or(51820, |at| at.port());
        let fix = format!(
            "let UDP {port} through between {host} and {there} in both directions; the mesh \
             recovers by itself then"
        );
        match mesh.paths.get(other).map(String::as_str) {
            Some("dead") => {
                let detail = format!("{tunnel}: no probe of {there} arrives at {host}");
                Err(Broken::new("mesh_dead", detail, fix))
            }
            Some("one_way") => {
                let detail = format!("{tunnel}: {there} is heard and does not hear {host}");
                Err(Broken::new("mesh_one_way", detail, fix))
            }
            Some(_) => Ok(format!("{tunnel}; probes pass both ways")),
            None => Ok(format!("{tunnel}; not probed yet")),
        }
    }

    /// Whether a node has a tunnel that the pool is routed into.
    pub(crate) fn tunnel(&self, node: &NodeId, facts: &Facts) -> Result<(), Broken> {
        let (host, mesh) = (self.host(node), &facts.mesh);
        let log = format!("the log of the daemon on {host} says more: `journalctl -u jaco`");
        let because = mesh.fault.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        let broken = |code: &str, detail: String| Err(Broken::new(code, detail, log.clone()));
        if mesh.kind.is_empty() {
            return broken("mesh_down", format!("{host} has no mesh{because}"));
        }
        if let Some(why) = &mesh.unread {
            return broken("mesh_down", format!("the tunnel of {host} cannot be read: {why}"));
        }
        if !mesh.is_up {
            return broken("mesh_down", format!("wg-jaco is not up on {host}{because}"));
        }
        if !mesh.has_route {
            let detail = format!("{host} does not route the pool into wg-jaco{because}");
            return broken("mesh_no_route", detail);
        }
        Ok(())
    }

    /// Adds whether the bridge of a scope is there.
    pub(crate) fn bridge_link(&self, chain: &mut Chain, step: &str, node: &NodeId, scope: &Scope) {
        let (Some(facts), Some(record)) = (self.facts(node), self.state.scope(scope)) else {
            return;
        };
        let (host, bridge) = (self.host(node), &record.bridge);
        let fix = format!(
            "the node makes it anew with its next container; `docker network inspect {}` on {host}",
            record.engine_name
        );
        let link = match facts.bridges.get(bridge) {
            None => Err(Broken::new("bridge_down", format!("{host} has no bridge {bridge}"), fix)),
            Some(found) if !found.is_up => Err(Broken::new(
                "bridge_down",
                format!("the bridge {bridge} of {host} is down"),
                fix,
            )),
            Some(found) => Ok(format!("{bridge} of {scope} is up, MTU {}", found.mtu)),
        };
        chain.add(step, &host, link);
    }

    /// What would bring two services into one network; `there` is in `scopes`.
    pub(crate) fn wall_fix<'s>(
        &self,
        here: &Service<'_>,
        there: &Service<'_>,
        scopes: impl IntoIterator<Item = &'s Scope>,
    ) -> String {
        let (guest, owner) = (here.0, there.0);
        if guest == owner {
            let (here, there) = (here.1, there.1);
            return format!(
                "name one network under `networks` of both {here} and {there}, and apply"
            );
        }
        match scopes.into_iter().find(|scope| self.admits(scope, guest)) {
            Some(scope) => format!(
                "{scope} is shared with {guest}: give {guest}/{} a network with `external: true` \
                 and `name: {scope}`",
                here.1
            ),
            None => format!(
                "if they are to talk, put `x-jaco: {{shared: [{guest}]}}` on a network of \
                 {owner}/{}, and join it from {guest} with `external: true` and \
                 `name: {owner}/<network>`",
                there.1
            ),
        }
    }

    /// Whether the owner of a network shares it with a deployment.
    fn admits(&self, scope: &Scope, guest: &DeploymentName) -> bool {
        let owner = self.state.current(&scope.deployment);
        let network = owner.and_then(|record| record.spec.networks.get(scope.key()));
        network.is_some_and(|network| network.external.is_none() && network.shared.admits(guest))
    }

    /// The block that an address is in, else the address.
    fn range(&self, address: Ipv4Addr) -> String {
        let blocks = self.state.blocks.values();
        let found = blocks.map(AsRef::as_ref).find(|block: &&Block| block.net.contains(&address));
        found.map_or_else(|| address.to_string(), |block| block.net.to_string())
    }

    /// Nodes that `facts` or the one that explains take for dead, as a remark.
    pub(crate) fn doubts(&self, facts: Option<&Facts>, node: &NodeId) -> bool {
        facts.map_or(&self.known.suspects, |facts| &facts.suspects).contains(node)
    }
}

fn filter_table<'f>(
    host: &str,
    filter: &'f Filter,
) -> Result<Option<&'f crate::facts::Table>, Broken> {
    match &filter.unread {
        Some(why) => {
            Err(no_filter(host, format!("the packet filter of {host} cannot be read: {why}")))
        }
        None => Ok(filter.table.as_ref()),
    }
}

fn no_filter(host: &str, detail: String) -> Broken {
    let fix = format!(
        "the node writes its filter anew by itself; if it does not come back, see the log of {host}, and `jaco doctor` there"
    );
    Broken::new(ErrorCode::IsolationUnavailable, detail, fix)
}

/// Networks for people.
pub(crate) fn networks<'s>(scopes: impl IntoIterator<Item = &'s Scope>) -> String {
    list(scopes)
}
