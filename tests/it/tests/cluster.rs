//! Three nodes are one cluster: what any of them shows and takes, and how it goes on without one.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jaco_it::{Cluster, Container, Stack, list, pause, probe, row_of, with_cluster};
use jaco_lab::until;
use serde_json::{Value, json};

const ALL: [usize; 3] = [0, 1, 2];

/// Longest time until something that takes seconds.
const SOON: Duration = Duration::from_secs(60);

fn shop(color: &str, replicas: u32) -> Value {
    let web = json!({ "environment": { "COLOR": color }, "deploy": { "replicas": replicas } });
    json!({ "services": { "web": probe(web) } })
}

/// Somebody who does not lead.
fn follower(c: &Cluster) -> Result<usize> {
    let leader = c.leader(&ALL)?;
    ALL.into_iter().find(|node| *node != leader).context("only leaders")
}

#[test]
fn any_node_shows_and_takes_everything() -> Result<()> {
    with_cluster("cluster", 3, 3, |c| {
        every_node_says_the_same_of_the_members(c)?;
        let stack = Stack::new("shop", shop("blue", 3))?;
        an_apply_through_a_follower_runs_everywhere(c, &stack)?;
        logs_of_all_nodes_are_one_stream(c)?;
        what_was_written_through_a_follower_is_seen_there(c)
    })
}

fn every_node_says_the_same_of_the_members(c: &Cluster) -> Result<()> {
    let views = c.nodes().iter().map(jaco_it::Node::view).collect::<Result<Vec<_>>>()?;
    for key in ["cluster_id", "leader", "epoch"] {
        ensure!(views.iter().all(|view| view[key] == views[0][key]), "{key}: {views:#?}");
    }
    for view in &views {
        ensure!(list(&view["nodes"])?.len() == 3, "{view:#}");
        ensure!(view["quorum"] == json!({ "voters": 3, "healthy": 3, "can_lose": 1 }), "{view:#}");
        for (node, name) in ["node-1", "node-2", "node-3"].into_iter().enumerate() {
            let row = row_of(view, name);
            ensure!(row["suffrage"] == "voter" && row["status"] == "ready", "{row:#}");
            let address = format!("{}:7001", c.node(node).host().address());
            ensure!(row["address"] == address.as_str(), "{row:#}");
        }
    }
    for node in ALL {
        let text = c.node(node).jaco(&["cluster", "status"])?.exits(0)?.stdout;
        ensure!(text.matches("[READY, VOTER]").count() == 3, "{text}");
    }
    Ok(())
}

fn an_apply_through_a_follower_runs_everywhere(c: &Cluster, stack: &Stack) -> Result<()> {
    let node = c.node(follower(c)?);
    let applied = node.ok(&["apply", &stack.path()])?;
    ensure!(applied["status"] == "active" && applied["revision"] == 1, "{applied:#}");
    let containers = c.containers("shop")?;
    let hosts: BTreeSet<usize> = containers.iter().map(|(node, _)| *node).collect();
    ensure!(containers.len() == 3 && hosts.len() == 3, "not one on each: {containers:#?}");
    for (node, one) in &containers {
        let url = format!("http://{}:8080/env?name=COLOR", one.address);
        ensure!(c.node(*node).get(&url)?.trim() == "blue", "{one:?}");
    }
    // Whoever is asked knows where each runs.
    for asked in c.nodes() {
        let rows = asked.ok(&["status", "shop", "--consistent"])?;
        for (node, one) in &containers {
            let rows = list(&rows["replicas"])?;
            let row = rows.iter().find(|row| row["id"] == one.replica.as_str());
            let row = row.with_context(|| format!("{} does not know {one:?}", asked.name()))?;
            ensure!(row["host"] == c.node(*node).name() && row["state"] == "running", "{row:#}");
        }
    }
    Ok(())
}

fn logs_of_all_nodes_are_one_stream(c: &Cluster) -> Result<()> {
    for asked in c.nodes() {
        let text = asked.jaco(&["logs", "shop/web"])?.exits(0)?.stdout;
        for replica in ["shop-web-0", "shop-web-1", "shop-web-2"] {
            let prefix = format!("[{replica}");
            let found = text.lines().any(|line| line.starts_with(&prefix));
            ensure!(found, "{} shows nothing of {replica}: {text}", asked.name());
        }
    }
    Ok(())
}

/// A follower answers a write only once it shows it; a consistent read shows what any node took.
fn what_was_written_through_a_follower_is_seen_there(c: &Cluster) -> Result<()> {
    let follower = follower(c)?;
    for n in 1..=10 {
        let name = format!("read-{n}");
        let stack =
            Stack::new(&name, json!({ "services": { "web": probe(json!({ "scale": 0 })) } }))?;
        let writer = c.node((follower + n) % 3);
        writer.ok(&["apply", &stack.path(), "--detach"])?;
        let own = writer.api().get(&format!("/v1/deployments/{name}"));
        ensure!(own.is_ok(), "{} does not show its own write: {own:?}", writer.name());
        for other in c.nodes() {
            let seen = other.ok(&["status", "--consistent"])?.to_string();
            ensure!(seen.contains(&name), "{} misses {name}", other.name());
        }
    }
    Ok(())
}

/// Ids and starts of the deployment's containers.
fn started(c: &Cluster) -> Result<Vec<(usize, Container, Value)>> {
    let with_start = |(node, one): (usize, Container)| {
        let start = c.node(node).engine().inspect(&one.id)?["State"]["StartedAt"].clone();
        Ok((node, one, start))
    };
    c.containers("shop")?.into_iter().map(with_start).collect()
}

#[test]
fn a_leader_that_is_lost_is_replaced_and_comes_back() -> Result<()> {
    with_cluster("leader", 3, 3, |c| {
        let stack = Stack::new("shop", shop("blue", 3))?;
        c.node(0).ok(&["apply", &stack.path()])?;
        let before = started(c)?;
        for is_planned in [false, true, false] {
            let leader = c.healthy(&ALL)?;
            let rest: Vec<usize> = ALL.into_iter().filter(|node| *node != leader).collect();
            if is_planned {
                c.node_mut(leader).daemon().stop()?;
                // It has handed the lead over before it ended.
                let view = c.node(rest[0]).view()?;
                let lost = c.node(leader).name();
                ensure!(view["leader"].is_string() && view["leader"] != lost, "{view:#}");
            } else {
                c.node_mut(leader).daemon().kill()?;
            }
            // The command line waits out the election by itself.
            let note = format!("without-{leader}-{is_planned}");
            let stack = Stack::new(&note, shop("red", 0))?;
            c.node(rest[0]).ok(&["apply", &stack.path(), "--detach"])?;
            let next = c.leader(&rest)?;
            ensure!(next != leader);
            ensure!(started(c)? == before, "containers were touched");
            c.node_mut(leader).daemon().start_again()?;
            c.node(leader).wait_until_ready()?;
            let seen = c.node(leader).ok(&["status", &note, "--consistent"])?;
            ensure!(seen["deployments"][0]["name"] == note.as_str(), "{seen:#}");
        }
        c.healthy(&ALL)?;
        c.node(0).ok(&["wait", "shop", "--timeout", "30s"])?;
        ensure!(started(c)? == before, "containers were touched");
        // A cluster at rest writes nothing.
        until("an index that stays", SOON, || {
            let index = c.node(0).raft_index()?;
            pause(Duration::from_secs(3));
            Ok((c.node(0).raft_index()? == index).then_some(()))
        })
    })
}
