//! Who is where: containers with the networks they are in, hosts with their addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::cluster::Cluster;
use crate::run::Run;

/// A running container and its addresses.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spot {
    /// Its deployment.
    pub deployment: String,
    /// The replica, which is also a name of its own.
    pub replica: String,
    /// The node it is on.
    pub node: usize,
    /// The engine's id.
    pub id: String,
    /// Its first process.
    pub pid: i64,
    /// Its addresses by scope, which is the name of the engine's network.
    pub addresses: BTreeMap<String, Ipv4Addr>,
}

impl Spot {
    /// Whether a datagram to it is answered from the address it was sent to, whoever asks. A program
    /// bound to all addresses answers from that of the default route, which is another one's in all
    /// but one of several networks (ADR 0020).
    #[must_use]
    pub fn answers_datagrams_of(&self, other: &Spot) -> bool {
        self.addresses.len() == 1 || self.node == other.node
    }

    /// Whether it shares a scope with another one.
    #[must_use]
    pub fn may_reach(&self, other: &Spot) -> bool {
        self.addresses.keys().any(|scope| other.addresses.contains_key(scope))
    }

    /// Its address in its first scope.
    ///
    /// # Panics
    /// Never: [`spots`] refuses a container without an address.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        *self.addresses.values().next().expect("a spot has an address")
    }

    /// The probe in its network, with the files and rights of the host, whether its engine runs or
    /// not.
    #[must_use]
    pub fn beside(&self, c: &Cluster, args: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.pid)).arg("--").arg(c.probe());
        command.args(args);
        command
    }

    /// The probe in its network and with its files, so that names are looked up as it does.
    #[must_use]
    pub fn inside(&self, args: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--target={}", self.pid)).args(["--net", "--mount", "--", "/probe"]);
        command.args(args);
        command
    }
}

/// A bridge of a scope on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bridge {
    /// The node.
    pub node: usize,
    /// The node's own address on it.
    pub gateway: Ipv4Addr,
    /// Length of the block's prefix.
    pub length: u32,
}

impl Bridge {
    /// Whether an address is in its block.
    #[must_use]
    pub fn has(&self, address: Ipv4Addr) -> bool {
        let shift = 32 - self.length;
        u32::from(address) >> shift == u32::from(self.gateway) >> shift
    }

    /// The last address of its block, which is all of its hosts.
    #[must_use]
    pub fn last(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.gateway) | ((1 << (32 - self.length)) - 1))
    }

    /// Whether a container is on it.
    #[must_use]
    pub fn holds(&self, spot: &Spot) -> bool {
        self.node == spot.node && spot.addresses.values().any(|address| self.has(*address))
    }
}

/// Addresses of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The node.
    pub node: usize,
    /// Its name.
    pub name: String,
    /// Its address among the hosts.
    pub underlay: Ipv4Addr,
    /// Its address in the mesh.
    pub mesh: Ipv4Addr,
}

/// All that can be reached, or not.
#[derive(Debug, Clone)]
pub struct Ground {
    /// All containers.
    pub spots: Vec<Spot>,
    /// The members.
    pub places: Vec<Place>,
    /// Their bridges.
    pub bridges: Vec<Bridge>,
    /// Scopes without a way out.
    pub internal: BTreeSet<String>,
    /// A host that is no member: its name and address.
    pub neighbour: Option<(String, Ipv4Addr)>,
    /// Whether names are tried too: they are answered by the daemons.
    pub has_names: bool,
}

impl Ground {
    /// Looks at these members and all containers of these deployments; a host of the lab beyond the
    /// members is the neighbour.
    ///
    /// # Errors
    /// When an engine or a member does not show what it has.
    pub fn survey(c: &Cluster, members: &[usize], deployments: &[&str]) -> Result<Ground> {
        let mut places = Vec::new();
        let mut bridges = Vec::new();
        for node in members.iter().copied() {
            let (host, name) = (c.node(node).host(), c.node(node).name().to_owned());
            let addresses = addresses_of(host.command("ip"))?;
            let mesh = addresses.iter().find(|(link, ..)| link == "wg-jaco");
            let (_, mesh, _) = *mesh.with_context(|| format!("{name} has no mesh address"))?;
            let own = addresses.iter().filter(|(link, ..)| link.starts_with("jaco-"));
            bridges.extend(own.map(|&(_, gateway, length)| Bridge { node, gateway, length }));
            places.push(Place { node, name, underlay: host.address(), mesh });
        }
        let outsider = (0..c.nodes().len()).find(|node| !members.contains(node));
        let neighbour = outsider.map(|node| {
            let host = c.node(node).host();
            (host.name().to_owned(), host.address())
        });
        let spots = spots(c, deployments)?;
        let internal = BTreeSet::new();
        Ok(Ground { spots, places, bridges, internal, neighbour, has_names: true })
    }

    /// The same ground with the containers that run now.
    ///
    /// # Errors
    /// As [`Ground::survey`].
    pub fn again(&self, c: &Cluster) -> Result<Ground> {
        let members: Vec<usize> = self.places.iter().map(|place| place.node).collect();
        let deployments: BTreeSet<&str> =
            self.spots.iter().map(|spot| spot.deployment.as_str()).collect();
        let deployments: Vec<&str> = deployments.into_iter().collect();
        let internal = self.internal.clone();
        Ok(Ground { internal, ..Ground::survey(c, &members, &deployments)? })
    }

    /// Whether a container has a way out of the cluster: one open network is enough.
    #[must_use]
    pub fn has_way_out(&self, spot: &Spot) -> bool {
        spot.addresses.keys().any(|scope| !self.internal.contains(scope))
    }
}

/// The running containers of these deployments.
///
/// # Errors
/// When an engine does not answer, or a container has no address.
pub fn spots(c: &Cluster, deployments: &[&str]) -> Result<Vec<Spot>> {
    let mut all = Vec::new();
    for deployment in deployments {
        for (node, one) in c.containers(deployment)? {
            let inspected = c.node(node).engine().inspect(&one.id)?;
            if inspected["State"]["Running"] != true {
                continue;
            }
            let networks = inspected["NetworkSettings"]["Networks"].as_object();
            let networks = networks.into_iter().flatten();
            let address = |(scope, shown): (&String, &Value)| {
                let address = shown["IPAddress"].as_str().unwrap_or_default().parse();
                Ok((scope.clone(), address.with_context(|| format!("{one:?}"))?))
            };
            let addresses: BTreeMap<_, _> = networks.map(address).collect::<Result<_>>()?;
            let pid = inspected["State"]["Pid"].as_i64().context("no process id")?;
            anyhow::ensure!(!addresses.is_empty(), "{} is in no network", one.replica);
            all.push(Spot {
                deployment: (*deployment).to_owned(),
                replica: one.replica,
                node,
                id: one.id,
                pid,
                addresses,
            });
        }
    }
    all.sort();
    Ok(all)
}

/// IPv4 addresses as `ip` shows them: link, address, length of the prefix.
fn addresses_of(mut ip: Command) -> Result<Vec<(String, Ipv4Addr, u32)>> {
    let shown = Run::of(ip.args(["-4", "-o", "addr", "show"]))?.exits(0)?.stdout;
    let row = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (address, length) = words.get(3)?.split_once('/')?;
        Some(((*words.get(1)?).to_owned(), address.parse().ok()?, length.parse().ok()?))
    };
    Ok(shown.lines().filter_map(row).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bridge_has_the_addresses_of_its_block() {
        let gateway = Ipv4Addr::new(10, 80, 32, 65);
        let bridge = Bridge { node: 0, gateway, length: 26 };
        assert!(bridge.has(Ipv4Addr::new(10, 80, 32, 127)));
        assert!(!bridge.has(Ipv4Addr::new(10, 80, 32, 128)));
        assert!(!bridge.has(Ipv4Addr::new(10, 80, 32, 63)));
    }
}
