//! The same network on other releases of Docker Engine, mixed in one cluster, and on one that is
//! upgraded under running deployments.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jaco_it::ground::{Ground, Spot};
use jaco_it::reach::{TCP_PORT, UDP_PORT, check_matrix};
use jaco_it::{Cluster, Container, Run, Stack, Watch, probe, row_of, with_engines};
use jaco_lab::{EngineRelease, until};
use serde_json::{Value, json};

use EngineRelease::{Installed, V26, V28};

const DEPLOYMENTS: [&str; 2] = ["alpha", "beta"];

/// Longest time until what was broken works again. An engine that was killed may come back with a
/// container that neither runs nor has ended, which is noticed when it does not get well.
const REPAIR: Duration = Duration::from_secs(180);

/// What says with which options a network was made.
const REVISION: &str = "jaco.bridge_rev";

#[test]
fn three_releases_in_one_cluster_are_one_network() -> Result<()> {
    with_engines("mixed", &[Installed, V26, V28], one_network)
}

#[test]
fn three_engines_of_the_newest_release_are_one_network() -> Result<()> {
    with_engines("newest", &[V28; 3], one_network)
}

#[test]
fn three_engines_of_the_middle_release_are_one_network() -> Result<()> {
    with_engines("middle", &[V26; 3], one_network)
}

/// A replica on every node, with echoes for both protocols.
fn service(color: &str) -> Value {
    let environment = json!({
        "COLOR": color,
        "PROBE_TCP_PORT": TCP_PORT.to_string(),
        "PROBE_UDP_PORT": UDP_PORT.to_string(),
        "PROBE_TIMEOUT_MS": "800",
    });
    probe(json!({ "environment": environment, "deploy": { "replicas": 3 } }))
}

fn stack(name: &str) -> Result<Stack> {
    Stack::new(name, json!({ "services": { "web": service("blue") } }))
}

fn one_network(c: &mut Cluster) -> Result<()> {
    for name in DEPLOYMENTS {
        c.node(0).ok(&["apply", &stack(name)?.path()])?;
    }
    let all = ground(c)?;
    ensure!(all.spots.len() == 6, "{all:#?}");
    settles(c, &all).context("at first")?;
    names_lead_to_every_engine(c, &all.spots)?;
    ports_are_published_and_none_is_none(c)?;
    files_and_volumes_are_there(c)?;
    the_filter_comes_back(c, &all)?;
    daemons_that_die_cut_nothing(c, &all)?;
    every_engine_may_restart(c)?;
    a_rollout_is_not_noticed(c)?;
    settles(c, &ground(c)?).context("after a rollout")
}

/// Who is where.
fn ground(c: &Cluster) -> Result<Ground> {
    let members: Vec<usize> = (0..c.nodes().len()).collect();
    Ground::survey(c, &members, &DEPLOYMENTS)
}

/// Waits until what is allowed works, and checks that nothing else does.
fn settles(c: &Cluster, all: &Ground) -> Result<()> {
    let mut last = Ok(());
    until("the matrix to hold", REPAIR, || {
        last = check_matrix(c, all).map(drop);
        Ok(last.is_ok().then_some(()))
    })
    .with_context(|| format!("{last:?}"))
}

fn names_lead_to_every_engine(c: &Cluster, all: &[Spot]) -> Result<()> {
    for from in all {
        let own: BTreeSet<Ipv4Addr> =
            all.iter().filter(|to| to.may_reach(from)).map(Spot::address).collect();
        let found = c.node(from.node).exec(&from.id, &["client", "resolve", "web"])?;
        let found: BTreeSet<Ipv4Addr> =
            found.exits(0)?.stdout.lines().filter_map(|line| line.trim().parse().ok()).collect();
        ensure!(found == own, "{} finds {found:?}, not {own:?}", from.replica);
    }
    Ok(())
}

/// A port on every host, each published by its engine, and containers without any network.
fn ports_are_published_and_none_is_none(c: &Cluster) -> Result<()> {
    let everywhere = json!({ "mode": "global" });
    let port = json!({ "target": 8080, "published": 18080, "mode": "host" });
    let door = json!({ "ports": [port], "deploy": everywhere });
    let alone = json!({ "network_mode": "none", "deploy": everywhere });
    let services = json!({ "door": probe(door), "alone": probe(alone) });
    let stack = Stack::new("ports", json!({ "services": services }))?;
    c.node(0).ok(&["apply", &stack.path()])?;
    for node in c.nodes() {
        for target in c.nodes() {
            let url = format!("http://{}:18080/", target.host().address());
            node.get(&url).with_context(|| format!("{} of {}", url, node.name()))?;
        }
        node.post(18_080, "/health/ok").with_context(|| node.name().to_owned())?;
    }
    let found = c.containers("ports")?;
    let alone: Vec<_> = found.iter().filter(|(_, one)| one.service == "alone").collect();
    ensure!(alone.len() == c.nodes().len() && found.len() == 2 * alone.len(), "{found:#?}");
    for (node, one) in alone {
        ensure!(one.address.is_empty() && one.is_ready(), "{one:?}");
        let gateway = c.node(*node).host().address().to_string();
        let dialled =
            c.node(*node).exec(&one.id, &["client", "dial", "tcp", &format!("{gateway}:18080")])?;
        ensure!(dialled.code != Some(0), "a container without a network reaches {gateway}");
    }
    c.node(0).ok(&["delete", "ports"]).map(drop)
}

/// What the engine mounts from the host: a volume that outlives a replacement, and a
/// file of the daemon's.
fn files_and_volumes_are_there(c: &Cluster) -> Result<()> {
    let store = |color: &str| {
        let more = json!({
            "environment": { "COLOR": color },
            "volumes": ["data:/data"],
            "deploy": { "mode": "global" },
        });
        json!({
            "services": { "store": probe(more) },
            "volumes": { "data": {} },
        })
    };
    let stack = Stack::new("files", store("blue"))?;
    c.node(0).ok(&["apply", &stack.path()])?;
    let read = |node: usize, one: &Container, path: &str| {
        c.node(node).get(&format!("http://{}:8080/file?path={path}", one.address))
    };
    for (node, one) in c.containers("files")? {
        let resolver = read(node, &one, "/etc/resolv.conf")?;
        ensure!(resolver.contains("ndots:0"), "{}: {resolver}", c.node(node).name());
        let from = format!("http://{}:8080/file?path=/data/mark", one.address);
        ensure!(read(node, &one, "/data/mark").is_err(), "{from} is there before it is written");
        post(c, node, &one, "/file?path=/data/mark")?;
    }
    stack.write(store("green"))?;
    c.node(0).ok(&["apply", &stack.path()])?;
    for (node, one) in c.containers("files")? {
        read(node, &one, "/data/mark").with_context(|| c.node(node).name().to_owned())?;
    }
    c.node(0).ok(&["delete", "files"]).map(drop)
}

/// Posts nothing to a container, from inside its host.
fn post(c: &Cluster, node: usize, one: &Container, path: &str) -> Result<()> {
    let host = c.node(node).host();
    let head = "HTTP/1.1\\r\\nHost: probe\\r\\nConnection: close\\r\\nContent-Length: 0";
    let script = format!(
        "exec 3<>/dev/tcp/{}/8080; printf 'POST {path} {head}\\r\\n\\r\\n' >&3; head -1 <&3",
        one.address
    );
    let said = Run::of(host.command("bash").args(["-c", &script]))?.exits(0)?.stdout;
    ensure!(said.contains("200"), "{said}");
    Ok(())
}

fn the_filter_comes_back(c: &Cluster, all: &Ground) -> Result<()> {
    for node in c.nodes() {
        Run::of(node.host().command("nft").args(["flush", "ruleset"]))?.exits(0)?;
    }
    for node in c.nodes() {
        until("the filter to come back", REPAIR, || {
            let shown =
                Run::of(node.host().command("nft").args(["list", "table", "inet", "jaco"]))?;
            Ok((shown.code == Some(0)).then_some(()))
        })?;
    }
    settles(c, all).context("after a flush")
}

fn daemons_that_die_cut_nothing(c: &mut Cluster, all: &Ground) -> Result<()> {
    let nodes: Vec<usize> = (0..c.nodes().len()).collect();
    for node in &nodes {
        c.node_mut(*node).daemon().kill()?;
    }
    for from in &all.spots {
        for to in all.spots.iter().filter(|to| to.id != from.id) {
            let address = format!("{}:{TCP_PORT}", to.address());
            let dialled =
                c.node(from.node).exec(&from.id, &["client", "dial", "tcp", &address, "hello"])?;
            let (is_allowed, works) = (from.may_reach(to), dialled.code == Some(0));
            ensure!(is_allowed == works, "without daemons: {from:?} to {to:?}: {dialled:?}");
        }
    }
    for node in &nodes {
        c.node_mut(*node).daemon().start_again()?;
    }
    c.healthy(&nodes)?;
    settles(c, all).context("after new daemons")
}

fn every_engine_may_restart(c: &Cluster) -> Result<()> {
    for node in c.nodes() {
        node.host().stop_engine()?;
        node.host().start_engine()?;
    }
    all_are_ready(c, &DEPLOYMENTS, 6)?;
    settles(c, &ground(c)?).context("after new engines")
}

#[test]
fn engines_of_every_release_may_be_killed() -> Result<()> {
    with_engines("killed", &EngineRelease::ALL, |c| {
        for name in DEPLOYMENTS {
            c.node(0).ok(&["apply", &stack(name)?.path()])?;
        }
        for node in c.nodes() {
            node.host().kill_engine()?;
            node.host().start_engine()?;
        }
        all_are_ready(c, &DEPLOYMENTS, 6)?;
        settles(c, &ground(c)?)
    })
}

fn all_are_ready(c: &Cluster, deployments: &[&str], number: usize) -> Result<()> {
    let mut seen = Vec::new();
    until("all replicas to be ready", REPAIR, || {
        seen.clear();
        for name in deployments {
            seen.extend(c.containers(name)?);
        }
        let ready = seen.iter().filter(|(_, one)| one.is_ready() && !one.address.is_empty());
        Ok((ready.count() == number && seen.len() == number).then_some(()))
    })
    .with_context(|| {
        let rows = c.node(0).api().get("/v1/replicas").unwrap_or_default();
        let log = |(node, _): &(usize, Container)| {
            let log = c.node(*node).host().data_dir().join("dockerd.log");
            std::fs::read_to_string(log).unwrap_or_default()
        };
        let logs = seen.iter().filter(|(_, one)| !one.is_ready()).map(log).collect::<Vec<_>>();
        let last = logs.last().map_or(&[][..], |log| log.as_bytes());
        let tail = String::from_utf8_lossy(&last[last.len().saturating_sub(6_000)..]).into_owned();
        format!("{seen:#?}\n{rows:#}\n{tail}")
    })
}

fn a_rollout_is_not_noticed(c: &Cluster) -> Result<()> {
    let stack = stack("alpha")?;
    stack.write(json!({ "services": { "web": service("green") } }))?;
    let (watch, _) =
        Watch::during(&c.engines(), "alpha", "web", || c.node(0).ok(&["apply", &stack.path()]))?;
    ensure!(watch.lowest >= 3, "{watch:?}");
    // The old ones may still be going.
    all_are_ready(c, &DEPLOYMENTS, 6)?;
    for (node, one) in c.containers("alpha")? {
        let color = c.node(node).get(&format!("http://{}:8080/env?name=COLOR", one.address))?;
        ensure!(color == "green", "{one:?} is {color}");
    }
    Ok(())
}

#[test]
fn an_upgraded_engine_gets_networks_with_its_options() -> Result<()> {
    with_engines("upgraded", &[Installed, Installed, V28], |c| {
        for name in DEPLOYMENTS {
            c.node(0).ok(&["apply", &stack(name)?.path()])?;
        }
        settles(c, &ground(c)?)?;
        for (node, release) in [(0, V26), (1, V28), (0, V28)] {
            let before = revisions(c, node)?;
            c.node(node).host().replace_engine(release)?;
            all_are_ready(c, &DEPLOYMENTS, 6)?;
            settles(c, &ground(c)?).with_context(|| format!("on {release}"))?;
            let after = revisions(c, node)?;
            ensure!(before.len() == 2 && after.len() == 2, "{before:?}, then {after:?}");
            let changed = before.iter().zip(&after).filter(|(old, new)| old != new).count();
            // Only from 28.0 on a network has options of its release.
            let wanted = if release == V28 { 2 } else { 0 };
            ensure!(changed == wanted, "{release}: {before:?}, then {after:?}");
        }
        Ok(())
    })
}

/// The networks keep the options of the old release then, and the new one closes them to the mesh.
#[test]
fn an_engine_is_upgraded_under_containers_that_run() -> Result<()> {
    with_engines("restored", &[Installed, V28], |c| {
        let host = c.node(0).host();
        host.keep_containers()?;
        host.stop_engine()?;
        host.start_engine()?;
        for name in DEPLOYMENTS {
            let mut web = service("blue");
            web["deploy"]["replicas"] = json!(2);
            let stack = Stack::new(name, json!({ "services": { "web": web } }))?;
            c.node(0).ok(&["apply", &stack.path()])?;
        }
        let all = ground(c)?;
        settles(c, &all)?;
        let before = revisions(c, 0)?;
        host.replace_engine(V28)?;
        until("the new engine to be reported", REPAIR, || {
            let view = c.node(1).view()?;
            let version = row_of(&view, host.name())["engine_version"].as_str();
            Ok(version.is_some_and(|version| version.starts_with("28.")).then_some(()))
        })?;
        settles(c, &all).context("with networks of the old engine")?;
        ensure!(ground(c)?.spots == all.spots, "containers were replaced");
        ensure!(revisions(c, 0)? == before, "networks were replaced under their containers");
        // Nobody runs in them any more.
        for one in all.spots.iter().filter(|one| one.node == 0) {
            c.node(0).engine().post(&format!("/containers/{}/kill", one.id), &Value::Null)?;
        }
        all_are_ready(c, &DEPLOYMENTS, 4)?;
        let after = revisions(c, 0)?;
        ensure!(before.iter().zip(&after).all(|(old, new)| old != new), "{before:?}, {after:?}");
        settles(c, &ground(c)?).context("with networks of the new engine")
    })
}

/// What the networks of the deployments on a node were made with.
fn revisions(c: &Cluster, node: usize) -> Result<Vec<String>> {
    let read = |name: &&str| {
        let network = c.node(node).engine().get(&format!("/networks/jaco_{name}__default"))?;
        let revision = network["Labels"][REVISION].as_str().map(str::to_owned);
        revision.with_context(|| format!("{network:#}"))
    };
    DEPLOYMENTS.iter().map(read).collect()
}
