//! Everything that the proxy counts, read at once for whoever shows it.

use super::counters::Counts;
use super::driver::Shared;
use super::meter::RequestCounts;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Reads what a proxy counts. It does not keep the proxy alive.
#[derive(Clone)]
pub struct Meters(pub(super) Arc<Shared>);

impl fmt::Debug for Meters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meters").finish_non_exhaustive()
    }
}

/// What was counted since the start.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// Of the whole proxy.
    pub counts: Counts,
    /// Of each route that was asked for.
    pub routes: Vec<RouteReading>,
    /// Of requests for hosts and paths without a route.
    pub strangers: RequestCounts,
    /// Answers of the proxy itself with status 400 or more, by reason.
    pub rejected: BTreeMap<&'static str, u64>,
    /// Lines of requests that were not written: too many in a second, or the disk was too slow.
    pub unlogged: u64,
    /// Of each service that a route or a port leads to: the replicas that may take requests, and
    /// those that are meant to, by `<dep>/<service>`.
    pub upstreams: BTreeMap<String, (u64, u64)>,
}

/// What was counted of one route.
#[derive(Clone, Debug, Default)]
pub struct RouteReading {
    /// Domain of the route.
    pub domain: String,
    /// `<dep>/<service>`, or the deployment for a route that the proxy answers by itself.
    pub service: String,
    /// Requests.
    pub requests: RequestCounts,
}

impl Meters {
    /// Reads them.
    pub fn read(&self) -> Reading {
        let shared = &self.0;
        let table = shared.table.load_full();
        let routes = shared.loads.meters().into_iter().filter_map(|((domain, path), meter)| {
            let route = table.route(&domain, &path)?;
            let service = match &route.spec.target {
                Some(target) => format!("{}/{}", route.deployment, target.service),
                None => route.deployment.to_string(),
            };
            Some(RouteReading { domain, service, requests: meter.requests.read() })
        });
        let upstreams = table.services.values().map(|service| {
            let name = format!("{}/{}", service.deployment, service.name);
            (name, (service.endpoints.len() as u64, u64::from(service.wanted)))
        });
        Reading {
            counts: shared.counters.counts(),
            routes: routes.collect(),
            strangers: shared.strangers.read(),
            rejected: shared.rejections.read(),
            unlogged: shared.access.skipped(),
            upstreams: upstreams.collect(),
        }
    }
}
