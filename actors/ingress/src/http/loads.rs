//! What the threads know of routes and replicas while they serve.
//!
//! Counters are shared by all threads and found under a lock, once for each change of a route or
//! its replicas; each thread keeps what it found, so that requests take no lock.

use super::driver::Shared;
use super::line::Line;
use super::meter::Requests;
use jaco_ingress_core::request::{Buckets, Budget, Load, sticky};
use jaco_ingress_core::{Endpoint, Route, Service, Table};
use jaco_kit_core::Mono;
use jaco_kit_core::mix::{fnv, mix};
use jaco_model::{DeploymentName, InstanceId, ServiceName};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Counts of one route.
#[derive(Debug, Default)]
pub(super) struct Meter {
    pub(super) budget: Budget,
    pub(super) buckets: Mutex<Buckets>,
    pub(super) requests: Requests,
}

/// All counters of a node.
#[derive(Debug, Default)]
pub(super) struct Loads {
    /// By replica and port.
    loads: Mutex<BTreeMap<(InstanceId, u16), Arc<Load>>>,
    /// By service and port.
    lines: Mutex<BTreeMap<(DeploymentName, ServiceName, u16), Arc<Line>>>,
    /// By domain and path.
    meters: Mutex<BTreeMap<(String, String), Arc<Meter>>>,
}

impl Loads {
    fn of(&self, service: &Service, port: u16, now: Mono) -> Vec<Arc<Load>> {
        let mut loads = self.loads.lock().unwrap_or_else(PoisonError::into_inner);
        let endpoints = service.endpoints.iter();
        let mut load = |endpoint: &Endpoint| {
            let key = (endpoint.instance.clone(), port);
            loads.entry(key).or_insert_with(|| Arc::new(Load::new(endpoint.address, now))).clone()
        };
        endpoints.map(&mut load).collect()
    }

    fn line(&self, service: &Service, port: u16) -> Arc<Line> {
        let key = (service.deployment.clone(), service.name.clone(), port);
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.entry(key).or_default().clone()
    }

    /// The counters of all routes that were asked for.
    pub(super) fn meters(&self) -> BTreeMap<(String, String), Arc<Meter>> {
        self.meters.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn meter(&self, route: &Route) -> Arc<Meter> {
        let key = (route.spec.domain.clone(), route.spec.path.clone());
        let mut meters = self.meters.lock().unwrap_or_else(PoisonError::into_inner);
        meters.entry(key).or_default().clone()
    }

    /// Forgets what is in the table no more, but for replicas with running requests.
    pub(super) fn keep(&self, table: &Table) {
        let endpoints = table.services.values().flat_map(|service| &service.endpoints);
        let known: BTreeSet<&InstanceId> = endpoints.map(|endpoint| &endpoint.instance).collect();
        let mut loads = self.loads.lock().unwrap_or_else(PoisonError::into_inner);
        loads.retain(|(instance, _), load| load.running() > 0 || known.contains(instance));
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.retain(|(deployment, name, _), _| table.service(deployment, name).is_some());
        let mut meters = self.meters.lock().unwrap_or_else(PoisonError::into_inner);
        meters.retain(|(domain, path), _| table.route(domain, path).is_some());
    }
}

/// A running request; it counts until it is dropped.
#[derive(Debug)]
pub(super) struct Running {
    load: Arc<Load>,
    line: Arc<Line>,
}

impl Running {
    /// `None` when the replica has as many already.
    pub(super) fn begin(crew: &Crew, at: usize, most: Option<u32>) -> Option<Running> {
        let load = crew.loads.get(at)?;
        load.begin(most).then(|| Running { load: load.clone(), line: crew.line.clone() })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.load.end();
        self.line.move_up();
    }
}

/// The replicas of a route, as long as they do not change.
#[derive(Debug)]
pub(super) struct Crew {
    service: Arc<Service>,
    /// In the order of the service's endpoints, as are the marks.
    pub(super) loads: Vec<Arc<Load>>,
    pub(super) line: Arc<Line>,
    /// What stands for each in cookies; empty when the route sets none.
    pub(super) marks: Vec<String>,
}

impl Crew {
    pub(super) fn endpoints(&self) -> &[Endpoint] {
        &self.service.endpoints
    }

    /// Where the replica of this index is.
    pub(super) fn address(&self, at: usize, port: u16) -> SocketAddr {
        let endpoint = self.service.endpoints.get(at);
        (endpoint.map_or(Ipv4Addr::UNSPECIFIED, |endpoint| endpoint.address), port).into()
    }
}

/// One route as one thread knows it.
#[derive(Debug)]
pub(super) struct Known {
    route: Arc<Route>,
    pub(super) meter: Arc<Meter>,
    turn: Cell<u64>,
    crew: RefCell<Option<Seen>>,
}

/// The replicas of a route in one table.
#[derive(Debug)]
struct Seen {
    /// Whoever holds it keeps its address from being another's.
    table: Weak<Table>,
    crew: Rc<Crew>,
}

impl Known {
    /// Counts the route's requests.
    pub(super) fn turn(&self) -> u64 {
        self.turn.replace(self.turn.get().wrapping_add(1))
    }

    /// The replicas that a table has for the route's target.
    pub(super) fn crew(&self, table: &Arc<Table>, shared: &Shared) -> Option<Rc<Crew>> {
        let mut seen = self.crew.borrow_mut();
        let before = seen.as_ref();
        if let Some(same) = before.filter(|seen| seen.table.as_ptr() == Arc::as_ptr(table)) {
            return Some(same.crew.clone());
        }
        let target = self.route.spec.target.as_ref()?;
        let service = table.service(&self.route.deployment, &target.service)?;
        let crew = match before.filter(|seen| Arc::ptr_eq(&seen.crew.service, service)) {
            Some(same) => same.crew.clone(),
            None => Rc::new(self.assemble(service, target.port, shared)),
        };
        seen.replace(Seen { table: Arc::downgrade(table), crew: crew.clone() });
        Some(crew)
    }

    fn assemble(&self, service: &Arc<Service>, port: u16, shared: &Shared) -> Crew {
        let (config, loads) = (&shared.config, &shared.loads);
        let instances = service.endpoints.iter().map(|endpoint| &endpoint.instance);
        let is_sticky = self.route.spec.options.sticky.is_some();
        let marks = instances.filter(|_| is_sticky).map(|it| sticky::mark(&config.cookie_key, it));
        Crew {
            service: service.clone(),
            loads: loads.of(service, port, config.clock.mono()),
            line: loads.line(service, port),
            marks: marks.collect(),
        }
    }
}

/// What one thread knows.
#[derive(Debug, Default)]
pub(super) struct Routes(RefCell<HashMap<usize, Rc<Known>, BuildHasherDefault<Address>>>);

/// Spreads addresses. Nobody chooses them who would want them to collide.
#[derive(Debug, Default)]
struct Address(u64);

impl Hasher for Address {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = mix(self.0 ^ fnv(bytes.iter().copied(), 0));
    }

    fn write_usize(&mut self, number: usize) {
        self.0 = mix(self.0 ^ number as u64);
    }
}

impl Routes {
    /// `turn` tells where a route that is new begins to count.
    pub(super) fn get(
        &self,
        route: &Arc<Route>,
        loads: &Loads,
        turn: impl FnOnce() -> u64,
    ) -> Rc<Known> {
        // Whoever holds the route keeps its address from being another's.
        let key = Arc::as_ptr(route).addr();
        let mut known = self.0.borrow_mut();
        let fresh = || {
            Rc::new(Known {
                route: route.clone(),
                meter: loads.meter(route),
                turn: Cell::new(turn()),
                crew: RefCell::default(),
            })
        };
        known.entry(key).or_insert_with(fresh).clone()
    }

    /// Forgets routes that are in the table no more.
    pub(super) fn keep(&self, table: &Table) {
        self.0.borrow_mut().retain(|_, known| {
            let spec = &known.route.spec;
            let now = table.route(&spec.domain, &spec.path);
            now.is_some_and(|route| Arc::ptr_eq(route, &known.route))
        });
    }
}
