//! Docker Swarm on the engines of a lab: the peer for the loss of a leader.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use jaco_lab::{Host, until};
use serde_json::{Value, json};

use super::failover::Cluster;
use crate::bench::measure::timed;

/// Longest time until a joined node is a manager.
const JOIN_LIMIT: Duration = Duration::from_secs(60);

/// Port of the managers.
const PORT: u16 = 2377;

/// A swarm of managers only.
#[derive(Debug)]
pub(super) struct Swarm {
    hosts: Vec<Host>,
    /// How long each join took.
    pub(super) joins: Vec<Duration>,
    writes: AtomicU64,
}

impl Swarm {
    /// Makes the first host's engine a manager and joins the others to it.
    pub(super) fn start(hosts: &[Host]) -> Result<Swarm> {
        let (first, others) = hosts.split_first().context("a swarm without hosts")?;
        let listen = |host: &Host| {
            json!({
                "ListenAddr": format!("{}:{PORT}", host.address()),
                "AdvertiseAddr": format!("{}:{PORT}", host.address()),
            })
        };
        first.engine().post("/swarm/init", &listen(first))?;
        let token = first.engine().get("/swarm")?["JoinTokens"]["Manager"].clone();
        let mut swarm = Swarm { hosts: hosts.to_vec(), joins: Vec::new(), writes: 0.into() };
        for host in others {
            let mut join = listen(host);
            join["RemoteAddrs"] = json!([format!("{}:{PORT}", first.address())]);
            join["JoinToken"] = token.clone();
            let (took, ()) = timed(|| {
                host.engine().post("/swarm/join", &join)?;
                until("a manager", JOIN_LIMIT, || {
                    let nodes = host.engine().get("/nodes").ok();
                    Ok(nodes.filter(|nodes| is_ready(nodes, host.name())).map(drop))
                })
            })?;
            swarm.joins.push(took);
        }
        Ok(swarm)
    }
}

impl Drop for Swarm {
    fn drop(&mut self) {
        for host in &self.hosts {
            // An engine that is dead goes with the lab.
            let _left = host.engine().post("/swarm/leave?force=1", &Value::Null);
        }
    }
}

/// Whether a node of the list is a manager that the others reach.
fn is_ready(nodes: &Value, name: &str) -> bool {
    let mut nodes = nodes.as_array().into_iter().flatten();
    nodes.any(|node| {
        node["Description"]["Hostname"] == name
            && node["Status"]["State"] == "ready"
            && node["ManagerStatus"]["Reachability"] == "reachable"
    })
}

impl Cluster for Swarm {
    fn size(&self) -> usize {
        self.hosts.len()
    }

    fn healthy_leader(&self) -> Option<usize> {
        let mut leads = None;
        for (index, host) in self.hosts.iter().enumerate() {
            // Every manager answers and sees all others.
            let nodes = host.engine().get("/nodes").ok()?;
            if !self.hosts.iter().all(|host| is_ready(&nodes, host.name())) {
                return None;
            }
            let leader = nodes.as_array()?.iter().find(|n| n["ManagerStatus"]["Leader"] == true)?;
            leads =
                if leader["Description"]["Hostname"] == host.name() { Some(index) } else { leads };
        }
        leads
    }

    fn kill(&mut self, member: usize) -> Result<()> {
        self.hosts.get(member).context("no such member")?.kill_engine()
    }

    /// Creates a config, which is Swarm's smallest change.
    fn write(&self, member: usize) -> Result<()> {
        let number = self.writes.fetch_add(1, Ordering::Relaxed);
        let config = json!({ "Name": format!("bench-{number}"), "Data": "dg==" });
        let host = self.hosts.get(member).context("no such member")?;
        host.engine().post("/configs/create", &config).map(drop)
    }

    fn restore(&mut self, member: usize) -> Result<()> {
        self.hosts.get(member).context("no such member")?.start_engine()
    }
}
