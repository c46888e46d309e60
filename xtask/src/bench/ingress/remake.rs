//! From a changed state to a new table: the part of a change that the front door's core has.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use jaco_ingress_core::{Effect, IngressCore, Input, Settings};
use jaco_kit_core::{Core, Now};
use jaco_model::entity::{Deployment, Documents, Origin, RevisionRecord, RevisionStatus};
use jaco_model::spec::{
    Challenge, DeploymentSpec, RouteOptions, RouteSpec, RouteTarget, TlsMode, UpstreamProtocol,
};
use jaco_model::{DeploymentName, Identity, Millis, NodeId, Revision, ServiceName, WallMs};
use jaco_state::State;

use super::Effort;
use super::peers::{PATHS, SERVICE, host_name, path_name};
use super::requests::MANY;
use crate::bench::measure::{median, ms, stopwatch};
use crate::bench::{Figure, Goal, Sink};

/// Hosts of each deployment.
const HOSTS: usize = 10;
/// Changes in each round.
const TIMES: usize = 10;

/// One route more among as many as a large cluster has. The replicas behind them are not there.
pub(super) fn measure(effort: Effort, sink: &mut Sink) -> Result<()> {
    let me = NodeId::new("n1");
    let settings = Settings { me, http: vec![], https: vec![], retry: Millis::secs(1).std() };
    let mut core = IngressCore::new(settings);
    let mut state = State::default();
    for number in 0..MANY / PATHS / HOSTS {
        put(&mut state, number, 0);
    }
    ensure!(serves(&mut core, &state)?.1 == MANY, "not all routes are served");
    let mut took = Vec::new();
    for fresh in 1..=effort.rounds * TIMES {
        put(&mut state, 0, fresh);
        let (time, routes) = serves(&mut core, &state)?;
        ensure!(routes == MANY + 1, "the new route is not served");
        took.push(time);
    }
    sink.put(&Figure {
        name: "from a changed state to a table of 10,000 routes".into(),
        value: median(&mut took),
        unit: "ms",
        peer: None,
        goal: Goal::Most(50.0),
    })
}

/// How long a new table takes, in milliseconds, and how many routes it has.
fn serves(core: &mut IngressCore, state: &State) -> Result<(f64, usize)> {
    let state = Arc::new(state.clone());
    let clock = stopwatch();
    let effects = core.step(Now::default(), Input::StateChanged(state));
    let took = ms(clock());
    let table = effects.iter().find_map(|effect| match effect {
        Effect::Serve(table) => Some(table),
        _ => None,
    });
    let table = table.context("there is no new table")?;
    Ok((took, table.sites.iter().map(|site| site.routes.len()).sum()))
}

/// A deployment with its hosts, and `/fresh-N` at the first one when that is not zero.
fn put(state: &mut State, number: usize, fresh: usize) {
    let name = DeploymentName::new(format!("bench-{number}"));
    let hosts = (number * HOSTS..(number + 1) * HOSTS).map(host_name);
    let mut routes: Vec<RouteSpec> = hosts
        .flat_map(|host| (0..PATHS).map(move |path| route(host.clone(), path_name(path))))
        .collect();
    if fresh > 0 {
        routes.push(route(host_name(number * HOSTS), format!("/fresh-{fresh}")));
    }
    let spec = DeploymentSpec {
        name: name.clone(),
        services: BTreeMap::new(),
        networks: BTreeMap::new(),
        volumes: BTreeMap::new(),
        history: None,
        routes,
        acme_email: None,
        acme_dns: BTreeMap::new(),
        secrets: BTreeMap::new(),
    };
    let record = RevisionRecord {
        number: Revision(1),
        spec: Arc::new(spec),
        documents: Arc::new(Documents::default()),
        images: BTreeMap::new(),
        hashes: BTreeMap::new(),
        applied_at: WallMs(0),
        identity: Identity::new("local"),
        status: RevisionStatus::Active,
        restored_from: None,
        summary: String::new(),
    };
    let deployment = Deployment {
        name: name.clone(),
        revision: record.number,
        previous: None,
        scale: BTreeMap::new(),
        deleting: None,
        origin: Origin::default(),
        updated_at: WallMs(0),
    };
    state.revisions.insert((name.clone(), record.number), Arc::new(record));
    state.deployments.insert(name, Arc::new(deployment));
}

fn route(domain: String, path: String) -> RouteSpec {
    let target = RouteTarget {
        service: ServiceName::new("web"),
        port: SERVICE,
        protocol: UpstreamProtocol::Http,
        verify: false,
    };
    RouteSpec {
        domain,
        path,
        target: Some(target),
        tls: TlsMode::Auto,
        challenge: Challenge::Http,
        shared_with: BTreeSet::new(),
        options: RouteOptions::default(),
    }
}
