//! Replicas and routes to decide about.

use jaco_ingress_core::request::{Choice, Load};
use jaco_ingress_core::{Endpoint, Route};
use jaco_kit_core::Mono;
use jaco_model::spec::{Challenge, LbPolicy, LoadBalancing, RouteOptions, RouteSpec, TlsMode};
use jaco_model::{DeploymentName, NodeId, WallMs};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

/// Long after every replica was new.
pub(crate) const NOW: Mono = Mono(1_000_000);

pub(crate) fn address(n: usize) -> Ipv4Addr {
    Ipv4Addr::from(0x0a50_0000 + u32::try_from(n).expect("few"))
}

/// Replicas of this and of other nodes.
pub(crate) fn endpoints(locals: &[bool]) -> Vec<Endpoint> {
    let endpoint = |(n, is_local): (usize, &bool)| Endpoint {
        instance: format!("shop-web-{n}.g1").parse().expect("an instance"),
        address: address(n),
        node: NodeId::new("n1"),
        is_local: *is_local,
        ready_since: WallMs(0),
    };
    locals.iter().enumerate().map(endpoint).collect()
}

pub(crate) fn loads(count: usize) -> Vec<Load> {
    (0..count).map(|n| Load::new(address(n), Mono(0))).collect()
}

/// Lets one rest from now on.
pub(crate) fn tire(load: &Load) {
    for _ in 0..3 {
        load.failed(NOW);
    }
}

pub(crate) fn balancing(policy: LbPolicy) -> LoadBalancing {
    LoadBalancing { policy, ..LoadBalancing::default() }
}

pub(crate) fn choice(lb: &LoadBalancing, number: u64) -> Choice<'_> {
    Choice {
        lb,
        most: None,
        affinity: number,
        wanted: None,
        tried: &[],
        now: NOW,
        random: number.wrapping_mul(0x9e37_79b9_7f4a_7c15),
        turn: number,
    }
}

pub(crate) fn later(secs: u64) -> Mono {
    NOW.plus(Duration::from_secs(secs))
}

pub(crate) fn route(domain: &str, path: &str) -> Route {
    let spec = RouteSpec {
        domain: domain.to_owned(),
        path: path.to_owned(),
        target: None,
        tls: TlsMode::Off,
        challenge: Challenge::Http,
        shared_with: BTreeSet::new(),
        options: RouteOptions::default(),
    };
    Route::new(DeploymentName::new("shop"), &spec, Arc::default())
}
