//! From the replicated state to a [`Table`], with as much of the one before as still holds.
//!
//! What is equal keeps its `Arc`, so that two tables are compared by pointers, and a change of one
//! replica costs as much as its deployment has services, not as much as the cluster has routes.

use crate::endpoints::{Extra, service_of};
use crate::listeners::{ListenKey, ListenKind};
use crate::pem::split_pem;
use crate::table::{PortTarget, Route, ServedCertificate, Service, Site, Table};
use jaco_model::spec::{DeploymentSpec, PortMode, TlsMode};
use jaco_model::{DeploymentName, ServiceName};
use jaco_state::{RouteOf, State, owner_of, routed_specs};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

impl Table {
    /// What the state says now. `before` lends what has not changed.
    pub(crate) fn build(state: &State, extra: &Extra, before: &Table) -> Table {
        let mut table = Table {
            sites: sites(state, before),
            ports: ports(state, before),
            tokens: state
                .challenge_tokens
                .iter()
                .filter(|(_, token)| token.record.is_none())
                .map(|(key, token)| (key.clone(), token.key_authorisation.clone()))
                .collect(),
            services: BTreeMap::new(),
        };
        let routed = table.sites.values().flat_map(|site| site.routes.values());
        let mut led_to: BTreeSet<(DeploymentName, ServiceName)> = routed
            .filter_map(|route| {
                let target = route.spec.target.as_ref()?;
                Some((route.deployment.clone(), target.service.clone()))
            })
            .collect();
        led_to.extend(table.ports.values().map(|p| (p.deployment.clone(), p.service.clone())));
        for key in led_to {
            if let Some(service) = fresh(state, extra, before, &key) {
                table.services.insert(key, service);
            }
        }
        table
    }

    /// The same table with the replicas of some deployments looked at again.
    pub(crate) fn refreshed(
        &self,
        state: &State,
        extra: &Extra,
        touched: &BTreeSet<DeploymentName>,
    ) -> Table {
        let mut table = self.clone();
        for (key, service) in &mut table.services {
            if touched.contains(&key.0)
                && let Some(now) = fresh(state, extra, self, key)
            {
                *service = now;
            }
        }
        table
    }

    /// Whether both serve the same. Exact for tables of which one was built from the other.
    pub(crate) fn is_same(&self, other: &Table) -> bool {
        same(&self.sites, &other.sites)
            && same(&self.services, &other.services)
            && same(&self.ports, &other.ports)
            && self.tokens == other.tokens
    }
}

fn same<K: Eq, V>(one: &BTreeMap<K, Arc<V>>, other: &BTreeMap<K, Arc<V>>) -> bool {
    let mut pairs = one.iter().zip(other);
    one.len() == other.len() && pairs.all(|(a, b)| Arc::ptr_eq(a.1, b.1) && a.0 == b.0)
}

/// The value before when it is equal.
fn reuse<V: PartialEq>(before: Option<&Arc<V>>, now: V) -> Arc<V> {
    before.filter(|before| ***before == now).map_or_else(|| Arc::new(now), Arc::clone)
}

fn fresh(
    state: &State,
    extra: &Extra,
    before: &Table,
    key: &(DeploymentName, ServiceName),
) -> Option<Arc<Service>> {
    let spec = &state.current(&key.0)?.spec;
    let now = service_of(state, extra, spec, spec.services.get(&key.1)?);
    Some(reuse(before.services.get(key), now))
}

fn sites(state: &State, before: &Table) -> BTreeMap<String, Arc<Site>> {
    let mut by_domain: BTreeMap<&str, Vec<RouteOf<'_>>> = BTreeMap::new();
    for spec in routed_specs(state) {
        for route in &spec.routes {
            by_domain.entry(&route.domain).or_default().push((spec, route));
        }
    }
    let site = |(domain, routes): (&str, Vec<_>)| {
        let before = before.sites.get(domain);
        let now = site_of(state, domain, &routes, before.map(AsRef::as_ref))?;
        Some((domain.to_owned(), reuse(before, now)))
    };
    by_domain.into_iter().filter_map(site).collect()
}

/// One domain: the routes of its owner, and of those it shares it with.
fn site_of(
    state: &State,
    domain: &str,
    routes: &[RouteOf<'_>],
    before: Option<&Site>,
) -> Option<Site> {
    let (owner, first) = owner_of(routes)?;
    let may_add = |name: &DeploymentName| {
        let mut own = routes.iter().filter(|(spec, _)| spec.name == owner.name);
        *name == owner.name || own.any(|(_, route)| route.shared_with.contains(name))
    };
    let mut served: BTreeMap<String, Arc<Route>> = BTreeMap::new();
    let (own, others): (Vec<_>, Vec<_>) = routes.iter().partition(|(s, _)| s.name == owner.name);
    for (spec, route) in own.into_iter().chain(others) {
        if served.contains_key(&route.path) || !may_add(&spec.name) {
            continue;
        }
        let kept = before.and_then(|site| site.routes.get(&route.path));
        let kept = kept.filter(|kept| kept.deployment == spec.name && kept.spec == *route);
        let made = || Arc::new(Route { deployment: spec.name.clone(), spec: (*route).clone() });
        served.insert(route.path.clone(), kept.map_or_else(made, Arc::clone));
    }
    let certificate = certificate_of(state, domain, owner, &first.tls);
    let kept = before.and_then(|site| site.certificate.as_ref());
    Some(Site {
        domain: domain.to_owned(),
        owner: owner.name.clone(),
        tls: first.tls.clone(),
        certificate: certificate.map(|now| reuse(kept, now)),
        routes: served,
    })
}

/// The certificate to serve.
fn certificate_of(
    state: &State,
    domain: &str,
    owner: &DeploymentSpec,
    tls: &TlsMode,
) -> Option<ServedCertificate> {
    match tls {
        TlsMode::Own(secret) => split_pem(owner.secrets.get(secret)?.reveal()),
        TlsMode::Auto => {
            let issued = state.certificates.get(domain)?.issued.as_ref()?;
            Some(ServedCertificate {
                chain_pem: issued.chain.clone(),
                key_pem: issued.key.reveal().to_owned(),
            })
        }
        TlsMode::Off => None,
    }
}

fn ports(state: &State, before: &Table) -> BTreeMap<ListenKey, Arc<PortTarget>> {
    let mut ports: BTreeMap<ListenKey, Arc<PortTarget>> = BTreeMap::new();
    for spec in routed_specs(state) {
        for service in spec.services.values() {
            for port in service.ports.iter().filter(|port| port.mode == PortMode::Ingress) {
                let Some(published) = port.published else { continue };
                let host = IpAddr::V4(port.host_ip.unwrap_or(Ipv4Addr::UNSPECIFIED));
                let address = SocketAddr::new(host, published);
                let key = ListenKey { kind: ListenKind::Port(port.protocol), address };
                let target = PortTarget {
                    deployment: spec.name.clone(),
                    service: service.name.clone(),
                    port: port.target,
                    options: port.options.clone(),
                };
                // Commands are refused that would publish a port twice.
                ports.entry(key).or_insert_with(|| reuse(before.ports.get(&key), target));
            }
        }
    }
    ports
}
