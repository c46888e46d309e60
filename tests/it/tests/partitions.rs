//! Networks that break in every shape, and heal.

use std::time::Duration;

use anyhow::{Result, ensure};
use jaco_it::{Cluster, Container, Stack, pause, probe, while_written, with_cluster};
use serde_json::{Value, json};

const ALL: [usize; 3] = [0, 1, 2];

/// How long a one-way cut lasts: some elections.
const CUT: Duration = Duration::from_secs(4);

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
        one_way_cuts_stop_nobody(c)?;
        ensure!(steady(c)? == before, "containers were touched");
        nobody_writes_without_a_majority(c)?;
        ensure!(steady(c)? == before, "containers were touched");
        Ok(())
    })
}

fn an_isolated_leader_refuses_writes_and_shows_what_it_has(c: &Cluster) -> Result<()> {
    let lonely = c.healthy(&ALL)?;
    let majority = others(lonely);
    c.lab().isolate(c.node(lonely).name())?;
    // A write that the old leader may have taken before it noticed.
    let refused = write(c, lonely, 7)?.exits(1)?.error()?;
    ensure!(["no_leader", "quorum_lost"].contains(&refused["code"].as_str().unwrap_or("")));
    let next = c.leader(&majority)?;
    write(c, majority[0], 1)?.exits(0)?;
    ensure!(wanted(c, next)? == 1, "the majority's write is not there");

    let seen = wanted(c, lonely)?;
    ensure!(seen == 0, "the minority shows {seen}, which nobody acknowledged to it");
    pause(Duration::from_secs(1));
    let refused = write(c, lonely, 7)?.exits(1)?.error()?;
    ensure!(refused["code"] == "quorum_lost", "{refused:#}");
    for detail in ["reachable", "needed", "hint"] {
        ensure!(!refused["details"][detail].is_null(), "no {detail}: {refused:#}");
    }
    let refused = c.node(lonely).fails(1, &["status", "--consistent"])?;
    ensure!(refused["code"] == "quorum_lost", "{refused:#}");

    c.lab().heal()?;
    c.healthy(&ALL)?;
    for node in ALL {
        let seen = wanted(c, node)?;
        ensure!(seen == 1, "{} shows {seen} after all", c.node(node).name());
    }
    write(c, lonely, 0)?.exits(0).map(drop)
}

/// What one direction of one cable carries is not needed while two of three are connected.
fn one_way_cuts_stop_nobody(c: &Cluster) -> Result<()> {
    for to_follower in [true, false] {
        let leader = c.healthy(&ALL)?;
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
        c.healthy(&ALL)?;
        // The one that was cut off has them all.
        ledger.settle(c, follower)?;
    }
    Ok(())
}

fn nobody_writes_without_a_majority(c: &mut Cluster) -> Result<()> {
    let left = c.healthy(&ALL)?;
    for lost in others(left) {
        c.node_mut(lost).daemon().kill()?;
    }
    // The command line itself tries for ten seconds.
    let mut refused = write(c, left, 7)?.exits(1)?.error()?;
    if refused["code"] == "no_leader" {
        refused = write(c, left, 7)?.exits(1)?.error()?;
    }
    ensure!(refused["code"] == "quorum_lost", "{refused:#}");
    ensure!(wanted(c, left)? == 0, "a refused write took effect");
    for lost in others(left) {
        c.node_mut(lost).daemon().start_again()?;
    }
    c.healthy(&ALL)?;
    write(c, others(left)[0], 0)?.exits(0).map(drop)
}
