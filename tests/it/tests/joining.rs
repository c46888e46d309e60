//! How nodes join and leave: what is refused, and by which name.

use std::fs;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use jaco_it::{Cluster, Run, Stack, Watch, list, pause, probe, row_of, with_cluster};
use jaco_lab::until;
use serde_json::{Value, json};

/// Longest time until a lost node is known to be lost.
const SOON: Duration = Duration::from_secs(60);

/// Races for one token.
const RACES: usize = 3;

fn refused(run: Run, code: &str) -> Result<Value> {
    let error = run.exits(1)?.error()?;
    ensure!(error["code"] == code, "{code} wanted: {error:#}");
    Ok(error)
}

#[test]
fn a_join_that_must_not_be_is_refused_by_name() -> Result<()> {
    with_cluster("join", 4, 1, |c| {
        // Node 1 is a cluster of its own; nodes 2 and 3 are none yet.
        c.node(1).init("other")?;
        another_clusters_door_learns_nothing(c)?;
        tokens_that_are_no_good(c)?;
        node_1_starts_over(c)?;
        (0..RACES).try_for_each(|_| one_token_lets_one_in(c))
    })
}

fn another_clusters_door_learns_nothing(c: &Cluster) -> Result<()> {
    let token = c.token(0)?;
    let error = refused(c.join_with(2, 1, &token)?, "ca_digest_mismatch")?;
    for detail in ["expected", "got"] {
        ensure!(error["details"][detail].is_string(), "{error:#}");
    }
    ensure!(error["details"]["expected"] != error["details"]["got"], "{error:#}");
    let view = c.node(2).view()?;
    ensure!(view["initialized"] == false, "a refused join left something: {view:#}");
    // Nobody has seen the secret, and so it is still good.
    c.join_with(2, 0, &token)?.exits(0)?;

    let error = refused(c.join_with(3, 0, &token)?, "token_invalid")?;
    ensure!(error["details"]["reason"] == "consumed", "{error:#}");
    let error = refused(c.join_with(2, 0, &c.token(0)?)?, "cluster_already_initialized")?;
    ensure!(error["details"]["cluster_id"].is_string(), "{error:#}");
    Ok(())
}

fn tokens_that_are_no_good(c: &Cluster) -> Result<()> {
    let brief = c.node(0).ok(&["node", "issue-join-token", "--ttl", "1s"])?;
    let brief = brief["token"].as_str().context("no token")?;
    let good = c.token(0)?;
    for malformed in ["x", "JACO1-a-b", &good[..good.len() - 1], &good.replace("JACO1", "JACO2")] {
        let error = refused(c.join_with(3, 0, malformed)?, "token_invalid")?;
        ensure!(error["details"]["reason"] == "malformed", "{malformed}: {error:#}");
    }
    // The digest is that of this cluster, the secret is nobody's.
    let (rest, secret) = good.rsplit_once('-').context("no secret")?;
    let turned: String = secret.chars().rev().collect();
    let unknown = refused(c.join_with(3, 0, &format!("{rest}-{turned}"))?, "token_invalid");
    // A turned secret may have bits where there must be none.
    let reason = unknown?["details"]["reason"].clone();
    ensure!(reason == "unknown" || reason == "malformed", "{reason}");

    let nowhere = format!("{}:7999", c.node(0).host().address());
    let call = ["node", "join", "--peer", &nowhere, "--token", &good];
    refused(c.node(3).json(&call)?, "unreachable")?;
    pause(Duration::from_millis(1_500));
    let error = refused(c.join_with(3, 0, brief)?, "token_invalid")?;
    ensure!(error["details"]["reason"] == "expired", "{error:#}");
    let view = c.node(3).view()?;
    ensure!(view["initialized"] == false, "a refused join left something: {view:#}");
    ensure!(list(&c.node(0).view()?["nodes"])?.len() == 2, "a refused join made a member");
    Ok(())
}

/// Forgets the cluster of node 1: no member may be the last to leave.
fn node_1_starts_over(c: &mut Cluster) -> Result<()> {
    let error = c.node(1).fails(1, &["node", "remove", "node-2"])?;
    ensure!(error["code"] == "would_lose_quorum", "{error:#}");
    let error = c.node(1).fails(1, &["node", "remove", "node-9"])?;
    ensure!(error["code"] == "not_found" && error["details"]["suggestion"] == "node-2", "{error}");
    c.node_mut(1).daemon().kill()?;
    fs::remove_dir_all(c.node(1).daemon_dir())?;
    c.node_mut(1).daemon().start_again()
}

/// Two nodes with the same token at the same time, through different members.
fn one_token_lets_one_in(c: &mut Cluster) -> Result<()> {
    let token = c.token(0)?;
    let (one, other) = thread::scope(|scope| {
        let join = |node, through| c.join_with(node, through, &token);
        let one = scope.spawn(move || join(1, 0));
        let other = join(3, 2);
        (one.join().map_err(|_| anyhow!("a join panicked")), other)
    });
    let (one, other) = (one??, other?);
    let (winner, lost) = match (one.code, other.code) {
        (Some(0), Some(1)) => (1, other),
        (Some(1), Some(0)) => (3, one),
        _ => bail!("one winner wanted: {one:#?} {other:#?}"),
    };
    let error = refused(lost, "token_invalid")?;
    ensure!(error["details"]["reason"] == "consumed", "{error:#}");
    c.healthy(&[0, 2, winner])?;
    c.remove(winner, 2)?;
    c.healthy(&[0, 2]).map(drop)
}

#[test]
fn a_node_leaves_without_a_gap_and_a_dead_one_by_force() -> Result<()> {
    with_cluster("leave", 3, 3, |c| {
        let web = probe(json!({ "deploy": { "replicas": 3 } }));
        let stack = Stack::new("shop", json!({ "services": { "web": web } }))?;
        c.node(0).ok(&["apply", &stack.path()])?;
        let holder = what_is_pinned_holds_its_node(c)?;
        let leader = c.leader(&[0, 1, 2])?;
        let leaver = if holder == leader { (leader + 1) % 3 } else { leader };
        let stays: Vec<usize> = (0..3).filter(|node| *node != leaver).collect();

        let (watch, ()) = Watch::during(&c.engines(), "shop", "web", || {
            let name = c.node(leaver).name();
            c.node(stays[0]).ok(&["node", "remove", name]).map(drop)
        })?;
        ensure!(watch.lowest >= 3, "a replica was missing: {watch:?}");
        c.node_mut(leaver).starts_over()?;
        let left = c.node(leaver).engine().containers()?;
        ensure!(left.is_empty(), "the removed node still runs {left:#?}");
        c.healthy(&stays)?;
        c.node(stays[1]).ok(&["wait", "shop", "--timeout", "60s"])?;
        ensure!(c.containers("shop")?.len() == 3, "{:#?}", c.containers("shop"));

        c.join(leaver, stays[1])?;
        c.healthy(&[0, 1, 2])?;
        a_dead_one_is_removed_by_force(c, holder)
    })
}

/// Gives the node that holds the volume.
fn what_is_pinned_holds_its_node(c: &Cluster) -> Result<usize> {
    let store = probe(json!({ "volumes": ["data:/data"] }));
    let compose = json!({ "services": { "store": store }, "volumes": { "data": {} } });
    let stack = Stack::new("pinned", compose)?;
    c.node(1).ok(&["apply", &stack.path()])?;
    let (holder, _) = c.containers("pinned")?.pop().context("no container")?;
    let name = c.node(holder).name();
    let error = c.node(2).fails(1, &["node", "remove", name])?;
    ensure!(error["code"] == "in_use" && error["details"]["by"] == "pinned-store-0", "{error:#}");
    let row = c.node(0).view()?;
    ensure!(row_of(&row, name)["schedulable"] == true, "a refused removal left a mark: {row:#}");
    Ok(holder)
}

fn a_dead_one_is_removed_by_force(c: &mut Cluster, holder: usize) -> Result<()> {
    let dead = (holder + 1) % 3;
    let stays: Vec<usize> = (0..3).filter(|node| *node != dead).collect();
    let name = c.node(dead).name().to_owned();
    c.node_mut(dead).daemon().kill()?;
    until("the loss to be known", SOON, || {
        let view = c.node(stays[0]).view().unwrap_or_default();
        Ok((row_of(&view, &name)["status"] == "down").then_some(()))
    })?;
    // Without the other one there would be no majority.
    let other = c.node(stays[1]).name();
    let error = c.node(stays[0]).fails(1, &["node", "remove", "--force", other])?;
    ensure!(error["code"] == "would_lose_quorum", "{error:#}");
    c.node(stays[0]).ok(&["node", "remove", "--force", &name])?;
    c.healthy(&stays)?;
    // Nobody could tell it; it finds out when it comes back.
    c.node_mut(dead).daemon().spawn()?;
    c.node_mut(dead).starts_over()?;
    let left = c.node(dead).engine().containers()?;
    ensure!(left.is_empty(), "the removed node still runs {left:#?}");
    c.join(dead, stays[0])?;
    c.healthy(&[0, 1, 2]).map(drop)
}
