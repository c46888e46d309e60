//! Tables for our proxy: one route, or as many as a large cluster has.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use jaco_ingress_core::{
    Endpoint, ListenKey, ListenKind, PortTarget, Route, ServedCertificate, Service, Site, Table,
    Terms,
};
use jaco_model::spec::{
    PortOptions, Protocol, Redirect, RouteOptions, RouteTarget, TlsMode, UpstreamProtocol,
};
use jaco_model::{
    DeploymentName, Generation, InstanceId, Millis, NodeId, ReplicaId, ServiceName, WallMs,
};

use super::peers::{ECHO, NAME, PATHS, Proxy, SERVICE, SOURCE, host_name, path_name};

/// A TCP port of ours.
pub(super) fn port(number: u16) -> ListenKey {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, number));
    ListenKey { kind: ListenKind::Port(Protocol::Tcp), address }
}

/// A table with so many routes, each host with a service of its own.
pub(super) fn table(routes: usize, certificate: &Arc<ServedCertificate>) -> Table {
    let mut table = Table::default();
    let mut sites = Vec::new();
    let options = Arc::new(plain());
    for host in 0..routes.div_ceil(PATHS) {
        let name = if host == 0 { NAME.to_owned() } else { host_name(host) };
        let service = ServiceName::new(format!("web-{host}"));
        let paths = (0..PATHS.min(routes))
            .map(|path| Arc::new(route(&name, path_name(path), &service, &options)));
        let site = Site {
            domain: name.clone(),
            owner: deployment(),
            tls: TlsMode::Auto,
            certificate: (host == 0).then(|| certificate.clone()),
            routes: paths.collect(),
        };
        sites.push(Arc::new(site));
        table.services.insert((deployment(), service.clone()), Arc::new(replicas(service)));
    }
    table.sites = sites.into_iter().collect();
    let service = ServiceName::new("web-0");
    for (here, there) in [(Proxy::Jaco.source(), SOURCE), (Proxy::Jaco.echo(), ECHO)] {
        let target = PortTarget {
            deployment: deployment(),
            service: service.clone(),
            port: there,
            options: PortOptions::default(),
        };
        table.ports.insert(port(here), Arc::new(target));
    }
    table
}

/// The same with another route at the first host: `/fresh-N`, which redirects.
pub(super) fn changed(table: &Table, fresh: u64) -> Table {
    let mut changed = table.clone();
    if let Some(site) = table.sites.get(NAME) {
        let mut now = Site::clone(site);
        let path = format!("/fresh-{fresh}");
        let redirect =
            Redirect { to: "/".to_owned(), status: 302, keep_path: false, keep_query: false };
        let options = Arc::new(RouteOptions { redirect: Some(redirect), ..plain() });
        let route = route(NAME, path, &ServiceName::new("web-0"), &options);
        now.routes.extend([Arc::new(route)]);
        changed.sites.extend([Arc::new(now)]);
    }
    changed
}

fn deployment() -> DeploymentName {
    DeploymentName::new("bench")
}

/// The same host is asked for with TLS and without.
fn plain() -> RouteOptions {
    RouteOptions { https_redirect: false, ..RouteOptions::default() }
}

fn route(domain: &str, path: String, service: &ServiceName, options: &Arc<RouteOptions>) -> Route {
    let target = RouteTarget {
        service: service.clone(),
        port: SERVICE,
        protocol: UpstreamProtocol::Http,
        verify: false,
    };
    let spec = Terms {
        domain: domain.to_owned(),
        path,
        target: Some(target),
        tls: TlsMode::Auto,
        options: options.clone(),
    };
    Route { deployment: deployment(), spec }
}

fn replicas(name: ServiceName) -> Service {
    let replica = ReplicaId::new(format!("bench-{}-0", name.as_str()));
    let endpoint = Endpoint {
        instance: InstanceId { replica, generation: Generation(1) },
        address: Ipv4Addr::LOCALHOST,
        node: NodeId::new("n1"),
        is_local: true,
        ready_since: WallMs(0),
    };
    Service {
        deployment: deployment(),
        name,
        endpoints: vec![endpoint],
        wanted: 1,
        drain_timeout: Millis::secs(30),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_as_many_routes_as_asked() {
        let certificate = ServedCertificate { chain_pem: String::new(), key_pem: String::new() };
        let certificate = Arc::new(certificate);
        let count = |table: &Table| table.sites.iter().map(|site| site.routes.len()).sum::<usize>();
        assert_eq!(count(&table(1, &certificate)), 1);
        let many = table(10_000, &certificate);
        assert_eq!((count(&many), many.sites.len()), (10_000, 1_000));
        assert_eq!(count(&changed(&many, 7)), 10_001);
    }
}
