//! Members whose disk was lost or is full: what they refuse, and how they come back.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jaco_it::{Cluster, Container, Stack, pause, probe, row_of, while_written, with_cluster};
use jaco_lab::until;
use serde_json::json;

const ALL: [usize; 3] = [0, 1, 2];

/// Longest time until a loss is known, or containers have moved.
const SOON: Duration = Duration::from_secs(60);

/// The containers on one host, without what changes while they run.
fn on(c: &Cluster, node: usize) -> Result<Vec<(String, String)>> {
    let all: Vec<Container> = c.node(node).containers("shop")?;
    Ok(all.into_iter().map(|one| (one.replica, one.id)).collect())
}

#[test]
fn a_member_that_lost_its_disk_comes_back_under_another_id() -> Result<()> {
    with_cluster("wiped", 3, 3, |c| {
        let web = probe(json!({ "deploy": { "replicas": 3 } }));
        let stack = Stack::new("shop", json!({ "services": { "web": web } }))?;
        c.node(0).ok(&["apply", &stack.path()])?;
        // First a follower, then the leader.
        for leads in [false, true] {
            let leader = c.healthy(&ALL)?;
            let wiped = if leads { leader } else { (leader + 1) % 3 };
            without_its_log(c, wiped)?;
        }
        let leader = c.healthy(&ALL)?;
        without_anything(c, (leader + 1) % 3)
    })
}

/// Only the raft directory is gone: the node knows who it is, and must not vote again.
fn without_its_log(c: &mut Cluster, wiped: usize) -> Result<()> {
    let (before, marker) = (on(c, wiped)?, c.node(wiped).marker()?);
    ensure!(before.len() == 1, "{before:?}");
    c.node_mut(wiped).daemon().kill()?;
    fs::remove_dir_all(c.node(wiped).daemon_dir().join("raft"))?;
    c.node_mut(wiped).daemon().start_again()?;
    for call in ["/v1/status", "/v1/nodes", "/v1/cluster"] {
        let error = c.node(wiped).refusal("GET", call, &json!(null))?;
        ensure!(error["code"] == "storage_failed", "{error:#}");
        ensure!(error["details"]["hint"] == "jaco node rejoin", "{error:#}");
        ensure!(error["details"]["host"] == c.node(wiped).name(), "{error:#}");
    }
    let error = c.node(wiped).fails(1, &["status"])?;
    ensure!(error["code"] == "storage_failed", "{error:#}");
    let rest: Vec<usize> = ALL.into_iter().filter(|node| *node != wiped).collect();
    c.leader(&rest)?;
    ensure!(on(c, wiped)? == before, "a node without its log touched its containers");

    c.node(wiped).ok(&["node", "rejoin"])?;
    c.healthy(&ALL)?;
    let now = c.node(wiped).marker()?;
    ensure!(now["node_id"] == marker["node_id"], "another node: {now:#} {marker:#}");
    ensure!(now["raft_id"] != marker["raft_id"], "the same raft id: {now:#}");
    ensure!(on(c, wiped)? == before, "containers changed");
    let again = c.node(wiped).refusal("POST", "/v1/cluster/rejoin", &json!({}))?;
    ensure!(again["code"] == "node_already_member", "{again:#}");
    Ok(())
}

/// Everything is gone: the node is a stranger whose name is taken.
fn without_anything(c: &mut Cluster, wiped: usize) -> Result<()> {
    let name = c.node(wiped).name().to_owned();
    let other = (wiped + 1) % 3;
    let marker = c.node(wiped).marker()?;
    c.node_mut(wiped).daemon().kill()?;
    fs::remove_dir_all(c.node(wiped).daemon_dir())?;
    c.node_mut(wiped).daemon().start_again()?;

    let token = c.token(other)?;
    let error = c.join_with(wiped, other, &token)?.exits(1)?.error()?;
    ensure!(error["code"] == "node_already_member", "{error:#}");
    ensure!(error["details"]["host"] == name.as_str(), "{error:#}");
    let hint = error["details"]["hint"].as_str().unwrap_or_default();
    ensure!(hint.contains(&format!("jaco node remove --force {name}")), "{error:#}");

    until("the loss to be known", SOON, || {
        let view = c.node(other).view()?;
        Ok((row_of(&view, &name)["status"] == "down").then_some(()))
    })?;
    c.node(other).ok(&["node", "remove", "--force", &name])?;
    // The refused join has not used the token up.
    c.join_with(wiped, other, &token)?.exits(0)?;
    c.healthy(&ALL)?;
    let now = c.node(wiped).marker()?;
    ensure!(now["node_id"] != marker["node_id"], "the same node: {now:#}");
    ensure!(now["raft_id"] != marker["raft_id"], "the same raft id: {now:#}");
    c.node(other).ok(&["wait", "shop", "--timeout", "60s"])?;
    // What the old node ran is nobody's any more.
    until("three containers", SOON, || Ok((c.containers("shop")?.len() == 3).then_some(())))
        .with_context(|| format!("{:#?}", c.containers("shop")))
}

/// How long a disk is full.
const FULL: Duration = Duration::from_secs(4);

#[test]
fn a_full_disk_stops_one_member_and_no_write() -> Result<()> {
    with_cluster("full", 3, 2, |c| {
        c.node_mut(2).daemon().kill()?;
        fs::remove_dir_all(c.node(2).daemon_dir())?;
        let disk = c.node(2).host().small_disk(64 << 20)?;
        c.node_mut(2).daemon().start_again()?;
        c.join(2, 0)?;
        c.healthy(&ALL)?;
        let (ledger, ()) = while_written(&c.sockets(), 2, 1, || {
            disk.fill()?;
            pause(FULL);
            c.leader(&[0, 1]).map(drop)
        })?;
        ensure!(ledger.unknown() == 0, "{} writes failed", ledger.unknown());
        ensure!(ledger.acknowledged() > 10, "{} writes only", ledger.acknowledged());
        disk.free()?;
        // A daemon that cannot write its log ends; its service manager starts it again.
        let code = until("the end of the daemon", SOON, || c.node_mut(2).daemon().ended())?;
        ensure!(code == EXIT_DISK, "the daemon ended with {code}");
        c.node_mut(2).daemon().start_again()?;
        c.level(&ALL)?;
        ledger.settle(c, 2)
    })
}

/// Exit code of a daemon whose disk failed.
const EXIT_DISK: i32 = 74;
