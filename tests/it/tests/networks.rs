//! Several networks in one deployment, closed ones, and names that differ by a separator only.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jaco_it::ground::Spot;
use jaco_it::matrix::{Matrix, echo};
use jaco_it::reach::UDP_PORT;
use jaco_it::{Cluster, Run, Stack, pause, with_cluster};
use serde_json::{Value, json};

const DEPLOYMENTS: [&str; 4] = ["a", "a-b", "closed", "multi"];

/// A replica on each host.
fn service(networks: &[&str]) -> Value {
    echo(&json!({ "networks": networks, "deploy": { "replicas": 2 } }))
}

/// One on the first host.
fn at_home(networks: &[&str]) -> Value {
    let here = json!({ "constraints": ["node.hostname == node-1"] });
    echo(&json!({ "networks": networks, "deploy": { "placement": here } }))
}

#[test]
fn each_network_is_a_world_of_its_own() -> Result<()> {
    with_cluster("networks", 2, 2, |c| {
        // Whichever network its default route leads through, one of its neighbours is elsewhere.
        let (web, edge, db) =
            (service(&["front"]), at_home(&["front", "back"]), service(&["back"]));
        let other = json!({ "services": { "web": service(&["c"]) }, "networks": { "c": {} } });
        let stacks = [
            ("a", json!({ "services": { "web": service(&["b_c"]) }, "networks": { "b_c": {} } })),
            ("a-b", other.clone()),
            (
                "closed",
                json!({
                    "services": { "db": service(&["back"]) },
                    "networks": { "back": { "internal": true } },
                }),
            ),
            (
                "multi",
                json!({
                    "services": { "web": web, "edge": edge, "db": db },
                    "networks": { "front": {}, "back": { "internal": true } },
                }),
            ),
        ];
        for (name, stack) in stacks {
            c.node(0).ok(&["apply", &Stack::new(name, stack)?.path()])?;
        }
        // It would have a network of the first one's name in the engine.
        let twin = Stack::new("a_b", other)?;
        let refused = c.node(0).fails(1, &["apply", &twin.path()])?;
        ensure!(refused["code"] == "name_collision", "{refused:#}");
        let mut m = Matrix::survey(c, &[0, 1], &DEPLOYMENTS)?;
        ensure!(m.ground.spots.len() == 11, "{:#?}", m.ground.spots);
        m.ground.internal = ["jaco_closed_back", "jaco_multi_back"].map(str::to_owned).into();
        let outcome = all(&mut m);
        eprintln!("{}", m.summary());
        outcome
    })
}

fn all(m: &mut Matrix<'_>) -> Result<()> {
    m.settle()?;
    m.rest(Duration::from_secs(2))?;
    m.under_watch("engine restarted", 0, |m| {
        let host = m.cluster.node(1).host();
        host.stop_engine()?;
        host.start_engine()
    })?;
    nothing_goes_by_ipv6(m.cluster, &m.ground.spots)
}

/// Containers that have link-local addresses all the same reach nobody but those on their bridge.
fn nothing_goes_by_ipv6(c: &Cluster, spots: &[Spot]) -> Result<()> {
    let mut known = Vec::new();
    for spot in spots {
        let enable = "echo 0 > /proc/sys/net/ipv6/conf/all/disable_ipv6; \
                      echo 0 > /proc/sys/net/ipv6/conf/eth0/disable_ipv6; \
                      ip -6 -o addr show dev eth0 scope link";
        let namespace = format!("--net=/proc/{}/ns/net", spot.pid);
        let shown = Run::of(
            std::process::Command::new("nsenter").args([&namespace, "--", "sh", "-c", enable]),
        )?;
        let shown = shown.exits(0)?.stdout;
        let address = shown.split_whitespace().nth(3).and_then(|net| net.split('/').next());
        known.push((spot, address.with_context(|| format!("no IPv6: {shown}"))?.to_owned()));
    }
    // Duplicate address detection takes a second.
    pause(Duration::from_secs(3));
    for (from, _) in &known {
        let others = known.iter().filter(|(to, _)| to.node != from.node || !to.may_reach(from));
        let targets: Vec<String> =
            others.map(|(_, address)| format!("udp:{address}%eth0:{UDP_PORT}")).collect();
        let args: Vec<&str> =
            ["client", "try"].into_iter().chain(targets.iter().map(String::as_str)).collect();
        let tried = Run::of(from.beside(c, &args).env("PROBE_TIMEOUT_MS", "1000"))?.exits(0)?;
        ensure!(!tried.stdout.contains("ok "), "{} by IPv6: {}", from.replica, tried.stdout);
    }
    Ok(())
}
