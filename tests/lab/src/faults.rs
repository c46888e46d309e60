//! Faults of the network between hosts: cut cables, one-way cuts, partitions, loss.
//!
//! Packets are dropped where they arrive, before any other rule of that host sees them: a sender
//! learns nothing, as with a broken cable. The rules are in a table of their own in each host's
//! namespace and go with it. What comes from the machine itself is dropped only by
//! [`Host::link_down`], so that a test still reaches a host that is cut off from all others.

use std::collections::BTreeSet;
use std::fmt::Write;

use anyhow::{Result, bail, ensure};

use crate::host::{Host, enter};
use crate::lab::Lab;
use crate::network;
use crate::run::run_with_input;

/// Makes the table where it is not there yet; `eth0` is the host's only cable.
const TABLE: &str = "\
add table netdev jaco_lab_faults
add chain netdev jaco_lab_faults arrive { type filter hook ingress device eth0 priority 0; }
";

/// Removes the table, whether it is there or not.
const NO_TABLE: &str = "\
add table netdev jaco_lab_faults
delete table netdev jaco_lab_faults
";

/// Some of the traffic between a lab's hosts: all of it, or that of some ports.
#[derive(Debug, Clone)]
pub struct Traffic<'a> {
    lab: &'a Lab,
    /// Empty for all.
    ports: BTreeSet<u16>,
}

impl Traffic<'_> {
    /// Cuts the cable between two hosts.
    ///
    /// # Errors
    /// When the lab has no such host, or nft fails.
    pub fn cut(&self, a: &str, b: &str) -> Result<()> {
        self.cut_one_way(a, b)?;
        self.cut_one_way(b, a)
    }

    /// Drops what `from` sends to `to`; the other way stays open.
    ///
    /// # Errors
    /// When the lab has no such host, or nft fails.
    pub fn cut_one_way(&self, from: &str, to: &str) -> Result<()> {
        self.add_rule(from, to, "drop")
    }

    /// Drops so many of a thousand packets from `from` to `to`, chosen by chance.
    ///
    /// # Errors
    /// When the lab has no such host, `permille` is over 1000, or nft fails.
    pub fn lose(&self, from: &str, to: &str, permille: u16) -> Result<()> {
        ensure!(permille <= 1000, "{permille} of a thousand packets");
        self.add_rule(from, to, &format!("numgen random mod 1000 < {permille} drop"))
    }

    /// Cuts a host off from all others.
    ///
    /// # Errors
    /// When the lab has no such host, or nft fails.
    pub fn isolate(&self, host: &str) -> Result<()> {
        let others: Vec<&str> =
            self.lab.hosts().iter().map(Host::name).filter(|name| *name != host).collect();
        self.partition(&[&[host], &others])
    }

    /// Cuts all cables between hosts of different groups; who is in no group keeps all of its own.
    ///
    /// # Errors
    /// When the lab has no such host, one is in two groups, or nft fails.
    pub fn partition(&self, groups: &[&[&str]]) -> Result<()> {
        let names: Vec<&str> = groups.iter().copied().flatten().copied().collect();
        let distinct: BTreeSet<&str> = names.iter().copied().collect();
        ensure!(distinct.len() == names.len(), "a host is named twice: {}", names.join(" "));
        for (index, group) in groups.iter().enumerate() {
            for other in groups.iter().skip(index + 1) {
                for a in *group {
                    other.iter().try_for_each(|b| self.cut(a, b))?;
                }
            }
        }
        Ok(())
    }

    fn add_rule(&self, from: &str, to: &str, verdict: &str) -> Result<()> {
        if from == to {
            bail!("{from} has no cable to itself");
        }
        let (from, to) = (self.lab.host(from)?, self.lab.host(to)?);
        let mut rules = TABLE.to_owned();
        for ports in self.port_matches() {
            let source = from.address();
            writeln!(
                rules,
                "add rule netdev jaco_lab_faults arrive ip saddr {source} {ports} {verdict}"
            )?;
        }
        run_with_input(enter(&to.plan, "nft").args(["-f", "-"]), &rules)
    }

    /// What a rule says of ports: connections to them, and the answers of those who listen there.
    fn port_matches(&self) -> Vec<String> {
        if self.ports.is_empty() {
            return vec![String::new()];
        }
        let ports: Vec<String> = self.ports.iter().map(u16::to_string).collect();
        let ports = ports.join(", ");
        ["dport", "sport"]
            .map(|end| format!("meta l4proto {{ tcp, udp }} th {end} {{ {ports} }}"))
            .to_vec()
    }
}

impl Lab {
    /// The traffic of some ports, or all of it when none is named.
    #[must_use]
    pub fn traffic(&self, ports: &[u16]) -> Traffic<'_> {
        Traffic { lab: self, ports: ports.iter().copied().collect() }
    }

    /// Cuts the cable between two hosts, given by name.
    ///
    /// # Errors
    /// When the lab has no such host, or nft fails.
    pub fn cut(&self, a: &str, b: &str) -> Result<()> {
        self.traffic(&[]).cut(a, b)
    }

    /// Drops what `from` sends to `to`; the other way stays open.
    ///
    /// # Errors
    /// When the lab has no such host, or nft fails.
    pub fn cut_one_way(&self, from: &str, to: &str) -> Result<()> {
        self.traffic(&[]).cut_one_way(from, to)
    }

    /// Cuts a host off from all others; the machine still reaches it.
    ///
    /// # Errors
    /// When the lab has no such host, or nft fails.
    pub fn isolate(&self, host: &str) -> Result<()> {
        self.traffic(&[]).isolate(host)
    }

    /// Cuts all cables between hosts of different groups.
    ///
    /// # Errors
    /// When the lab has no such host, one is in two groups, or nft fails.
    pub fn partition(&self, groups: &[&[&str]]) -> Result<()> {
        self.traffic(&[]).partition(groups)
    }

    /// Ends all faults of the network: every cut, every loss, every link that is down.
    ///
    /// # Errors
    /// When nft or ip fails; the other hosts are healed all the same.
    pub fn heal(&self) -> Result<()> {
        let healed = self.hosts().iter().map(|host| {
            let ruled = run_with_input(enter(&host.plan, "nft").args(["-f", "-"]), NO_TABLE);
            host.link_up().and(ruled)
        });
        healed.fold(Ok(()), Result::and)
    }
}

impl Host {
    /// Pulls the host's cable out: it reaches nobody, and nobody it, not even the machine.
    ///
    /// # Errors
    /// When ip fails.
    pub fn link_down(&self) -> Result<()> {
        network::set_link(self.veth(), false)
    }

    /// Plugs the host's cable in again.
    ///
    /// # Errors
    /// When ip fails.
    pub fn link_up(&self) -> Result<()> {
        network::set_link(self.veth(), true)
    }
}
