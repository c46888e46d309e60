//! The address plan: one pool, one block of it for each network on each node that uses it, and an
//! address of the mesh for each member.

use crate::spec::{DeploymentSpec, NetworkMode, ServiceSpec};
use crate::{DeploymentName, ErrorCode, Fault, NodeId, WallMs, name};
use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::Ipv4Addr;

/// Compose key of the implicit network in a scope; specs spell it [`IMPLICIT_KEY`].
pub const DEFAULT_NETWORK: &str = "default";

/// Compose key of the implicit network in specs and in the engine's names.
pub const IMPLICIT_KEY: &str = "_default";

/// One network of one deployment: containers of a scope reach each other, scopes never do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Scope {
    /// The deployment that owns the network.
    pub deployment: DeploymentName,
    /// Compose key; `default` for the implicit network.
    pub network: String,
}

impl Scope {
    /// The scope of a deployment's own network, by either spelling of the implicit one.
    pub fn new(deployment: DeploymentName, key: &str) -> Scope {
        let network = if key == IMPLICIT_KEY { DEFAULT_NETWORK } else { key };
        Scope { deployment, network: network.to_owned() }
    }

    /// The network's key in the specs of its deployment.
    pub fn key(&self) -> &str {
        if self.network == DEFAULT_NETWORK { IMPLICIT_KEY } else { &self.network }
    }

    /// `jaco_<deployment>_<network>`, the engine's name of the network on every node.
    pub fn engine_name(&self) -> String {
        name::network_name(&self.deployment, self.key())
    }
}

/// `<deployment>/<network>`.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.deployment, self.network)
    }
}

impl DeploymentSpec {
    /// The scope of the network that this deployment calls `key`: its own, or that of the
    /// deployment which owns an external network.
    pub fn scope_of(&self, key: &str) -> Scope {
        let external = self.networks.get(key).and_then(|network| network.external.as_deref());
        let split = external.and_then(|name| match name.split_once('/') {
            Some(pair) => Some(pair),
            // A deployment's name may hold `_` too; the first one is right for all that have none.
            None => name.strip_prefix("jaco_")?.split_once('_'),
        });
        match split {
            Some((owner, key)) => Scope::new(DeploymentName::new(owner), key),
            None => Scope::new(self.name.clone(), key),
        }
    }

    /// The scopes that an instance of a service joins, in the order of its networks and once each;
    /// the implicit one when it names none. None without networks of its own: `network_mode` none,
    /// host or service.
    pub fn scopes_of(&self, service: &ServiceSpec) -> Vec<Scope> {
        let container = &service.container;
        if container.network_mode != NetworkMode::Networks {
            return Vec::new();
        }
        let mut scopes: Vec<Scope> = Vec::new();
        for attachment in &container.networks {
            let scope = self.scope_of(&attachment.network);
            if !scopes.contains(&scope) {
                scopes.push(scope);
            }
        }
        if scopes.is_empty() {
            scopes.push(self.scope_of(IMPLICIT_KEY));
        }
        scopes
    }
}

/// What all nodes must agree on about a scope. Kept as long as the scope has a block anywhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScopeRecord {
    /// Which scope.
    pub scope: Scope,
    /// The linux bridge on every node: `jaco-` and 10 characters, unique in the cluster.
    pub bridge: String,
    /// The engine's name of the network.
    pub engine_name: String,
    /// Length of the prefix of each of its blocks.
    pub prefix: u8,
    /// Whether its containers have no way out.
    pub internal: bool,
}

/// The addresses of one scope on one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// Which scope.
    pub scope: Scope,
    /// Which node.
    pub node: NodeId,
    /// Its addresses: the first is the network, the second the gateway, the last for broadcasts.
    pub net: Ipv4Net,
    /// When it was given out.
    pub since: WallMs,
    /// When the last replica of the scope left the node; `None` while one is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_since: Option<WallMs>,
}

impl Block {
    /// The bridge's address, which is also the scope's name server on the node.
    pub fn gateway(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.net.network().to_bits().saturating_add(1))
    }

    /// How many containers find an address in a block of this prefix.
    pub const fn capacity(prefix: u8) -> u32 {
        match 32_u32.checked_sub(prefix as u32) {
            Some(bits) if bits < 32 => (1_u32 << bits).saturating_sub(3),
            _ => 0,
        }
    }
}

/// Addresses that were given back a moment ago and are not given out again yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantine {
    /// Which addresses.
    pub net: Ipv4Net,
    /// From when on they may be given out, in cluster time.
    pub until: WallMs,
}

/// The cluster's pool and how it is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ipam {
    /// All addresses of containers and of the mesh.
    pub pool: Ipv4Net,
    /// Prefix of the blocks of networks that ask for no other.
    pub block_prefix: u8,
}

/// `10.80.0.0/12` in blocks of `/26`.
impl Default for Ipam {
    fn default() -> Ipam {
        let pool = Ipv4Net::new_assert(Ipv4Addr::new(10, 80, 0, 0), 12);
        Ipam { pool, block_prefix: 26 }
    }
}

impl Ipam {
    /// Shortest and longest prefix of a pool.
    pub const POOL_PREFIXES: (u8, u8) = (8, 20);
    /// Shortest and longest prefix of a block.
    pub const BLOCK_PREFIXES: (u8, u8) = (22, 28);
    /// Distinct prefixes of blocks in one cluster: each costs the packet filter rules.
    pub const DISTINCT_PREFIXES: usize = 4;

    /// The first sixteenth of the pool, at most a `/19`: one address for each member.
    pub fn mesh_range(&self) -> Ipv4Net {
        let prefix = self.pool.prefix_len().saturating_add(4).clamp(19, 32);
        Ipv4Net::new(self.pool.network(), prefix).unwrap_or(self.pool)
    }

    /// Whether the plan can be used.
    ///
    /// # Errors
    ///
    /// `validation_failed` with the field and what is wrong with it.
    pub fn check(&self) -> Result<(), Fault> {
        let wrong = |field: &str, reason: &str, message: String| {
            let fault = Fault::new(ErrorCode::ValidationFailed, message);
            Err(fault.with("field", field).with("reason", reason))
        };
        let (pool, (low, high)) = (self.pool, Ipam::POOL_PREFIXES);
        if !(low..=high).contains(&pool.prefix_len()) {
            let message = format!("the pool {pool} must have a prefix between /{low} and /{high}");
            return wrong("ipam_pool", "range", message);
        }
        if pool.trunc() != pool {
            let message = format!("the pool {pool} has host bits set; write {}", pool.trunc());
            return wrong("ipam_pool", "format", message);
        }
        if let Some(special) = special_range(pool) {
            let message = format!("the pool {pool} holds addresses of {special}");
            return wrong("ipam_pool", "range", message);
        }
        let (low, high) = Ipam::BLOCK_PREFIXES;
        if !(low..=high).contains(&self.block_prefix) {
            let message = format!("blocks must have a prefix between /{low} and /{high}");
            return wrong("block_prefix", "range", message);
        }
        Ok(())
    }
}

/// Addresses that no container can have, if `pool` holds some.
fn special_range(pool: Ipv4Net) -> Option<&'static str> {
    let special = [
        ([0, 0, 0, 0], 8, "\"this network\", 0.0.0.0/8"),
        ([127, 0, 0, 0], 8, "loopback, 127.0.0.0/8"),
        ([169, 254, 0, 0], 16, "link-local networks, 169.254.0.0/16"),
        ([224, 0, 0, 0], 3, "multicast and reserved networks, 224.0.0.0/3"),
    ];
    let meets = |(octets, prefix): ([u8; 4], u8)| {
        let other = Ipv4Net::new_assert(Ipv4Addr::from(octets), prefix);
        pool.contains(&other.network()) || other.contains(&pool.network())
    };
    special.into_iter().find(|(octets, prefix, _)| meets((*octets, *prefix))).map(|(.., what)| what)
}

/// How a node takes part in the mesh; the node itself says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeshFacts {
    /// Its WireGuard public key: 32 bytes in base64. No two members have the same.
    pub public_key: String,
    /// Its UDP port.
    pub port: u16,
    /// What carries its packets.
    pub kind: MeshKind,
    /// Largest packet of its tunnel, in bytes.
    pub mtu: u16,
}

impl MeshFacts {
    /// Characters of a key: 32 bytes in base64.
    const KEY_LENGTH: usize = 44;

    /// Whether the key can be one: 32 bytes in canonical base64.
    pub fn has_key(&self) -> bool {
        let Some(body) = self.public_key.strip_suffix('=') else { return false };
        let is_digit = |b: u8| b.is_ascii_alphanumeric() || b == b'+' || b == b'/';
        // The last digit holds four bits; the two others are zero.
        let ends_well = body.bytes().last().is_some_and(|b| b"AEIMQUYcgkosw048".contains(&b));
        self.public_key.len() == MeshFacts::KEY_LENGTH && body.bytes().all(is_digit) && ends_well
    }
}

/// What carries a node's tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MeshKind {
    /// WireGuard of the kernel.
    Kernel,
    /// The implementation of this program on a TUN device.
    Userspace,
}

impl MeshKind {
    /// The kind as it is written in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            MeshKind::Kernel => "kernel",
            MeshKind::Userspace => "userspace",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(pool: &str, block_prefix: u8) -> Ipam {
        Ipam { pool: pool.parse().unwrap(), block_prefix }
    }

    #[test]
    fn the_mesh_takes_a_sixteenth_and_at_most_a_19() {
        for (pool, range) in [
            ("10.80.0.0/12", "10.80.0.0/19"),
            ("10.0.0.0/8", "10.0.0.0/19"),
            ("10.244.0.0/16", "10.244.0.0/20"),
            ("192.168.16.0/20", "192.168.16.0/24"),
        ] {
            let plan = plan(pool, 26);
            plan.check().unwrap();
            assert_eq!(plan.mesh_range().to_string(), range);
        }
    }

    #[test]
    fn a_plan_that_cannot_be_used_says_why() {
        for (pool, prefix, field, reason) in [
            ("10.80.0.0/21", 26, "ipam_pool", "range"),
            ("10.0.0.0/7", 26, "ipam_pool", "range"),
            ("10.80.0.1/12", 26, "ipam_pool", "format"),
            ("127.0.0.0/8", 26, "ipam_pool", "range"),
            ("169.0.0.0/8", 26, "ipam_pool", "range"),
            ("240.0.0.0/8", 26, "ipam_pool", "range"),
            ("10.80.0.0/12", 21, "block_prefix", "range"),
            ("10.80.0.0/12", 29, "block_prefix", "range"),
        ] {
            let fault = plan(pool, prefix).check().unwrap_err();
            assert_eq!(
                (fault.detail("field"), fault.detail("reason")),
                (Some(field), Some(reason))
            );
        }
    }

    #[test]
    fn a_block_keeps_three_addresses_back() {
        assert_eq!([22, 26, 28, 32, 40].map(Block::capacity), [1021, 61, 13, 0, 0]);
    }

    #[test]
    fn the_implicit_network_has_one_scope() {
        let scope = Scope::new(DeploymentName::new("shop"), "_default");
        assert_eq!(scope, Scope::new(DeploymentName::new("shop"), "default"));
        assert_eq!(scope.engine_name(), "jaco_shop__default");
        assert_eq!(scope.to_string(), "shop/default");
    }

    #[test]
    fn a_key_is_32_bytes() {
        let facts = |key: &str| {
            let public_key = key.to_owned();
            MeshFacts { public_key, port: 51820, kind: MeshKind::Kernel, mtu: 1420 }
        };
        assert!(facts("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=").has_key());
        for key in ["", "=", "AAAA", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB="] {
            assert!(!facts(key).has_key(), "{key}");
        }
    }
}
