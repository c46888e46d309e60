//! Host ports: reserved ones, and two publishers of one.

use super::cx::{Cx, Place, Spot};
use super::service::Draft;
use super::service_index::Services;
use crate::Problem;
use jaco_model::ErrorCode;
use jaco_model::spec::{NetworkMode, PortMode, PortSpec, Protocol};

/// Ingress, API, peers and WireGuard.
const RESERVED: [u16; 5] = [80, 443, 7000, 7001, 51820];

struct Claim<'d> {
    draft: &'d Draft,
    spot: &'d Spot<PortSpec>,
    port: u16,
}

/// Checks the host ports of all enabled services.
pub(super) fn check(cx: &mut Cx, services: &Services<'_>) {
    let claims: Vec<Claim<'_>> = services.iter().flat_map(claims_of).collect();
    for claim in claims.iter().filter(|claim| is_reserved(claim)) {
        cx.push(reserved(claim));
    }
    let mut by_port: Vec<&Claim<'_>> = claims.iter().collect();
    by_port.sort_by_key(|claim| (claim.port, claim.spot.value.protocol));
    for same in
        by_port.chunk_by(|a, b| a.port == b.port && a.spot.value.protocol == b.spot.value.protocol)
    {
        for (index, claim) in same.iter().enumerate() {
            if let Some(owner) = same[..index].iter().find(|other| overlap(claim, other)) {
                cx.push(conflict(claim, owner));
            }
        }
    }
}

/// The host ports a service takes; in the host's own network that is every port it names.
fn claims_of(draft: &Draft) -> Vec<Claim<'_>> {
    let host = draft.container.network_mode == NetworkMode::Host;
    let port = |spot: &Spot<PortSpec>| spot.value.published.or(host.then_some(spot.value.target));
    draft.ports.iter().filter_map(|spot| Some(Claim { draft, spot, port: port(spot)? })).collect()
}

/// Port 53 belongs to the bridges' gateways, so only an address of one's own leaves them alone.
fn is_reserved(claim: &Claim<'_>) -> bool {
    let everywhere = claim.spot.value.host_ip.is_none_or(|ip| ip.is_unspecified());
    RESERVED.contains(&claim.port) || (claim.port == 53 && everywhere)
}

/// `mode: host` ports of different services may live on different nodes.
fn overlap(a: &Claim<'_>, b: &Claim<'_>) -> bool {
    let host = |claim: &Claim<'_>| claim.spot.value.mode == PortMode::Host;
    let apart = a.draft.name != b.draft.name && host(a) && host(b);
    let addresses = match (a.spot.value.host_ip, b.spot.value.host_ip) {
        (Some(a), Some(b)) => a == b || a.is_unspecified() || b.is_unspecified(),
        (None, _) | (_, None) => true,
    };
    !apart && addresses
}

fn protocol_word(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    }
}

fn reserved(claim: &Claim<'_>) -> Problem {
    let Place { at, path } = &claim.spot.place;
    let port = claim.port;
    let use_of = match port {
        80 | 443 => "ingress; use a route or another host port",
        53 => "names of containers; name a host_ip or use another host port",
        7000 => "the API; use another host port",
        7001 => "peers; use another host port",
        _ => "WireGuard; use another host port",
    };
    let message = format!("host port {port} is reserved for {use_of}");
    Problem::new(ErrorCode::ReservedPort, *at, path, message)
        .with("service", &claim.draft.name)
        .with("port", port)
        .with("protocol", protocol_word(claim.spot.value.protocol))
        .with("entry", path)
}

fn conflict(claim: &Claim<'_>, owner: &Claim<'_>) -> Problem {
    let Place { at, path } = &claim.spot.place;
    let protocol = protocol_word(claim.spot.value.protocol);
    let owner = &owner.draft.name;
    let message = format!("host port {}/{protocol} is already taken by {owner}", claim.port);
    Problem::new(ErrorCode::PortConflict, *at, path, message)
        .with("port", claim.port)
        .with("protocol", protocol)
        .with("owner", owner)
}
