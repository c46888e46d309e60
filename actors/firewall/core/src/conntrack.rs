//! Which connections end when the filter changes.
//!
//! Packets of a connection that was allowed once pass without being looked up again. So when a
//! path is revoked, its connections have to be forgotten too; and when the filter was not there
//! for a moment, so must all that could only begin then.

use crate::chains::METADATA;
use crate::policy::Policy;
use crate::prefix::Prefix;
use crate::ruleset::{Element, Ruleset};
use crate::sets;
use std::net::Ipv4Addr;
use std::sync::Arc;

/// Where names are answered.
const DNS_PORT: u16 = 53;

/// Connections that have to be forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlowFilter {
    /// Those opened by one side to the other.
    Between {
        /// Who opened them.
        source: Prefix,
        /// Who answers.
        destination: Prefix,
        /// To this port alone.
        port: Option<u16>,
    },
    /// Those that could not begin under this policy.
    Unlawful(Arc<Policy>),
}

/// One connection as the kernel tracks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Who opened it.
    pub source: Ipv4Addr,
    /// Who answers.
    pub destination: Ipv4Addr,
    /// The port it was opened to, for protocols with ports.
    pub port: Option<u16>,
    /// Whether the destination was replaced on the way.
    pub redirected: bool,
    /// Whether the source was replaced on the way, as it is for what leaves the pool.
    pub masqueraded: bool,
}

impl FlowFilter {
    /// Whether a connection is one of them.
    pub fn matches(&self, flow: &Flow) -> bool {
        match self {
            FlowFilter::Between { source, destination, port } => {
                source.contains(flow.source)
                    && destination.contains(flow.destination)
                    && port.is_none_or(|port| flow.port == Some(port))
            }
            FlowFilter::Unlawful(policy) => !is_lawful(policy, flow),
        }
    }
}

/// Whether the filter would let a connection begin. Where this says no to one that it would let
/// begin, the connection has kept its addresses, and its next packet begins it again.
fn is_lawful(policy: &Policy, flow: &Flow) -> bool {
    let Flow { source, destination, port, .. } = *flow;
    let (from_pool, to_pool) = (policy.pool.contains(source), policy.pool.contains(destination));
    if flow.redirected || !from_pool && !to_pool || policy.mesh.contains(source) {
        return true;
    }
    if !to_pool {
        return flow.masqueraded && may_leave(policy, flow);
    }
    if !from_pool || policy.mesh.contains(destination) {
        return false;
    }
    if let Some(bridge) = policy.bridges.values().find(|one| one.gateway == destination) {
        let is_open = |port| port == DNS_PORT || policy.host_ports.contains(&port);
        return bridge.block.contains(source) && port.is_none_or(is_open);
    }
    let is_detour = |(from, to): &(Ipv4Addr, Prefix)| *from == source && to.contains(destination);
    if policy.detours.iter().any(is_detour) {
        return true;
    }
    policy.scopes.iter().any(|scope| {
        let is_local = |address| scope.local.contains(address);
        let is_scope = |address| scope.remote.iter().any(|block| block.contains(address));
        is_local(source) && (is_local(destination) || is_scope(destination))
            || is_scope(source) && is_local(destination)
    })
}

fn may_leave(policy: &Policy, flow: &Flow) -> bool {
    let to = flow.destination;
    let is_inside =
        policy.bridges.values().any(|one| one.internal && one.block.contains(flow.source))
            && !policy.open.contains(&flow.source);
    let is_control = policy.node_addresses.contains(&to)
        && flow.port.is_some_and(|port| policy.control_ports.contains(&port));
    !(is_inside || is_control || policy.block_metadata && to == METADATA)
}

/// What ends when `before` becomes `after`; `policy` is the one behind `after`.
pub fn ended_flows(before: &Ruleset, after: &Ruleset, policy: &Policy) -> Vec<FlowFilter> {
    let mut ended = Vec::new();
    let between = |source, destination, port| FlowFilter::Between { source, destination, port };
    // Also those of a length that nobody has any more.
    let lengths = before.sets.keys().filter_map(|name| Some((name, sets::allow_len(name)?)));
    for (name, len) in lengths {
        for element in removed(before, after, name) {
            if let Some((source, destination)) = addresses(&element) {
                ended.push(between(Prefix::new(source, len), Prefix::new(destination, len), None));
            }
        }
    }
    let lengths = before.sets.keys().filter_map(|name| Some((name, sets::detours_len(name)?)));
    for (name, len) in lengths {
        for element in removed(before, after, name) {
            if let Some((source, destination)) = addresses(&element) {
                let (source, destination) = (Prefix::host(source), Prefix::new(destination, len));
                ended.push(between(source, destination, None));
            }
        }
    }
    let anywhere = Prefix::new(Ipv4Addr::UNSPECIFIED, 0);
    for element in removed(before, after, sets::FENCE) {
        if let Some(address) = address(&element) {
            ended.push(between(Prefix::host(address), anywhere, None));
            ended.push(between(anywhere, Prefix::host(address), None));
        }
    }
    let gateways = policy.bridges.values().map(|bridge| bridge.gateway);
    let here: Vec<Ipv4Addr> = gateways.chain(policy.node_addresses.iter().copied()).collect();
    for element in removed(before, after, sets::HOST_PORTS) {
        let &[high, low] = element.as_slice() else { continue };
        let port = u16::from_be_bytes([high, low]);
        let to_host = |address| between(policy.pool, Prefix::host(address), Some(port));
        ended.extend(here.iter().copied().map(to_host));
    }
    ended
}

fn removed(before: &Ruleset, after: &Ruleset, set: &str) -> Vec<Element> {
    let Some(old) = before.sets.get(set) else { return Vec::new() };
    let kept = after.sets.get(set).map(|set| &set.elements);
    let is_gone = |element: &&Element| kept.is_none_or(|kept| !kept.contains(*element));
    old.elements.iter().filter(is_gone).cloned().collect()
}

fn addresses(element: &[u8]) -> Option<(Ipv4Addr, Ipv4Addr)> {
    let (first, second) = element.split_at_checked(4)?;
    Some((address(first)?, address(second)?))
}

fn address(bytes: &[u8]) -> Option<Ipv4Addr> {
    <[u8; 4]>::try_from(bytes).ok().map(Ipv4Addr::from)
}
