//! Networks that deployments share, name servers of a service, and pools that hosts use already.

use anyhow::{Result, ensure};
use jaco_it::{Cluster, Stack, probe, with_cluster};
use serde_json::json;

#[test]
fn a_shared_network_is_open_to_its_guests_and_nothing_else_is() -> Result<()> {
    with_cluster("sharing", 2, 2, |c| {
        let front = json!({ "front": { "x-jaco": { "shared": ["guest"] } } });
        let shop = Stack::new(
            "shop",
            json!({
                "services": {
                    // On every node, so that one is on another host than the guest.
                    "web": probe(json!({ "networks": ["front"], "deploy": { "mode": "global" } })),
                    "store": probe(json!({})),
                },
                "networks": front,
            }),
        )?;
        let guest = guest("guest")?;
        let early = c.node(0).jaco(&["apply", &guest.path()])?;
        ensure!(early.code == Some(1) && early.stderr.contains("unknown_network"), "{early:?}");
        c.node(0).ok(&["apply", &shop.path()])?;
        c.node(1).ok(&["apply", &guest.path()])?;
        let stranger = c.node(0).jaco(&["apply", &self::guest("stranger")?.path()])?;
        ensure!(stranger.code == Some(1) && stranger.stderr.contains("forbidden"), "{stranger:?}");

        let pages = |c: &Cluster, node: usize, id: &str, name: &str| {
            let page = format!("http://{name}:8080/");
            c.node(node).exec(id, &["client", "get", &page])
        };
        let guests = c.containers("guest")?;
        ensure!(guests.len() == 2, "{guests:#?}");
        for (node, one) in &guests {
            let found = c.node(*node).exec(&one.id, &["client", "resolve", "web"])?.exits(0)?;
            ensure!(found.stdout.lines().count() == 2, "a web of each node: {found:?}");
            pages(c, *node, &one.id, "web")?.exits(0)?;
            pages(c, *node, &one.id, "web.shop.jaco.internal")?.exits(0)?;
            let store =
                c.node(*node).exec(&one.id, &["client", "resolve", "store.shop.jaco.internal"])?;
            ensure!(store.code != Some(0), "the other network of the owner is open: {store:?}");
        }
        for (node, one) in c.containers("shop")? {
            let own = if one.service == "web" { 0 } else { 1 };
            let found = c.node(node).exec(&one.id, &["client", "resolve", "caller"])?;
            ensure!(found.code.is_some_and(|code| (code != 0) == (own != 0)), "{one:?}: {found:?}");
        }

        let kept = c.node(0).jaco(&["delete", "shop", "--yes"])?;
        ensure!(kept.code == Some(1) && kept.stderr.contains("in_use"), "{kept:?}");
        c.node(0).ok(&["delete", "guest", "--yes"])?;
        c.node(0).ok(&["delete", "shop", "--yes"])?;
        Ok(())
    })
}

/// A deployment on every node in the shared network; its own name servers do not hide names.
fn guest(name: &str) -> Result<Stack> {
    let caller = json!({
        "networks": ["theirs"],
        "dns": ["192.0.2.53"],
        "deploy": { "mode": "global" },
    });
    Stack::new(
        name,
        json!({
            "services": { "caller": probe(caller) },
            "networks": { "theirs": { "external": true, "name": "shop/front" } },
        }),
    )
}

#[test]
fn a_pool_that_a_host_uses_is_left_alone() -> Result<()> {
    with_cluster("pools", 2, 0, |c| {
        let add = |c: &Cluster, node: usize, net: &str| {
            let host = c.node(node).host();
            let added =
                jaco_it::Run::of(host.command("ip").args(["route", "add", net, "dev", "lo"]))?;
            added.exits(0).map(drop)
        };
        add(c, 0, "10.82.0.0/16")?;
        let begun = c.node(0).jaco(&["cluster", "init", "--no-systemd-enable"])?.exits(0)?;
        let told = "addresses:  10.64.0.0/12 (this host has 10.82.0.0/16 on lo)";
        ensure!(begun.stdout.contains(told), "{begun:?}");
        add(c, 0, "10.70.0.0/24")?;
        jaco_lab::until("the conflict to be told", std::time::Duration::from_secs(40), || {
            let shown = c.node(0).jaco(&["cluster", "status"])?.exits(0)?;
            Ok(shown.stdout.contains("POOL_CONFLICT").then_some(()))
        })?;
        let stack = Stack::new("late", json!({ "services": { "web": probe(json!({})) } }))?;
        let refused = c.node(0).jaco(&["apply", "--timeout", "3s", &stack.path()])?;
        ensure!(refused.code != Some(0), "{refused:?}");
        let why = c.node(0).json(&["status", "late"])?;
        ensure!(why.stdout.contains("pool_conflict"), "{why:?}");
        Ok(())
    })
}
