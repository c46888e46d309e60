//! `jaco why` over real networks: what holds, what a wall denies, and what was broken on purpose.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jaco_it::ground::{Spot, spots};
use jaco_it::reach::TCP_PORT;
use jaco_it::{Cluster, Run, Stack, probe, with_cluster};
use jaco_lab::until;
use serde_json::{Value, json};

/// Longest time until something that was broken or mended is seen.
const SEEN: Duration = Duration::from_secs(60);

fn stack(name: &str, replicas: u32) -> Result<Stack> {
    let environment = json!({ "PROBE_TCP_PORT": TCP_PORT.to_string() });
    let web = json!({ "environment": environment, "deploy": { "replicas": replicas } });
    Stack::new(name, json!({ "services": { "web": probe(web) } }))
}

#[test]
fn a_way_and_a_name_are_explained_as_they_are() -> Result<()> {
    with_cluster("why", 2, 2, |c| {
        c.node(0).ok(&["apply", &stack("alpha", 2)?.path()])?;
        c.node(0).ok(&["apply", &stack("beta", 1)?.path()])?;
        let all = spots(c, &["alpha", "beta"])?;
        let find = |scope: &str, node: Option<usize>| {
            let is = |spot: &&Spot| spot.deployment == scope && node.is_none_or(|n| n == spot.node);
            all.iter().find(is).cloned().with_context(|| format!("{scope} {node:?}: {all:#?}"))
        };
        let (near, far, stranger) =
            (find("alpha", Some(0))?, find("alpha", Some(1))?, find("beta", None)?);
        what_is_allowed_is_open(c, &near, &far)?;
        a_name_is_what_the_responder_says(c, &near, &far)?;
        a_wall_is_a_wall(c, &near, &stranger)?;
        replicas_and_nodes_are_well(c, &far)?;
        what_does_not_exist_is_refused(c, &near)?;
        a_filter_that_is_taken_away_is_seen(c, &near, &far)?;
        a_tunnel_that_carries_nothing_is_found(c, &near, &far)?;
        a_node_that_is_away_is_a_link(c, &near, &far)
    })
}

/// The answer once it is good, which it becomes when the network has settled.
fn well(c: &Cluster, args: &[&str]) -> Result<Value> {
    let mut last = Value::Null;
    until("a chain that holds", SEEN, || {
        last = c.node(0).ok(args)?;
        Ok((last["ok"] == true).then(|| last.clone()))
    })
    .with_context(|| format!("{last:#}"))
}

/// A link of a chain.
fn link<'v>(view: &'v Value, step: &str) -> Result<&'v Value> {
    let chain = view["chain"].as_array().context("no chain")?;
    chain.iter().find(|link| link["step"] == step).with_context(|| format!("no {step}: {view:#}"))
}

/// The first link that does not hold.
fn broken(view: &Value) -> Option<&Value> {
    view["chain"].as_array()?.iter().find(|link| link["ok"] == false)
}

fn dials(c: &Cluster, from: &Spot, to: &Spot) -> Result<bool> {
    let address = format!("{}:{TCP_PORT}", to.address());
    let run = c.node(from.node).exec(&from.id, &["client", "dial", "tcp", &address, "hello"])?;
    Ok(run.code == Some(0))
}

fn what_is_allowed_is_open(c: &Cluster, from: &Spot, to: &Spot) -> Result<()> {
    let target = format!("{}:{TCP_PORT}", to.replica);
    let view = well(c, &["why", "path", &from.replica, &target])?;
    ensure!(view["kind"] == "path" && view["summary"] == "allowed and open", "{view:#}");
    for (step, node) in [
        ("source_filter", from.node),
        ("source_mesh", from.node),
        ("target_mesh", to.node),
        ("target_filter", to.node),
        ("target_bridge", to.node),
        ("target_container", to.node),
    ] {
        ensure!(link(&view, step)?["source"] == c.node(node).name(), "{view:#}");
    }
    let addresses = link(&view, "addresses")?["detail"].to_string();
    ensure!(addresses.contains(&to.address().to_string()), "{addresses}");
    ensure!(dials(c, from, to)?, "said to be open, and is not");
    // The other member says the same.
    let other = c.node(1).ok(&["why", "path", &from.replica, &target])?;
    ensure!(other["ok"] == true, "{other:#}");
    print(c, &["why", "path", &from.replica, &target])
}

fn a_name_is_what_the_responder_says(c: &Cluster, from: &Spot, to: &Spot) -> Result<()> {
    let view = well(c, &["why", "name", "web", "--from", &from.replica])?;
    let said = link(&view, "answer")?["detail"].to_string();
    let found = c.node(from.node).exec(&from.id, &["client", "resolve", "web"])?.exits(0)?.stdout;
    for address in [from.address(), to.address()].map(|address| address.to_string()) {
        ensure!(said.contains(&address) && found.contains(&address), "{said}\n{found}");
    }
    let wrong = c.node(0).ok(&["why", "name", "wbe", "--from", &from.replica])?;
    ensure!(broken(&wrong).context("wbe")?["code"] == "unknown_name", "{wrong:#}");
    ensure!(wrong["hint"] == "did you mean web?", "{wrong:#}");
    let outside = ["why", "name", "example.org", "--from", &from.replica];
    let view = c.node(0).ok(&outside)?;
    ensure!(link(&view, "name")?["ok"] == true && link(&view, "answer").is_ok(), "{view:#}");
    print(c, &outside)?;
    print(c, &["why", "name", "web", "--from", &from.replica])
}

fn a_wall_is_a_wall(c: &Cluster, from: &Spot, to: &Spot) -> Result<()> {
    let target = format!("{}:{TCP_PORT}", to.replica);
    let view = c.node(0).ok(&["why", "path", &from.replica, &target])?;
    let wall = broken(&view).context("a wall")?;
    ensure!(wall["step"] == "network" && wall["code"] == "cross_scope", "{view:#}");
    ensure!(link(&view, "source_filter")?["ok"] == true, "the wall does not stand: {view:#}");
    ensure!(!dials(c, from, to)?, "said to be denied, and is open");
    let name = c.node(0).ok(&["why", "name", "web.beta.jaco.internal", "--from", &from.replica])?;
    ensure!(broken(&name).context("a wall")?["step"] == "networks", "{name:#}");
    ensure!(link(&name, "answer")?["code"] == "dns_no_name", "{name:#}");
    print(c, &["why", "path", &from.replica, &target])
}

fn replicas_and_nodes_are_well(c: &Cluster, spot: &Spot) -> Result<()> {
    let view = well(c, &["why", &spot.replica])?;
    ensure!(view["kind"] == "replica", "{view:#}");
    for step in ["manifest", "scheduling", "pull", "start", "health", "filter", "names"] {
        link(&view, step)?;
    }
    let view = well(c, &["why", c.node(1).name()])?;
    ensure!(view["kind"] == "node", "{view:#}");
    print(c, &["why", &spot.replica])?;
    print(c, &["why", c.node(1).name()])
}

fn what_does_not_exist_is_refused(c: &Cluster, spot: &Spot) -> Result<()> {
    let error = c.node(0).fails(1, &["why", "alpha-wbe-0"])?;
    ensure!(error["code"] == "not_found", "{error:#}");
    ensure!(error["details"]["suggestion"].is_string(), "{error:#}");
    c.node(0).fails(2, &["why", "path", &spot.replica, "alpha-web-0:http"]).map(drop)
}

/// The table is deleted again and again, faster than the daemon can write it: a look in between
/// finds none, or that it was changed.
fn a_filter_that_is_taken_away_is_seen(c: &Cluster, from: &Spot, to: &Spot) -> Result<()> {
    let args = ["why", "path", &from.replica, &to.replica];
    let host = c.node(to.node).host();
    let is_over = AtomicBool::new(false);
    let mut last = Value::Null;
    let seen = thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                // It may be away just now, and then there is nothing to delete.
                let _ = Run::of(host.command("nft").args(["delete", "table", "inet", "jaco"]));
            }
        });
        let seen = until("a missing filter to be seen", SEEN, || {
            last = c.node(0).ok(&args)?;
            let link = broken(&last).filter(|link| link["step"] == "target_filter");
            Ok(link.is_some_and(|link| link["code"] == "isolation_unavailable").then_some(()))
        });
        is_over.store(true, Ordering::Relaxed);
        seen
    });
    seen.with_context(|| format!("{last:#}"))?;
    well(c, &args).map(drop)
}

/// Packets of the tunnel are dropped on one host, while its daemon answers as before.
fn a_tunnel_that_carries_nothing_is_found(c: &Cluster, from: &Spot, to: &Spot) -> Result<()> {
    let host = c.node(to.node).host();
    let rules = "table inet cut {\n chain in {\n type filter hook input priority -300;\n \
                 udp dport 51820 drop\n }\n}";
    Run::of(host.command("nft").arg(rules))?.exits(0)?;
    let args = ["why", "path", &from.replica, &to.replica];
    let mut last = Value::Null;
    let seen = until("a broken tunnel to be seen", SEEN, || {
        last = c.node(0).ok(&args)?;
        let code = broken(&last).map(|link| link["code"].clone()).unwrap_or_default();
        Ok((code == "mesh_dead" || code == "mesh_one_way").then_some(()))
    })
    .with_context(|| format!("{last:#}"));
    let shown = print(c, &args);
    Run::of(host.command("nft").args(["delete", "table", "inet", "cut"]))?.exits(0)?;
    seen.and(shown)?;
    ensure!(last["hint"].as_str().is_some_and(|hint| hint.contains("51820")), "{last:#}");
    well(c, &args).map(drop)
}

fn a_node_that_is_away_is_a_link(c: &mut Cluster, from: &Spot, to: &Spot) -> Result<()> {
    c.node_mut(to.node).daemon().kill()?;
    let args = ["why", "path", &from.replica, &to.replica];
    let view = c.node(0).ok(&args)?;
    let first = broken(&view).context("a node that is away")?;
    let code = first["code"].as_str().unwrap_or_default();
    ensure!(["node_unreachable", "node_down"].contains(&code), "{view:#}");
    let name = ["why", "name", "web", "--from", &from.replica];
    let mut last = Value::Null;
    until("the lost replica to leave the name", SEEN, || {
        last = c.node(0).ok(&name)?;
        let told = link(&last, "replicas")?["detail"].to_string();
        let said = link(&last, "answer")?["detail"].to_string();
        let is_gone = !said.contains(&to.address().to_string());
        Ok((told.contains("taken for dead") && is_gone).then_some(()))
    })
    .with_context(|| format!("{last:#}"))?;
    print(c, &args)?;
    print(c, &name)?;
    c.node_mut(to.node).daemon().start_again()
}

/// Shows the answer as people see it, to whoever runs the test with its output.
#[expect(clippy::print_stdout, reason = "for people who read what a test did")]
fn print(c: &Cluster, args: &[&str]) -> Result<()> {
    let run = c.node(0).jaco(args)?.exits(0)?;
    println!("$ jaco {}\n{}", args.join(" "), run.stdout);
    Ok(())
}
