//! Which connections end when the filter changes.
//!
//! Packets of a connection that was allowed once pass without being looked up again. So when a
//! path is revoked, its connections have to be forgotten too; and when the filter was not there
//! for a moment, so must all that could only begin then.

use crate::policy::Policy;
use crate::prefix::Prefix;
use crate::ruleset::{Element, Ruleset};
use crate::sets;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

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
    /// Those inside the pool that no scope allows.
    CrossScope {
        /// The pool.
        pool: Prefix,
        /// The nodes' own addresses, which are not filtered by scope.
        mesh: Prefix,
        /// Lengths of the blocks below.
        lengths: BTreeSet<u8>,
        /// Source and destination blocks that may talk.
        allowed: Arc<BTreeSet<(Prefix, Prefix)>>,
    },
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
            FlowFilter::CrossScope { pool, mesh, lengths, allowed } => {
                let inside = pool.contains(flow.source) && pool.contains(flow.destination);
                let of_node = mesh.contains(flow.source) || mesh.contains(flow.destination);
                let may = |len: &u8| {
                    let block = |address| Prefix::new(address, *len);
                    allowed.contains(&(block(flow.source), block(flow.destination)))
                };
                inside && !of_node && !flow.redirected && !lengths.iter().any(may)
            }
        }
    }
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

/// What may have begun while the filter was not what it should be.
pub(crate) fn cross_scope(policy: &Policy) -> FlowFilter {
    let mut allowed = BTreeSet::new();
    for scope in &policy.scopes {
        allowed.insert((scope.local, scope.local));
        for remote in &scope.remote {
            allowed.insert((scope.local, *remote));
            allowed.insert((*remote, scope.local));
        }
    }
    let lengths = allowed.iter().map(|(block, _): &(Prefix, Prefix)| block.len()).collect();
    let (pool, mesh) = (policy.pool, policy.mesh);
    FlowFilter::CrossScope { pool, mesh, lengths, allowed: Arc::new(allowed) }
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
