//! From the replicated state to a [`Table`], with as much of the one before as still holds.
//!
//! What is equal keeps its `Arc`, so that two tables are compared by pointers, and a change of one
//! replica costs as much as its deployment has services, not as much as the cluster has routes.

use crate::endpoints::{Extra, service_of};
use crate::listeners::{ListenKey, ListenKind};
use crate::names::Names;
use crate::pem::split_pem;
use crate::table::{PortTarget, Route, ServedCertificate, Service, Site, Table, TicketSecret};
use jaco_model::spec::{DeploymentSpec, PortMode, RouteOptions, TlsMode};
use jaco_model::{DeploymentName, ServiceName};
use jaco_state::{RouteOf, State, owner_of, routed_specs};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

const TICKETS: &str = "jaco 2026 secret of TLS session tickets";

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
            ticket_secret: ticket_secret(state),
        };
        let routed = table.sites.iter().flat_map(|site| &site.routes);
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
        let mut sites = self.sites.iter().zip(&other.sites);
        self.sites.len() == other.sites.len()
            && sites.all(|(one, other)| Arc::ptr_eq(one, other))
            && same(&self.services, &other.services)
            && same(&self.ports, &other.ports)
            && self.tokens == other.tokens
            && self.ticket_secret == other.ticket_secret
    }
}

/// Every member has the key of the cluster's root, and nobody else may.
fn ticket_secret(state: &State) -> Option<TicketSecret> {
    let trust = state.cluster.as_ref()?.trust.as_ref()?;
    Some(TicketSecret(blake3::derive_key(TICKETS, trust.key.as_bytes())))
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

fn sites(state: &State, before: &Table) -> Names<Arc<Site>> {
    let mut by_domain: BTreeMap<&str, Vec<RouteOf<'_>>> = BTreeMap::new();
    for spec in routed_specs(state) {
        for route in &spec.routes {
            by_domain.entry(&route.domain).or_default().push((spec, route));
        }
    }
    let mut options = Options::default();
    let site = |(domain, routes): (&str, Vec<_>)| {
        let before = before.sites.get(domain);
        let now = site_of(state, domain, &routes, before.map(AsRef::as_ref), &mut options)?;
        Some(reuse(before, now))
    };
    by_domain.into_iter().filter_map(site).collect()
}

/// One domain: the routes of its owner, and of those it shares it with.
fn site_of(
    state: &State,
    domain: &str,
    routes: &[RouteOf<'_>],
    before: Option<&Site>,
    options: &mut Options,
) -> Option<Site> {
    let (owner, first) = owner_of(routes)?;
    let may_add = |name: &DeploymentName| {
        let mut own = routes.iter().filter(|(spec, _)| spec.name == owner.name);
        *name == owner.name || own.any(|(_, route)| route.shared_with.contains(name))
    };
    let mut served: BTreeMap<&str, Arc<Route>> = BTreeMap::new();
    let (own, others): (Vec<_>, Vec<_>) = routes.iter().partition(|(s, _)| s.name == owner.name);
    for (spec, route) in own.into_iter().chain(others) {
        if served.contains_key(&*route.path) || !may_add(&spec.name) {
            continue;
        }
        let kept = before.and_then(|site| site.routes.get(&route.path));
        let route_now = match kept.filter(|kept| kept.is_of(&spec.name, route)) {
            Some(kept) => {
                options.note(&kept.spec.options);
                kept.clone()
            }
            None => {
                let options = options.shared(&route.options);
                Arc::new(Route::new(spec.name.clone(), route, options))
            }
        };
        served.insert(&route.path, route_now);
    }
    let certificate = certificate_of(state, domain, owner, &first.tls);
    let kept = before.and_then(|site| site.certificate.as_ref());
    Some(Site {
        domain: domain.to_owned(),
        owner: owner.name.clone(),
        tls: first.tls.clone(),
        certificate: certificate.map(|now| reuse(kept, now)),
        routes: served.into_values().collect(),
    })
}

/// Options that routes have in common.
#[derive(Debug, Default)]
struct Options(VecDeque<Arc<RouteOptions>>);

/// So many different ones are remembered, those met last.
const OPTIONS: usize = 8;

impl Options {
    /// Options that others may share from now on.
    fn note(&mut self, met: &Arc<RouteOptions>) {
        if self.0.iter().any(|known| Arc::ptr_eq(known, met)) {
            return;
        }
        self.0.truncate(OPTIONS - 1);
        self.0.push_front(met.clone());
    }

    /// Equal ones that were met before, else a copy.
    fn shared(&mut self, wanted: &RouteOptions) -> Arc<RouteOptions> {
        let known = self.0.iter().find(|known| ***known == *wanted);
        let shared = known.map_or_else(|| Arc::new(wanted.clone()), Arc::clone);
        self.note(&shared);
        shared
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_share_equal_options_also_with_those_that_are_kept() {
        let with = |limit| RouteOptions { body_limit: limit, ..RouteOptions::default() };
        let kept = Arc::new(with(Some(1)));
        let mut options = Options::default();
        options.note(&kept);
        assert!(Arc::ptr_eq(&options.shared(&with(Some(1))), &kept));
        let plain = options.shared(&with(None));
        for limit in 1..OPTIONS as u64 {
            assert_eq!(options.shared(&with(Some(limit))).body_limit, Some(limit));
            assert!(Arc::ptr_eq(&options.shared(&with(None)), &plain), "{limit}");
        }
        for limit in 0..OPTIONS as u64 {
            options.shared(&with(Some(100 + limit)));
        }
        assert_eq!(options.0.len(), OPTIONS);
        assert!(!Arc::ptr_eq(&options.shared(&with(None)), &plain), "forgotten for others");
    }
}
