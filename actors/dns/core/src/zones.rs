//! The tables that answers are read from, computed once per change of the state.
//!
//! Each container that may ask belongs to one [`View`]: its deployment and its set of networks.
//! Containers with the same networks share it, so there are about as many views as services. A
//! view holds every name its containers may know, in every spelling, with the addresses in the
//! networks of the view and no others. So no question can reach an address that its asker does
//! not share a network with: such an address is not in the table.

use crate::describe::{ContainerEntry, Description};
use crate::name::{Key, key};
use crate::tlds::is_top_level;
use crate::view::View;
use ipnet::Ipv4Net;
use jaco_model::DeploymentName;
use jaco_model::entity::Scope;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// Who may ask, and what each may know. A value: made anew, never changed.
#[derive(Debug)]
pub struct Zones {
    pub(crate) sources: BTreeMap<Ipv4Addr, Source>,
    /// Deployments whose name, as the last label, is never asked elsewhere.
    pub(crate) closed: BTreeSet<Key>,
    pub(crate) pool: Option<Ipv4Net>,
    pub(crate) ttl: u32,
    /// For SOA records.
    pub(crate) serial: u32,
}

/// A container of this node.
#[derive(Clone, Debug)]
pub struct Source {
    pub(crate) view: Arc<View>,
    forwarders: Option<Arc<[SocketAddr]>>,
}

impl Source {
    /// Who answers its questions about other names, unless the node's choice does.
    pub fn forwarders(&self) -> Option<&Arc<[SocketAddr]>> {
        self.forwarders.as_ref()
    }
}

impl Default for Zones {
    fn default() -> Zones {
        Zones::build(&Description::default(), 0)
    }
}

impl Zones {
    /// The tables for a description. `serial` goes into SOA records and should grow.
    pub fn build(description: &Description, serial: u32) -> Zones {
        let mut views: BTreeMap<(&DeploymentName, BTreeSet<&Scope>), Arc<View>> = BTreeMap::new();
        let mut lists: BTreeMap<&[SocketAddr], Arc<[SocketAddr]>> = BTreeMap::new();
        let mut sources = BTreeMap::new();
        let by_scope = ByScope::of(description);
        let may_ask = |container: &&ContainerEntry| container.is_local && !container.is_lodger;
        for container in description.containers.iter().filter(may_ask) {
            let addresses = addresses(container);
            if addresses.is_empty() {
                continue;
            }
            let scopes: BTreeSet<&Scope> = container.networks.keys().collect();
            let view = views
                .entry((&container.deployment, scopes.clone()))
                .or_insert_with(|| Arc::new(by_scope.view(&container.deployment, &scopes)));
            let forwarders = (!container.forwarders.is_empty()).then(|| {
                let list = lists.entry(&container.forwarders);
                list.or_insert_with(|| Arc::from(container.forwarders.as_slice())).clone()
            });
            for address in addresses {
                let source = Source { view: view.clone(), forwarders: forwarders.clone() };
                sources.insert(address, source);
            }
        }
        let names = description.deployments.iter();
        let closed = names.filter(|name| !is_top_level(name.as_str()));
        let closed = closed.filter_map(|name| key(name.as_str())).collect();
        Zones { sources, closed, pool: description.pool, ttl: description.ttl.min(5), serial }
    }

    /// The container that has an address on this node.
    pub fn source(&self, address: Ipv4Addr) -> Option<&Source> {
        self.sources.get(&address)
    }

    /// Whether an address belongs to containers of the cluster.
    pub fn is_pool(&self, address: Ipv4Addr) -> bool {
        self.pool.is_some_and(|pool| pool.contains(&address))
    }

    /// How many addresses may ask.
    pub fn sources_len(&self) -> usize {
        self.sources.len()
    }
}

fn addresses(container: &ContainerEntry) -> Vec<Ipv4Addr> {
    container.networks.values().filter_map(|attachment| attachment.address).collect()
}

/// Where in a description the services and containers of each network are.
struct ByScope<'d> {
    description: &'d Description,
    services: BTreeMap<&'d Scope, Vec<usize>>,
    containers: BTreeMap<&'d Scope, Vec<usize>>,
}

impl<'d> ByScope<'d> {
    fn of(description: &'d Description) -> ByScope<'d> {
        let mut services: BTreeMap<&Scope, Vec<usize>> = BTreeMap::new();
        for (at, service) in description.services.iter().enumerate() {
            for scope in service.networks.keys() {
                services.entry(scope).or_default().push(at);
            }
        }
        let mut containers: BTreeMap<&Scope, Vec<usize>> = BTreeMap::new();
        for (at, container) in description.containers.iter().enumerate() {
            for scope in container.networks.keys() {
                containers.entry(scope).or_default().push(at);
            }
        }
        ByScope { description, services, containers }
    }

    fn view(&self, deployment: &DeploymentName, scopes: &BTreeSet<&Scope>) -> View {
        let find = |index: &BTreeMap<&Scope, Vec<usize>>| -> BTreeSet<usize> {
            scopes.iter().filter_map(|scope| index.get(*scope)).flatten().copied().collect()
        };
        let services = find(&self.services).into_iter();
        let containers = find(&self.containers).into_iter();
        View::build(
            deployment,
            scopes,
            services.map(|at| &self.description.services[at]),
            containers.map(|at| &self.description.containers[at]),
        )
    }
}
