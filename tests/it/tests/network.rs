//! One network across hosts, and walls between deployments, also while something breaks.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Result, ensure};
use jaco_it::ground::Spot;
use jaco_it::matrix::{Matrix, echo};
use jaco_it::{Cluster, Run, Stack, pause, with_cluster};
use jaco_lab::until;
use serde_json::{Value, json};

const ALL: [usize; 3] = [0, 1, 2];
const DEPLOYMENTS: [&str; 2] = ["alpha", "beta"];

/// Longest time until what was broken works again.
const REPAIR: Duration = Duration::from_secs(60);

/// Longest time that a filter removed by somebody else stays away, in milliseconds: a second is
/// the goal, the rest is for a slow machine.
const HOLE_MS: u64 = 3_000;

/// How long nothing arrives where it must not, once the filter is back.
const CLOSED: Duration = Duration::from_secs(2);

/// How long two halves do not see each other.
const CUT: Duration = Duration::from_secs(8);

#[test]
fn containers_reach_their_own_network_on_every_host_and_nothing_else() -> Result<()> {
    // The fourth host is a neighbour that has nothing to do with the cluster.
    with_cluster("network", 4, 3, |c| {
        for name in DEPLOYMENTS {
            // A replica on every node.
            let web = echo(&json!({ "deploy": { "replicas": 3 } }));
            let stack = Stack::new(name, json!({ "services": { "web": web } }))?;
            c.node(0).ok(&["apply", &stack.path()])?;
        }
        let mut matrix = Matrix::new(c, &ALL, &DEPLOYMENTS)?;
        ensure!(matrix.ground.spots.len() == 6, "{:#?}", matrix.ground);
        watch_the_wire(matrix.cluster)?;
        let outcome = all_faults(&mut matrix);
        eprintln!("{}", matrix.summary());
        outcome
    })
}

fn all_faults(m: &mut Matrix<'_>) -> Result<()> {
    names_are_those_of_the_own_deployment(m)?;
    m.a_watch_sees_a_hole()?;
    m.rest(Duration::from_secs(2))?;
    m.under_watch("daemons killed", 0, daemons_killed)?;
    m.under_watch("routes flushed", 0, routes_flushed)?;
    m.under_watch("tunnel deleted", 0, tunnel_deleted)?;
    m.under_watch("partition", 0, partition)?;
    m.under_watch("engine restarted", 0, engine_restarted)?;
    m.under_watch("engine killed", 0, engine_killed)?;
    nothing_went_in_clear(m.cluster)?;
    // Without the table nothing hides the addresses of what leaves.
    m.under_watch("table deleted", HOLE_MS, table_deleted)?;
    m.under_watch("ruleset flushed", HOLE_MS, ruleset_flushed)?;
    holes_are_seen_without_a_filter(m)
}

fn names_are_those_of_the_own_deployment(m: &Matrix<'_>) -> Result<()> {
    for from in &m.ground.spots {
        let own: BTreeSet<Ipv4Addr> = m
            .ground
            .spots
            .iter()
            .filter(|to| to.deployment == from.deployment)
            .map(Spot::address)
            .collect();
        let deployment = &from.deployment;
        for name in ["web".to_owned(), format!("web.{deployment}.jaco.internal")] {
            let found = resolve(from, &name)?.exits(0)?.stdout;
            let found: BTreeSet<Ipv4Addr> =
                found.lines().filter_map(|line| line.trim().parse().ok()).collect();
            ensure!(found == own, "{} finds {name} at {found:?}, not {own:?}", from.replica);
        }
        let other = if deployment == "alpha" { "beta" } else { "alpha" };
        let stranger = resolve(from, &format!("web.{other}.jaco.internal"))?;
        ensure!(stranger.code != Some(0), "{} finds {other}: {}", from.replica, stranger.stdout);
        let page = format!("http://web.{deployment}.jaco.internal:8080/");
        m.cluster.node(from.node).exec(&from.id, &["client", "get", &page])?.exits(0)?;
    }
    Ok(())
}

fn resolve(from: &Spot, name: &str) -> Result<Run> {
    Run::of(&mut from.inside(&["client", "resolve", name]))
}

/// Counts packets with addresses of the pool on the wire between the hosts.
fn watch_the_wire(c: &Cluster) -> Result<()> {
    let outside = "oifname != { \"wg-jaco\", \"lo\" } oifname != \"jaco-*\"";
    let rules = format!(
        "table inet wire {{\n counter bare {{ }}\n chain out {{\n \
         type filter hook postrouting priority 400; policy accept;\n \
         {outside} ip saddr 10.80.0.0/12 counter name bare\n \
         {outside} ip daddr 10.80.0.0/12 counter name bare\n }}\n}}"
    );
    for node in ALL {
        Run::of(c.node(node).host().command("nft").arg(&rules))?.exits(0)?;
    }
    Ok(())
}

fn nothing_went_in_clear(c: &Cluster) -> Result<()> {
    for node in ALL.map(|node| c.node(node)) {
        let shown = Run::of(
            node.host().command("nft").args(["-j", "list", "counter", "inet", "wire", "bare"]),
        )?;
        let shown: Value = serde_json::from_str(&shown.exits(0)?.stdout)?;
        let all = shown["nftables"].as_array().cloned().unwrap_or_default();
        let counter = all.iter().find_map(|one| one["counter"]["packets"].as_u64());
        ensure!(counter == Some(0), "{}: {shown:#}", node.name());
    }
    Ok(())
}

fn table_deleted(m: &mut Matrix<'_>) -> Result<()> {
    for node in ALL {
        let host = m.cluster.node(node).host();
        Run::of(host.command("nft").args(["delete", "table", "inet", "jaco"]))?.exits(0)?;
    }
    filters_come_back(m)
}

fn ruleset_flushed(m: &mut Matrix<'_>) -> Result<()> {
    for node in ALL {
        m.cluster.node(node).host().flush_ruleset()?;
    }
    filters_come_back(m)
}

fn filters_come_back(m: &Matrix<'_>) -> Result<()> {
    for node in ALL {
        let host = m.cluster.node(node).host();
        until("the filter to come back", REPAIR, || {
            let shown = Run::of(host.command("nft").args(["list", "table", "inet", "jaco"]))?;
            Ok((shown.code == Some(0)).then_some(()))
        })?;
    }
    Ok(())
}

/// The mesh, the filter and the bridges stay when the daemon is killed.
fn daemons_killed(m: &mut Matrix<'_>) -> Result<()> {
    for node in ALL {
        m.cluster.node_mut(node).daemon().kill()?;
    }
    m.holds_without_names()?;
    daemons_start(m)
}

fn daemons_start(m: &mut Matrix<'_>) -> Result<()> {
    for node in ALL {
        m.cluster.node_mut(node).daemon().start_again()?;
    }
    m.cluster.healthy(&ALL).map(drop)
}

fn routes_flushed(m: &mut Matrix<'_>) -> Result<()> {
    let host = m.cluster.node(1).host();
    Run::of(host.command("ip").args(["route", "flush", "dev", "wg-jaco"]))?.exits(0).map(drop)
}

fn tunnel_deleted(m: &mut Matrix<'_>) -> Result<()> {
    let host = m.cluster.node(2).host();
    Run::of(host.command("ip").args(["link", "del", "wg-jaco"]))?.exits(0).map(drop)
}

fn partition(m: &mut Matrix<'_>) -> Result<()> {
    m.cluster.lab().isolate(m.cluster.node(2).name())?;
    pause(CUT);
    m.cluster.lab().heal()?;
    m.cluster.healthy(&ALL).map(drop)
}

/// Without live-restore the engine ends its containers; the daemon starts them again, and they may
/// have other addresses.
fn engine_restarted(m: &mut Matrix<'_>) -> Result<()> {
    let host = m.cluster.node(0).host();
    host.stop_engine()?;
    host.start_engine()
}

fn engine_killed(m: &mut Matrix<'_>) -> Result<()> {
    let host = m.cluster.node(1).host();
    host.kill_engine()?;
    host.start_engine()
}

/// That the watcher sees a hole where there is one: no filter, and nobody who writes it again. And
/// that what began then ends when the filter is back.
fn holes_are_seen_without_a_filter(m: &mut Matrix<'_>) -> Result<()> {
    for node in ALL {
        m.cluster.node_mut(node).daemon().kill()?;
    }
    let verdict = m.watched("ruleset flushed without daemons", |m| {
        m.cluster.node(0).host().flush_ruleset()?;
        pause(Duration::from_secs(1));
        daemons_start(m)?;
        filters_come_back(m)?;
        m.settle()?;
        pause(CLOSED + Duration::from_secs(1));
        Ok(())
    })?;
    ensure!(!verdict.holes.is_empty(), "without a filter nothing arrives: {verdict:?}");
    let closed = Duration::from_millis(verdict.closed_ms);
    ensure!(
        closed >= CLOSED,
        "open until {closed:?} before the end:\n{}",
        verdict.holes.join("\n")
    );
    Ok(())
}
