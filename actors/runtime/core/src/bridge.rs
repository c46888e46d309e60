//! What the engine is told about a network of the address plan: options by engine version, and
//! the digest that tells whether an existing network is still as it should be.

use crate::BridgePlan;
use jaco_model::entity::{Block, ScopeRecord};
use jaco_model::name::MESH_INTERFACE;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What all networks of this node have in common.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    /// The engine's version, such as `20.10.24`.
    pub(crate) engine: String,
    /// Largest packet of new bridges, in bytes.
    pub(crate) mtu: u16,
    /// A packet filter of ours keeps networks apart, hides their addresses on the way out, and
    /// closes internal ones: the engine stays out of it.
    pub(crate) filtered: bool,
}

impl Terms {
    /// The bridge of a scope's block on this node.
    pub(crate) fn bridge(&self, scope: &ScopeRecord, block: &Block, internal: bool) -> BridgePlan {
        let options = self.options(&scope.bridge);
        let (subnet, gateway) = (block.net, block.gateway());
        let mut text = format!("{subnet}\n{gateway}\n{}\n", self.closed_by_engine(internal));
        for (key, value) in &options {
            text.push_str(&format!("{key}={value}\n"));
        }
        BridgePlan { subnet, gateway, revision: short_digest(&text), options }
    }

    /// Whether the engine is to close an internal network. Its way of doing so also closes the
    /// way to the same network on other nodes.
    pub(crate) fn closed_by_engine(&self, internal: bool) -> bool {
        internal && !self.filtered
    }

    /// What stops packets of the mesh on their way to containers differs from engine to engine
    /// (moby: `libnetwork/drivers/bridge`); an option that an engine does not know is an error.
    fn options(&self, bridge: &str) -> BTreeMap<String, String> {
        let mut options = vec![
            ("com.docker.network.bridge.name", bridge.to_owned()),
            ("com.docker.network.bridge.enable_ip_masquerade", (!self.filtered).to_string()),
            ("com.docker.network.bridge.enable_icc", "true".to_owned()),
            ("com.docker.network.driver.mtu", self.mtu.to_string()),
        ];
        let version = major_minor(&self.engine).filter(|_| self.filtered);
        if version >= Some((28, 0)) {
            let mode = "nat-unprotected".to_owned();
            options.push(("com.docker.network.bridge.gateway_mode_ipv4", mode));
        }
        if version >= Some((28, 2)) {
            let trusted = MESH_INTERFACE.to_owned();
            options.push(("com.docker.network.bridge.trusted_host_interfaces", trusted));
        }
        options.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }
}

/// The first two numbers of a version; `None` for one that has no two.
fn major_minor(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.');
    let mut number = || {
        let part = parts.next()?;
        let end = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
        part[..end].parse().ok()
    };
    Some((number()?, number()?))
}

/// The first 48 bits of a digest, in hexadecimal.
fn short_digest(text: &str) -> String {
    let mut short = String::new();
    for byte in Sha256::digest(text).iter().take(6) {
        write!(short, "{byte:02x}").expect("a string takes text");
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use jaco_model::entity::Scope;
    use jaco_model::{DeploymentName, NodeId, WallMs};

    fn bridge(engine: &str, mtu: u16, filtered: bool) -> BridgePlan {
        let scope = Scope::new(DeploymentName::new("shop"), "front");
        let record = ScopeRecord {
            scope: scope.clone(),
            bridge: "jaco-3w4alcjydb".to_owned(),
            engine_name: scope.engine_name(),
            prefix: 26,
            internal: false,
        };
        let block = Block {
            scope,
            node: NodeId::new("n1"),
            net: "10.81.0.64/26".parse().unwrap(),
            since: WallMs(0),
            idle_since: None,
        };
        Terms { engine: engine.to_owned(), mtu, filtered }.bridge(&record, &block, false)
    }

    #[test]
    fn each_engine_gets_the_options_it_knows() {
        let gateway_mode = "com.docker.network.bridge.gateway_mode_ipv4";
        let trusted = "com.docker.network.bridge.trusted_host_interfaces";
        for (engine, has_mode, has_trusted) in [
            ("20.10.24", false, false),
            ("20.10.24+dfsg1", false, false),
            ("27.5.1", false, false),
            ("28.0.4", true, false),
            ("28.1.1", true, false),
            ("28.2.0-rc.1", true, true),
            ("28.5.2", true, true),
            ("29.0.0", true, true),
            ("", false, false),
            ("dev", false, false),
        ] {
            let plan = bridge(engine, 1420, true);
            let has = |key: &str| plan.options.contains_key(key);
            assert_eq!((has(gateway_mode), has(trusted)), (has_mode, has_trusted), "{engine}");
            assert_eq!(plan.options["com.docker.network.bridge.enable_ip_masquerade"], "false");
            assert_eq!(plan.options["com.docker.network.bridge.name"], "jaco-3w4alcjydb");
            assert_eq!(plan.options["com.docker.network.driver.mtu"], "1420");
        }
        let plan = bridge("29.0.0", 1420, false);
        assert!(!plan.options.contains_key(gateway_mode), "without a filter the engine protects");
        assert_eq!(plan.gateway.to_string(), "10.81.0.65");
        for (filtered, closed) in [(false, true), (true, false)] {
            let terms = Terms { engine: String::new(), mtu: 1420, filtered };
            assert_eq!(terms.closed_by_engine(true), closed);
            assert!(!terms.closed_by_engine(false));
        }
    }

    #[test]
    fn the_revision_follows_the_options() {
        let usual = bridge("20.10.24", 1420, true);
        assert_eq!(usual.revision.len(), 12);
        assert_eq!(usual, bridge("27.0.1", 1420, true));
        for other in [
            bridge("28.0.0", 1420, true),
            bridge("28.2.0", 1420, true),
            bridge("20.10.24", 1380, true),
            bridge("20.10.24", 1420, false),
        ] {
            assert_ne!(usual.revision, other.revision, "{other:?}");
        }
    }
}
