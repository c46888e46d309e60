//! [`Policy`]: who may reach whom, as seen by one node.

use crate::Prefix;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

/// Everything the packet filter of one node depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The address pool of the cluster.
    pub pool: Prefix,
    /// Where the mesh addresses of the nodes are.
    pub mesh: Prefix,
    /// Lengths of blocks in use in the cluster, at most four. Lengths of blocks below that are
    /// missing here are added.
    pub block_lengths: BTreeSet<u8>,
    /// The bridges of this node by interface name.
    pub bridges: BTreeMap<String, Bridge>,
    /// The scopes that have a block on this node.
    pub scopes: BTreeSet<ScopeBlocks>,
    /// Addresses of this node's containers in several networks, with the bridges of their other
    /// networks: a container has one default route, so it may answer in one network through another.
    pub strays: BTreeSet<(String, Ipv4Addr)>,
    /// Addresses of containers in several networks, with the blocks of their other networks on other
    /// nodes: what such a container opens by its default route has the address of that network.
    pub detours: BTreeSet<(Ipv4Addr, Prefix)>,
    /// Addresses in blocks without a way out of this node's containers that have one through another
    /// of their networks.
    pub open: BTreeSet<Ipv4Addr>,
    /// Containers that reach nothing and are reached by nothing.
    pub fence: BTreeSet<Ipv4Addr>,
    /// Addresses of all members outside the pool.
    pub node_addresses: BTreeSet<Ipv4Addr>,
    /// TCP ports of listeners that are open to everybody.
    pub published_tcp: BTreeSet<u16>,
    /// UDP ports of listeners that are open to everybody.
    pub published_udp: BTreeSet<u16>,
    /// Ports of this host, TCP and UDP, that containers may reach.
    pub host_ports: BTreeSet<u16>,
    /// Ports of nodes, TCP and UDP, that containers must not reach.
    pub control_ports: BTreeSet<u16>,
    /// Whether the metadata address of clouds is closed to containers.
    pub block_metadata: bool,
}

/// A bridge of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bridge {
    /// The addresses behind it.
    pub block: Prefix,
    /// Its own address, where names are answered.
    pub gateway: Ipv4Addr,
    /// Whether its containers have no way out of the pool.
    pub internal: bool,
}

/// The blocks of one scope, as far as this node has to do with them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ScopeBlocks {
    /// The block on this node.
    pub local: Prefix,
    /// The blocks on others.
    pub remote: BTreeSet<Prefix>,
}

impl Policy {
    /// A policy under which nothing in the pool reaches anything: what is installed before the
    /// networks are known.
    pub fn closed(pool: Prefix, mesh: Prefix) -> Policy {
        Policy {
            pool,
            mesh,
            block_lengths: BTreeSet::new(),
            bridges: BTreeMap::new(),
            scopes: BTreeSet::new(),
            strays: BTreeSet::new(),
            detours: BTreeSet::new(),
            open: BTreeSet::new(),
            fence: BTreeSet::new(),
            node_addresses: BTreeSet::new(),
            published_tcp: BTreeSet::new(),
            published_udp: BTreeSet::new(),
            host_ports: BTreeSet::new(),
            control_ports: BTreeSet::new(),
            block_metadata: false,
        }
    }

    /// All lengths of blocks, longest first.
    pub(crate) fn lengths(&self) -> Vec<u8> {
        let mut lengths = self.block_lengths.clone();
        lengths.extend(self.bridges.values().map(|bridge| bridge.block.len()));
        let of_scope = |scope: &ScopeBlocks| {
            let remote = scope.remote.iter().map(|block| block.len());
            remote.chain([scope.local.len()]).collect::<Vec<u8>>()
        };
        lengths.extend(self.scopes.iter().flat_map(of_scope));
        lengths.extend(self.detours.iter().map(|(_, block)| block.len()));
        lengths.into_iter().rev().collect()
    }
}
