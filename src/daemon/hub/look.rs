//! What this node sees of its own network and of a container, read now and not from memory where
//! the kernel or the engine can be asked.

use super::Hub;
use jaco_dns_core::Told as Said;
use jaco_firewall_core::Ruleset;
use jaco_ingress_core::{ListenKey, ListenKind, SocketFault};
use jaco_netmesh_core::{Installed, MeshView, PublicKey, Route};
use jaco_runtime::DriverHandle;
use jaco_why::{
    Bridge, Container, Door, Facts, Filter, Look, Mesh, Names, Peer, Table, Told, Upstream,
};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;

/// What is read beside the state.
struct Sources {
    netmesh: Option<jaco_netmesh::DriverHandle>,
    dns: Option<jaco_dns::DriverHandle>,
    engine: DriverHandle,
    ingress: Option<jaco_ingress::DriverHandle>,
    closed: BTreeMap<ListenKey, SocketFault>,
    orders: Option<bool>,
    mesh: MeshView,
    /// Why the filter is not known to work.
    fault: Option<String>,
    /// Key of the node at the other end of the mesh.
    peer: Option<PublicKey>,
}

impl Hub {
    /// Looks. What it needs of the main thread it takes at once.
    pub(crate) fn look(&self, look: Look) -> impl Future<Output = Facts> + 'static {
        let inner = self.inner.borrow();
        let state = inner.member.state();
        let peer = look.peer.as_ref().and_then(|node| state.nodes.get(node));
        let peer = peer.and_then(|node| node.facts.mesh.as_ref()?.public_key.parse().ok());
        let fault = match inner.member.filter() {
            Some(Ok(())) => None,
            Some(Err(fault)) => Some(fault.message.clone()),
            None => Some("the packet filter was not written yet".to_owned()),
        };
        let sources = Sources {
            netmesh: inner.overlay.netmesh.clone(),
            dns: inner.overlay.dns.clone(),
            engine: inner.engine.clone(),
            ingress: inner.overlay.ingress.clone(),
            closed: inner.boards.closed.borrow().clone(),
            orders: inner.overlay.orders,
            mesh: inner.boards.mesh.borrow().clone(),
            fault,
            peer,
        };
        let facts = Facts {
            index: state.applied_index,
            suspects: inner.boards.suspects.borrow().clone(),
            ..Facts::default()
        };
        async move {
            let (filter, mesh, bridges, container) = tokio::join!(
                filter(&look, sources.fault.clone()),
                mesh(&look, &sources),
                bridges(&look.bridges),
                container(&look, &sources.engine),
            );
            let names = names(&look, sources.dns.as_ref());
            let door = look.host.as_deref().map(|host| door(host, &sources));
            Facts { filter, mesh, bridges, names, container, door, ..facts }
        }
    }
}

async fn filter(look: &Look, fault: Option<String>) -> Filter {
    let read = tokio::task::spawn_blocking(jaco_firewall::read_table).await;
    let found = match read {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) => Err(crate::daemon::logging::chain(&error)),
        Err(error) => Err(error.to_string()),
    };
    let unread = found.as_ref().err().cloned();
    Filter { fault, unread, table: found.ok().flatten().map(|found| table(look, &found)) }
}

fn table(look: &Look, found: &Ruleset) -> Table {
    let ends = look.flows.iter().flat_map(|flow| [flow.from, flow.to]);
    Table {
        rules: found.rule_count(),
        allowed: look.flows.iter().map(|flow| found.allows(flow.from, flow.to)).collect(),
        fenced: ends.filter(|address| found.fences(*address)).collect(),
    }
}

async fn mesh(look: &Look, sources: &Sources) -> Mesh {
    let Some(driver) = &sources.netmesh else {
        return Mesh { fault: sources.mesh.fault.clone(), ..Mesh::default() };
    };
    let (installed, unread) = match driver.look().await {
        Ok(installed) => (installed, None),
        Err(error) => (Installed::default(), Some(crate::daemon::logging::chain(&error))),
    };
    let paths = sources.mesh.paths.iter();
    Mesh {
        kind: driver.kind().as_str().to_owned(),
        fault: sources.mesh.fault.clone(),
        unread,
        is_up: installed.device.is_some_and(|device| device.is_up),
        mtu: installed.device.map_or(0, |device| device.mtu),
        has_route: installed.routes.iter().any(|route| matches!(route, Route::Tunnel { .. })),
        paths: paths.map(|path| (path.node.clone(), path.condition.as_str().to_owned())).collect(),
        peer: sources.peer.and_then(|key| peer(look, &installed, key)),
    }
}

fn peer(look: &Look, installed: &Installed, key: PublicKey) -> Option<Peer> {
    let found = installed.peers.get(&key)?;
    let carries = look.flows.iter().map(|flow| {
        found.allowed.iter().any(|net| net.contains(&flow.from) || net.contains(&flow.to))
    });
    Some(Peer {
        endpoint: found.endpoint,
        handshake_seconds: found.handshake_age.map(|age| age.as_secs()),
        carries: carries.collect(),
    })
}

async fn bridges(wanted: &BTreeSet<String>) -> BTreeMap<String, Bridge> {
    let mut found = BTreeMap::new();
    for name in wanted {
        if let Ok(Some(link)) = jaco_netmesh::link(name).await {
            found.insert(name.clone(), Bridge { is_up: link.is_up, mtu: link.mtu });
        }
    }
    found
}

async fn container(look: &Look, driver: &DriverHandle) -> Option<Container> {
    let name = look.container.as_ref()?;
    let pull = name.parse().ok().and_then(|instance| driver.pulls().progress(&instance));
    let pull = pull.map(|far| format!("{}/{} layers", far.layers_done, far.layers_total));
    let Some(engine) = driver.engine() else {
        let unread = Some("the Docker Engine does not answer".to_owned());
        return Some(Container { unread, state: None, pull });
    };
    Some(match engine.container_state(name).await {
        Ok(state) => Container { unread: None, state, pull },
        Err(fault) => Container { unread: Some(fault.reason), state: None, pull },
    })
}

fn names(look: &Look, dns: Option<&jaco_dns::DriverHandle>) -> Names {
    let Some(dns) = dns else { return Names::default() };
    let told = look.ask.as_ref().map(|ask| told(dns, dns.tell(ask.source, &ask.name)));
    Names { is_there: true, listening: dns.listening().as_ref().clone(), told }
}

fn door(host: &str, sources: &Sources) -> Door {
    let orders = sources.orders;
    let Some(driver) = &sources.ingress else { return Door { orders, ..Door::default() } };
    let open = |kind| {
        let all = driver.open().into_iter().filter(move |key| key.kind == kind);
        all.map(|key| key.address.to_string()).collect()
    };
    let (table, closed) = (driver.table(), sources.closed.iter());
    let site = driver.site(host);
    let targets = site.iter().flat_map(|site| &site.routes);
    let upstreams = targets.filter_map(|route| {
        let key = (route.deployment.clone(), route.spec.target.as_ref()?.service.clone());
        let chosen = table.services.get(&key).map_or(0, |service| service.endpoints.len());
        Some((format!("{}/{}", key.0, key.1), chosen))
    });
    Door {
        http: open(ListenKind::Http),
        https: open(ListenKind::Https),
        closed: closed.map(|(key, fault)| (key.to_string(), fault.why.clone())).collect(),
        knows_host: site.is_some(),
        has_certificate: site.as_ref().is_some_and(|site| site.certificate.is_some()),
        upstreams: upstreams.collect(),
        orders,
    }
}

fn told(dns: &jaco_dns::DriverHandle, said: Said) -> Told {
    match said {
        Said::NoName => Told::NoName,
        Said::Stranger => Told::Stranger,
        Said::Addresses(addresses) => Told::Addresses(addresses),
        Said::Services(targets) => Told::Services(targets),
        Said::Pointer(name) => Told::Pointer(name),
        Said::Empty => Told::Empty,
        Said::Missing => Told::Missing,
        Said::Refused => Told::Refused,
        Said::Forward(own) => {
            let known = dns.upstreams();
            let failing = |address| {
                known.iter().any(|one| one.address == address && (one.is_failing || one.is_loop))
            };
            let list: Vec<_> = match own {
                Some(list) => list.to_vec(),
                None => known.iter().map(|one| one.address).collect(),
            };
            let upstream = |address| Upstream { address, is_failing: failing(address) };
            Told::Forward(list.into_iter().map(upstream).collect())
        }
    }
}
