//! A lab of hosts with a daemon each, some or all of them members of one cluster.
//!
//! Nodes are counted from 0; the host of node 0 is `node-1`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jaco_lab::{
    Artifact, Engine, EngineRelease, Lab, LabOptions, build_binary, probe_binary, until,
};
use serde_json::Value;

use crate::container::Container;
use crate::node::{IMAGE, Node, Programs, row_of};
use crate::pause::pause;
use crate::run::Run;

/// Longest time until members agree on what they are; elections and lost nodes take seconds.
const AGREE_LIMIT: Duration = Duration::from_secs(60);

/// Pause between two looks at all members.
const LOOK: Duration = Duration::from_millis(50);

/// Port of the API for nodes that join.
const API_PORT: u16 = 7000;

/// There is no service on the hosts that could be enabled.
pub(crate) const NOT_AT_BOOT: &str = "--no-systemd-enable";

/// Hosts of one lab, each with a daemon.
#[derive(Debug)]
pub struct Cluster {
    // Dropped before the lab, so that the daemons end first.
    nodes: Vec<Node>,
    lab: Lab,
}

/// Runs a test on a node that is a cluster of its own, and shows the end of the daemon's log when
/// it fails.
///
/// # Errors
/// Those of the test, or when the cluster does not come up or does not go without a trace.
pub fn with_node(name: &str, test: impl FnOnce(&mut Node) -> Result<()>) -> Result<()> {
    with_cluster(name, 1, 1, |cluster| test(cluster.node_mut(0)))
}

/// Runs a test on so many hosts, of which the first `members` are one cluster, and shows the end
/// of each daemon's log when it fails.
///
/// # Errors
/// Those of the test, or when the cluster does not come up or does not go without a trace.
pub fn with_cluster(
    name: &str,
    hosts: u8,
    members: usize,
    test: impl FnOnce(&mut Cluster) -> Result<()>,
) -> Result<()> {
    with_cluster_of(&jaco_binary()?, name, hosts, members, test)
}

/// As [`with_cluster`], with this binary as `jaco`.
///
/// # Errors
/// As there.
pub fn with_cluster_of(
    jaco: &Path,
    name: &str,
    hosts: u8,
    members: usize,
    test: impl FnOnce(&mut Cluster) -> Result<()>,
) -> Result<()> {
    ensure!(members <= usize::from(hosts), "{members} members on {hosts} hosts");
    run_on(jaco, LabOptions::new(name, hosts), members, test)
}

/// As [`with_cluster`], with one member for each of these engines.
///
/// # Errors
/// As there, or when there is no such engine to be had.
pub fn with_engines(
    name: &str,
    engines: &[EngineRelease],
    test: impl FnOnce(&mut Cluster) -> Result<()>,
) -> Result<()> {
    let lab = LabOptions::new(name, engines.len().try_into()?).with_engines(engines);
    run_on(&jaco_binary()?, lab, engines.len(), test)
}

fn run_on(
    jaco: &Path,
    lab: LabOptions,
    members: usize,
    test: impl FnOnce(&mut Cluster) -> Result<()>,
) -> Result<()> {
    let name = lab.name.clone();
    let mut cluster = Cluster::up(jaco, lab)?;
    let formed = cluster.form(&name, members);
    formed.and_then(|()| test(&mut cluster)).with_context(|| cluster.log_tails())?;
    cluster.down()
}

impl Cluster {
    /// A lab with a daemon on each host; no member yet.
    fn up(jaco: &Path, lab: LabOptions) -> Result<Cluster> {
        let programs = Programs { jaco: jaco.to_owned(), probe: probe_binary()? };
        let lab = Lab::up(lab)?;
        lab.import_probe_everywhere(&programs.probe, IMAGE)?;
        let nodes = lab.hosts().iter().map(|host| Node::start(host, &programs));
        let nodes = nodes.collect::<Result<Vec<_>>>()?;
        Ok(Cluster { nodes, lab })
    }

    fn form(&mut self, name: &str, members: usize) -> Result<()> {
        if members == 0 {
            return Ok(());
        }
        self.node(0).init(name)?;
        (1..members).try_for_each(|node| self.join(node, 0))?;
        self.healthy(&(0..members).collect::<Vec<_>>()).map(drop)
    }

    /// Removes everything.
    ///
    /// # Errors
    /// When a daemon does not end or something stays.
    pub fn down(mut self) -> Result<()> {
        self.nodes.iter_mut().try_for_each(|node| node.daemon().stop())?;
        self.lab.down()
    }

    /// A node.
    ///
    /// # Panics
    /// When there are fewer.
    #[must_use]
    pub fn node(&self, node: usize) -> &Node {
        &self.nodes[node]
    }

    /// A node whose daemon is to be ended or started.
    ///
    /// # Panics
    /// When there are fewer.
    pub fn node_mut(&mut self, node: usize) -> &mut Node {
        &mut self.nodes[node]
    }

    /// All nodes.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The hosts, and what breaks between them.
    #[must_use]
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// Where a node takes newcomers.
    #[must_use]
    pub fn door(&self, node: usize) -> String {
        format!("{}:{API_PORT}", self.node(node).host().address())
    }

    /// A join token, made by a member.
    ///
    /// # Errors
    /// When it makes none.
    pub fn token(&self, member: usize) -> Result<String> {
        let issued = self.node(member).ok(&["node", "issue-join-token"])?;
        Ok(issued["token"].as_str().context("no token")?.to_owned())
    }

    /// Joins a node through a member, and waits until it is ready.
    ///
    /// # Errors
    /// When it does not become a member.
    pub fn join(&self, node: usize, through: usize) -> Result<()> {
        let token = self.token(through)?;
        self.join_with(node, through, &token)?.exits(0).map(drop)
    }

    /// `node join -o json`, whatever comes of it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn join_with(&self, node: usize, through: usize, token: &str) -> Result<Run> {
        let to = self.door(through);
        self.node(node).json(&["node", "join", "--peer", &to, "--token", token, NOT_AT_BOOT])
    }

    /// Removes a member through another one, and starts its daemon again once it has ended.
    ///
    /// # Errors
    /// When it is not removed, or its daemon does not end by itself.
    pub fn remove(&mut self, node: usize, through: usize) -> Result<()> {
        let name = self.node(node).name().to_owned();
        self.node(through).ok(&["node", "remove", &name])?;
        self.node_mut(node).starts_over()
    }

    /// The leader on which all these nodes agree, which is one of them; `None` when they do not.
    #[must_use]
    pub fn agreed_leader(&self, among: &[usize]) -> Option<usize> {
        let views = among.iter().map(|node| self.node(*node).view().ok());
        self.leader_of(among, &views.collect::<Option<Vec<_>>>()?)
    }

    fn leader_of(&self, among: &[usize], views: &[Value]) -> Option<usize> {
        let named = views.first()?["leader"].as_str()?;
        let is_agreed = views.iter().all(|view| view["leader"] == named);
        among.iter().copied().find(|node| is_agreed && self.node(*node).name() == named)
    }

    /// Waits until these nodes follow one of them.
    ///
    /// # Errors
    /// When they do not in time.
    pub fn leader(&self, among: &[usize]) -> Result<usize> {
        self.look("a leader", among, |cluster| cluster.agreed_leader(among))
    }

    /// Waits until these nodes follow one of them and have applied the same; gives the leader. A
    /// node that was cut off may still count as lost: it must be there for a while first.
    ///
    /// # Errors
    /// When it does not become so in time.
    pub fn level(&self, among: &[usize]) -> Result<usize> {
        self.look("members that are level", among, |cluster| {
            let views = among.iter().map(|node| cluster.node(*node).view().ok());
            let views = views.collect::<Option<Vec<_>>>()?;
            let is_level = |view: &Value| view["raft_index"] == views[0]["raft_index"];
            views.iter().all(is_level).then(|| cluster.leader_of(among, &views))?
        })
    }

    /// Waits until exactly these nodes are members, all are ready, the right number votes, and
    /// each of them sees the same of all that; gives the leader.
    ///
    /// # Errors
    /// When it does not become so in time.
    pub fn healthy(&self, members: &[usize]) -> Result<usize> {
        self.look("a healthy cluster", members, |cluster| cluster.healthy_leader(members))
    }

    fn healthy_leader(&self, members: &[usize]) -> Option<usize> {
        let views = members.iter().map(|node| self.node(*node).view().ok());
        let views = views.collect::<Option<Vec<_>>>()?;
        let is_well = |view: &Value| {
            let rows = view["nodes"].as_array().map_or(&[][..], Vec::as_slice);
            let votes = rows.iter().filter(|row| row["suffrage"] == "voter").count();
            let ready = |node: &usize| {
                let row = row_of(view, self.node(*node).name());
                row["status"] == "ready" && row["conditions"].is_null()
            };
            rows.len() == members.len()
                && votes == voters_of(members.len())
                && members.iter().all(ready)
                && view["raft_index"] == views[0]["raft_index"]
        };
        views.iter().all(is_well).then(|| self.leader_of(members, &views))?
    }

    /// Looks until there is something, and shows what these nodes see when there is nothing.
    fn look<T>(
        &self,
        what: &str,
        among: &[usize],
        mut look: impl FnMut(&Cluster) -> Option<T>,
    ) -> Result<T> {
        until(what, AGREE_LIMIT, || {
            let found = look(self);
            if found.is_none() {
                pause(LOOK);
            }
            Ok(found)
        })
        .with_context(|| {
            let seen = |node: &usize| match self.node(*node).view() {
                Ok(view) => format!("{} sees {}", self.node(*node).name(), digest(&view)),
                Err(error) => format!("{}: {error:#}", self.node(*node).name()),
            };
            among.iter().map(seen).collect::<Vec<_>>().join("\n")
        })
    }

    /// The test workload's binary on this machine.
    #[must_use]
    pub fn probe(&self) -> &Path {
        self.nodes[0].probe()
    }

    /// Where the daemons answer.
    #[must_use]
    pub fn sockets(&self) -> Vec<PathBuf> {
        self.nodes.iter().map(Node::socket).collect()
    }

    /// The engines of all hosts.
    #[must_use]
    pub fn engines(&self) -> Vec<Engine> {
        self.nodes.iter().map(Node::engine).collect()
    }

    /// The containers of a deployment on all hosts, each with its node.
    ///
    /// # Errors
    /// When an engine does not answer.
    pub fn containers(&self, deployment: &str) -> Result<Vec<(usize, Container)>> {
        let mut all = Vec::new();
        for (index, node) in self.nodes.iter().enumerate() {
            all.extend(node.containers(deployment)?.into_iter().map(|one| (index, one)));
        }
        Ok(all)
    }

    /// The ends of all logs.
    fn log_tails(&self) -> String {
        self.nodes.iter().map(Node::log_tail).collect()
    }
}

/// What is to be tested: from `JACO_TEST_BIN`, which `cargo xtask test` sets, or built now.
///
/// # Errors
/// When it cannot be built.
pub fn jaco_binary() -> Result<PathBuf> {
    match std::env::var_os("JACO_TEST_BIN") {
        Some(path) => Ok(path.into()),
        None => build_binary(Artifact { package: "jaco", is_static: false, is_release: false }),
    }
}

/// How many of so many members vote.
#[must_use]
pub fn voters_of(members: usize) -> usize {
    match members {
        0 => 0,
        1..=2 => 1,
        3..=4 => 3,
        5..=6 => 5,
        _ => 7,
    }
}

/// The part of a view that members must agree on, on one line.
fn digest(view: &Value) -> String {
    let rows = view["nodes"].as_array().map_or(&[][..], Vec::as_slice);
    let row = |row: &Value| {
        format!("{} {} {} {}", row["hostname"], row["status"], row["suffrage"], row["conditions"])
    };
    let rows = rows.iter().map(row).collect::<Vec<_>>().join(", ");
    format!("leader {}, index {}: {rows}", view["leader"], view["raft_index"])
}
