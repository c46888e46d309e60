//! Which replica takes a request.

use super::loads::{Load, Loads};
use jaco_ingress_core::{Endpoint, Service};
use jaco_kit_core::Mono;
use jaco_model::spec::{LbPolicy, LoadBalancing};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// What the choice hangs on besides the replicas.
pub(super) struct Choice<'a> {
    pub(super) lb: &'a LoadBalancing,
    pub(super) port: u16,
    pub(super) most: Option<u32>,
    /// The client's address or the value of the header.
    pub(super) affinity: &'a str,
    /// The sticky one.
    pub(super) wanted: Option<Ipv4Addr>,
    pub(super) tried: &'a [Ipv4Addr],
    pub(super) now: Mono,
    pub(super) random: u64,
    /// Counts the requests of a worker.
    pub(super) turn: u64,
}

/// One replica, and how busy it is.
pub(super) struct Picked {
    pub(super) address: SocketAddr,
    pub(super) load: Arc<Load>,
}

/// `None` when no replica may take a request.
pub(super) fn pick(service: &Service, loads: &Loads, choice: &Choice<'_>) -> Option<Picked> {
    let mut all: Vec<(&Endpoint, Arc<Load>)> = service
        .endpoints
        .iter()
        .map(|endpoint| (endpoint, loads.get((endpoint.address, choice.port).into())))
        .collect();
    let total = all.len();
    let resting = all.iter().filter(|(_, load)| load.rests(choice.now)).count();
    // More than half of them rest: rather ask those than burden few with all.
    if resting * 2 <= total {
        all.retain(|(_, load)| !load.rests(choice.now));
    }
    all.retain(|(_, load)| choice.most.is_none_or(|most| load.running() < most));
    if all.iter().any(|(endpoint, _)| !choice.tried.contains(&endpoint.address)) {
        all.retain(|(endpoint, _)| !choice.tried.contains(&endpoint.address));
    }
    if let Some(wanted) = choice.wanted
        && let Some(at) = all.iter().position(|(endpoint, _)| endpoint.address == wanted)
    {
        return Some(picked(all.swap_remove(at), choice.port));
    }
    if choice.lb.prefer_local && all.iter().any(|(endpoint, _)| endpoint.is_local) {
        all.retain(|(endpoint, _)| endpoint.is_local);
    }
    if all.is_empty() {
        return None;
    }
    let at = by_policy(&all, choice);
    Some(picked(all.swap_remove(at), choice.port))
}

fn picked((endpoint, load): (&Endpoint, Arc<Load>), port: u16) -> Picked {
    Picked { address: (endpoint.address, port).into(), load }
}

fn by_policy(all: &[(&Endpoint, Arc<Load>)], choice: &Choice<'_>) -> usize {
    let count = all.len() as u64;
    let index = |number: u64| usize::try_from(number % count).unwrap_or_default();
    match &choice.lb.policy {
        LbPolicy::Random => index(choice.random),
        LbPolicy::RoundRobin => index(choice.turn),
        LbPolicy::LeastRequests => {
            let (one, other) = (index(choice.random), index(choice.random >> 32));
            if all[other].1.running() < all[one].1.running() { other } else { one }
        }
        LbPolicy::IpHash | LbPolicy::HeaderHash(_) => {
            // The highest score wins: a replica that goes moves only its own clients.
            let score = |endpoint: &Endpoint| {
                let bytes = endpoint.address.octets();
                *blake3::Hasher::new()
                    .update(&bytes)
                    .update(choice.affinity.as_bytes())
                    .finalize()
                    .as_bytes()
            };
            (0..all.len()).max_by_key(|at| score(all[*at].0)).unwrap_or_default()
        }
    }
}
