//! One network across hosts, and walls between deployments.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jaco_it::reach::{Spot, TCP_PORT, UDP_PORT, check_matrix, spots};
use jaco_it::{Cluster, Run, Stack, probe, with_cluster};
use jaco_lab::until;
use serde_json::{Value, json};

const ALL: [usize; 3] = [0, 1, 2];
const DEPLOYMENTS: [&str; 2] = ["alpha", "beta"];

/// Longest time until what was broken works again.
const REPAIR: Duration = Duration::from_secs(60);

/// A replica on every node, each with echoes for both protocols.
fn stack(name: &str) -> Result<Stack> {
    let environment = json!({
        "PROBE_TCP_PORT": TCP_PORT.to_string(),
        "PROBE_UDP_PORT": UDP_PORT.to_string(),
        "PROBE_TIMEOUT_MS": "800",
    });
    let web = json!({ "environment": environment, "deploy": { "replicas": 3 } });
    Stack::new(name, json!({ "services": { "web": probe(web) } }))
}

#[test]
fn containers_reach_their_own_network_on_every_host_and_nothing_else() -> Result<()> {
    with_cluster("network", 3, 3, |c| {
        for name in DEPLOYMENTS {
            c.node(0).ok(&["apply", &stack(name)?.path()])?;
        }
        let all = spots(c, &DEPLOYMENTS)?;
        ensure!(all.len() == 6, "{all:#?}");
        watch_the_wire(c)?;
        settles(c, &all)?;
        names_are_those_of_the_own_deployment(c, &all)?;
        a_neighbour_with_a_route_reaches_nothing(c, &all)?;
        nothing_went_in_clear(c)?;
        the_filter_comes_back_when_it_is_flushed(c, &all)?;
        the_network_outlives_the_daemon(c, &all)?;
        routes_and_the_tunnel_come_back(c, &all)?;
        an_engine_that_restarts_changes_nothing(c)
    })
}

/// Waits until what is allowed works, and checks that nothing else does.
fn settles(c: &Cluster, all: &[Spot]) -> Result<()> {
    let mut last = Ok(());
    until("the matrix to hold", REPAIR, || {
        last = check_matrix(c, all);
        Ok(last.is_ok().then_some(()))
    })
    .with_context(|| format!("{last:?}"))
}

fn names_are_those_of_the_own_deployment(c: &Cluster, all: &[Spot]) -> Result<()> {
    for from in all {
        let own: BTreeSet<Ipv4Addr> =
            all.iter().filter(|to| to.scope == from.scope).map(|to| to.address).collect();
        for name in ["web".to_owned(), format!("web.{}.jaco.internal", from.scope)] {
            let found = resolve(c, from, &name)?.exits(0)?.stdout;
            let found: BTreeSet<Ipv4Addr> =
                found.lines().filter_map(|line| line.trim().parse().ok()).collect();
            ensure!(found == own, "{} finds {name} at {found:?}, not {own:?}", from.replica);
        }
        let other = if from.scope == "alpha" { "beta" } else { "alpha" };
        let stranger = resolve(c, from, &format!("web.{other}.jaco.internal"))?;
        ensure!(stranger.code != Some(0), "{} finds {other}: {}", from.replica, stranger.stdout);
        let page = format!("http://web.{}.jaco.internal:8080/", from.scope);
        c.node(from.node).exec(&from.id, &["client", "get", &page])?.exits(0)?;
    }
    Ok(())
}

fn resolve(c: &Cluster, from: &Spot, name: &str) -> Result<Run> {
    c.node(from.node).exec(&from.id, &["client", "resolve", name])
}

/// A host beside the cluster's packets knows a way to the containers; it is not let in.
fn a_neighbour_with_a_route_reaches_nothing(c: &Cluster, all: &[Spot]) -> Result<()> {
    let (target, neighbour) = (&all[0], (all[0].node + 1) % 3);
    let host = c.node(neighbour).host();
    let (to, via) = (format!("{}/32", target.address), c.node(target.node).host().address());
    let route = |verb: &str| {
        let via = via.to_string();
        Run::of(host.command("ip").args(["route", verb, &to, "via", &via]))?.exits(0)
    };
    route("add")?;
    let dialled = c.node(neighbour).dial("tcp", &format!("{}:{TCP_PORT}", target.address));
    route("del")?;
    ensure!(dialled?.code != Some(0), "{} is open to its neighbours", target.replica);
    Ok(())
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
    for node in c.nodes() {
        Run::of(node.host().command("nft").arg(&rules))?.exits(0)?;
    }
    Ok(())
}

fn nothing_went_in_clear(c: &Cluster) -> Result<()> {
    for node in c.nodes() {
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

fn the_filter_comes_back_when_it_is_flushed(c: &Cluster, all: &[Spot]) -> Result<()> {
    for node in c.nodes() {
        Run::of(node.host().command("nft").args(["delete", "table", "inet", "jaco"]))?.exits(0)?;
    }
    for node in c.nodes() {
        until("the filter to come back", REPAIR, || {
            let shown =
                Run::of(node.host().command("nft").args(["list", "table", "inet", "jaco"]))?;
            Ok((shown.code == Some(0)).then_some(()))
        })?;
    }
    settles(c, all)
}

/// The mesh, the filter and the bridges stay when the daemon is killed.
fn the_network_outlives_the_daemon(c: &mut Cluster, all: &[Spot]) -> Result<()> {
    for node in ALL {
        c.node_mut(node).daemon().kill()?;
    }
    check_matrix_without_daemons(c, all)?;
    for node in ALL {
        c.node_mut(node).daemon().start_again()?;
    }
    c.healthy(&ALL)?;
    settles(c, all)
}

fn check_matrix_without_daemons(c: &Cluster, all: &[Spot]) -> Result<()> {
    for from in all {
        for to in all.iter().filter(|to| to.id != from.id) {
            let address = format!("{}:{TCP_PORT}", to.address);
            let dialled =
                c.node(from.node).exec(&from.id, &["client", "dial", "tcp", &address, "hello"])?;
            let (is_allowed, works) = (from.scope == to.scope, dialled.code == Some(0));
            ensure!(is_allowed == works, "without daemons: {from:?} to {to:?}: {dialled:?}");
        }
    }
    Ok(())
}

fn routes_and_the_tunnel_come_back(c: &Cluster, all: &[Spot]) -> Result<()> {
    let host = c.node(1).host();
    Run::of(host.command("ip").args(["route", "flush", "dev", "wg-jaco"]))?.exits(0)?;
    settles(c, all)?;
    let host = c.node(2).host();
    Run::of(host.command("ip").args(["link", "del", "wg-jaco"]))?.exits(0)?;
    settles(c, all)
}

/// Without live-restore the engine ends its containers; the daemon starts them again, and they may
/// have other addresses.
fn an_engine_that_restarts_changes_nothing(c: &Cluster) -> Result<()> {
    let host = c.node(0).host();
    host.stop_engine()?;
    host.start_engine()?;
    until("all replicas to be ready again", REPAIR, || {
        let mut ready = 0;
        for name in DEPLOYMENTS {
            ready += c.containers(name)?.iter().filter(|(_, one)| one.is_ready()).count();
        }
        Ok((ready == 6).then_some(()))
    })?;
    settles(c, &spots(c, &DEPLOYMENTS)?)
}
