//! Networks that break in every shape and heal, and members that sleep.

use std::time::Duration;

use anyhow::{Result, ensure};
use jaco_it::{Cluster, Container, Stack, pause, probe, while_written, with_cluster};
use jaco_lab::until;
use serde_json::{Value, json};

const ALL: [usize; 3] = [0, 1, 2];

/// Longest time until a node knows what it lost.
const SOON: Duration = Duration::from_secs(60);

/// How long a one-way cut lasts: some elections.
const CUT: Duration = Duration::from_secs(3);

fn others(node: usize) -> [usize; 2] {
    [(node + 1) % 3, (node + 2) % 3]
}

/// Ids and starts of the containers that nobody changes.
fn steady(c: &Cluster) -> Result<Vec<(usize, Container, Value)>> {
    let with_start = |(node, one): (usize, Container)| {
        let start = c.node(node).engine().inspect(&one.id)?["State"]["StartedAt"].clone();
        Ok((node, one, start))
    };
    c.containers("steady")?.into_iter().map(with_start).collect()
}

/// One write through a node, which waits out an election by itself.
fn write(c: &Cluster, node: usize, replicas: u32) -> Result<jaco_it::Run> {
    c.node(node).json(&["scale", &format!("note/web={replicas}"), "--detach"])
}

fn wanted(c: &Cluster, node: usize) -> Result<Value> {
    Ok(c.node(node).ok(&["status", "note"])?["deployments"][0]["wanted"].clone())
}

#[test]
fn a_cluster_goes_on_where_the_majority_is() -> Result<()> {
    with_cluster("partition", 3, 3, |c| {
        let web = |replicas: u32| json!({ "services": { "web": probe(json!({ "deploy": { "replicas": replicas } })) } });
        c.node(0).ok(&["apply", &Stack::new("steady", web(3))?.path()])?;
        c.node(0).ok(&["apply", &Stack::new("note", web(0))?.path()])?;
        let before = steady(c)?;
        ensure!(before.len() == 3, "{before:#?}");
        an_isolated_leader_refuses_writes_and_shows_what_it_has(c)?;
        ensure!(steady(c)? == before, "containers were touched");
        a_leader_that_slept_shows_nothing_old(c)?;
        ensure!(steady(c)? == before, "containers were touched");
        one_way_cuts_stop_nobody(c)?;
        ensure!(steady(c)? == before, "containers were touched");
        nobody_writes_without_a_majority(c)?;
        ensure!(steady(c)? == before, "containers were touched");
        Ok(())
    })
}

/// The refusal of a write that is tried once.
fn refused(c: &Cluster, node: usize) -> Result<Value> {
    let body = json!({ "services": { "web": 7 } });
    c.node(node).refusal("POST", "/v1/deployments/note/scale", &body)
}

/// Waits until a node says that the majority is gone, not just that nobody leads yet.
fn quorum_lost(c: &Cluster, node: usize) -> Result<()> {
    let refusal = until("a lost quorum", SOON, || {
        let refusal = refused(c, node)?;
        pause(Duration::from_millis(100));
        Ok((refusal["code"] != "no_leader").then_some(refusal))
    })?;
    ensure!(refusal["code"] == "quorum_lost", "{refusal:#}");
    for detail in ["reachable", "needed", "hint"] {
        ensure!(!refusal["details"][detail].is_null(), "no {detail}: {refusal:#}");
    }
    Ok(())
}

fn an_isolated_leader_refuses_writes_and_shows_what_it_has(c: &Cluster) -> Result<()> {
    let lonely = c.level(&ALL)?;
    let majority = others(lonely);
    c.lab().isolate(c.node(lonely).name())?;
    let next = c.leader(&majority)?;
    write(c, majority[0], 1)?.exits(0)?;
    ensure!(wanted(c, next)? == 1, "the majority's write is not there");

    until("the old leader to notice", SOON, || {
        Ok(c.node(lonely).view()?["leader"].is_null().then_some(()))
    })?;
    let refusal = refused(c, lonely)?;
    ensure!(refusal["code"] == "no_leader", "{refusal:#}");
    let seen = wanted(c, lonely)?;
    ensure!(seen == 0, "the minority shows {seen}, which nobody acknowledged to it");
    // The command line tries for ten seconds.
    let refusal = write(c, lonely, 7)?.exits(1)?.error()?;
    ensure!(["no_leader", "quorum_lost"].contains(&refusal["code"].as_str().unwrap_or("")));
    quorum_lost(c, lonely)?;
    let refusal = c.node(lonely).refusal("GET", "/v1/status?consistent=true", &Value::Null)?;
    ensure!(refusal["code"] == "quorum_lost", "{refusal:#}");

    c.lab().heal()?;
    c.level(&ALL)?;
    for node in ALL {
        let seen = wanted(c, node)?;
        ensure!(seen == 1, "{} shows {seen} after all", c.node(node).name());
    }
    write(c, lonely, 0)?.exits(0).map(drop)
}

/// A leader that was stopped and goes on believes for a moment that it still leads.
fn a_leader_that_slept_shows_nothing_old(c: &mut Cluster) -> Result<()> {
    let asleep = c.level(&ALL)?;
    let majority = others(asleep);
    c.node_mut(asleep).daemon().pause()?;
    c.leader(&majority)?;
    write(c, majority[0], 1)?.exits(0)?;
    c.node_mut(asleep).daemon().resume()?;
    let seen = until("a consistent read of the one that slept", SOON, || {
        // It may refuse, but not answer from the past.
        Ok(c.node(asleep).api().get("/v1/status?target=note&consistent=true").ok())
    })?;
    ensure!(seen["deployments"][0]["wanted"] == 1, "it showed what was: {seen:#}");
    c.level(&ALL)?;
    write(c, asleep, 0)?.exits(0).map(drop)
}

/// What one direction of one cable carries is not needed while two of three are connected.
fn one_way_cuts_stop_nobody(c: &Cluster) -> Result<()> {
    for to_follower in [true, false] {
        let leader = c.level(&ALL)?;
        let [follower, other] = others(leader);
        let (from, to) = if to_follower { (leader, follower) } else { (follower, leader) };
        c.lab().cut_one_way(c.node(from).name(), c.node(to).name())?;
        let sockets = [leader, other].map(|node| c.node(node).socket());
        let (ledger, ()) = while_written(&sockets, 2, u64::from(to_follower), || {
            pause(CUT);
            Ok(())
        })?;
        ensure!(ledger.unknown() == 0, "{} writes failed", ledger.unknown());
        ensure!(ledger.acknowledged() > 10, "{} writes only", ledger.acknowledged());
        c.lab().heal()?;
        c.level(&ALL)?;
        // The one that was cut off has them all.
        ledger.settle(c, follower)?;
    }
    Ok(())
}

fn nobody_writes_without_a_majority(c: &mut Cluster) -> Result<()> {
    let left = c.level(&ALL)?;
    for lost in others(left) {
        c.node_mut(lost).daemon().kill()?;
    }
    quorum_lost(c, left)?;
    ensure!(wanted(c, left)? == 0, "a refused write took effect");
    for lost in others(left) {
        c.node_mut(lost).daemon().start_again()?;
    }
    c.level(&ALL)?;
    write(c, others(left)[0], 0)?.exits(0).map(drop)
}
