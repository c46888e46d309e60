//! The daemon and the engine come and go; containers stay.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jaco_it::{Container, IMAGE, Node, Stack, pause, probe, with_node};
use jaco_lab::until;
use serde_json::{Value, json};

/// How long an idle daemon is watched: a scheduled pass or a late report would show.
const IDLE: Duration = Duration::from_secs(5);

const SOON: Duration = Duration::from_secs(60);

/// A deployment with two services, and its containers.
fn settled(c: &Node) -> Result<Vec<Container>> {
    let web = probe(json!({ "deploy": { "replicas": 3 } }));
    let store = probe(json!({ "volumes": ["data:/data"] }));
    let services = json!({ "web": web, "store": store });
    let stack = Stack::new("shop", json!({ "services": services, "volumes": { "data": {} } }))?;
    c.ok(&["apply", &stack.path()])?;
    let containers = c.containers("shop")?;
    ensure!(containers.len() == 4, "{containers:#?}");
    Ok(containers)
}

fn started(c: &Node, containers: &[Container]) -> Result<Vec<Value>> {
    let time = |one: &Container| Ok(c.engine().inspect(&one.id)?["State"]["StartedAt"].clone());
    containers.iter().map(time).collect()
}

/// The index that the log keeps while nothing happens.
fn idle_index(c: &Node) -> Result<u64> {
    let index = c.raft_index()?;
    pause(IDLE);
    let now = c.raft_index()?;
    ensure!(now == index, "{} entries were written in {IDLE:?} of rest", now - index);
    Ok(index)
}

#[test]
fn a_daemon_that_comes_back_touches_nothing() -> Result<()> {
    with_node("daemon", |c| {
        let before = settled(c)?;
        let times = started(c, &before)?;
        for kill in [false, true, true] {
            let index = c.raft_index()?;
            if kill {
                c.daemon().kill()?
            } else {
                c.daemon().stop()?
            }
            ensure!(c.fails(1, &["status"])?["code"] == "unreachable");
            ensure!(c.containers("shop")? == before, "the daemon's end changed containers");
            c.daemon().start_again()?;
            c.wait_until_ready()?;
            c.ok(&["wait", "shop", "--timeout", "20s"])?;
            // The leader of a new term writes one empty entry.
            let entries = c.raft_index()? - index;
            ensure!(entries <= 1, "{entries} entries after a restart");
        }
        idle_index(c)?;
        ensure!(c.containers("shop")? == before, "containers changed");
        ensure!(started(c, &before)? == times, "containers were restarted");
        Ok(())
    })
}

#[test]
fn what_happened_while_the_daemon_was_away_is_made_good() -> Result<()> {
    with_node("away", |c| {
        let before = settled(c)?;
        c.daemon().kill()?;
        let engine = c.engine();
        engine.post(&format!("/containers/{}/kill", before[0].id), &Value::Null)?;
        engine.remove(&before[1].id)?;
        c.daemon().start_again()?;
        until("four ready containers", SOON, || {
            let now = c.containers("shop")?;
            Ok((now.iter().filter(|one| one.is_ready()).count() == 4).then_some(()))
        })?;
        c.ok(&["wait", "shop", "--timeout", "30s"])?;
        let now = c.containers("shop")?;
        ensure!(now.len() == 4, "{now:#?}");
        ensure!(now[0].id == before[0].id, "a killed container was recreated");
        ensure!(now[1].id != before[1].id && now[2..] == before[2..], "{now:#?}");
        Ok(())
    })
}

#[test]
fn an_engine_that_comes_back_gets_its_containers_back() -> Result<()> {
    with_node("engine", |c| {
        let before = settled(c)?;
        let foreign = foreign(c, "foreign", json!({}))?;
        let pid = c.daemon().pid();
        for kill in [false, true] {
            if kill {
                let pid = c.host().engine_pid()?.to_string();
                ensure!(c.host().command("kill").args(["-9", &pid]).status()?.success());
                until("the engine's end", SOON, || {
                    Ok(c.host().engine_pid().is_err().then_some(()))
                })?;
            } else {
                c.host().stop_engine()?;
            }
            c.host().start_engine()?;
            until("all containers to be ready", SOON, || {
                let now = c.containers("shop")?;
                Ok((now.iter().filter(|one| one.is_ready()).count() == 4).then_some(()))
            })
            .with_context(|| format!("{:#?}", c.containers("shop")))?;
            c.ok(&["wait", "shop", "--timeout", "30s"])?;
            let now = c.containers("shop")?;
            let ids = |list: &[Container]| list.iter().map(|c| c.id.clone()).collect::<Vec<_>>();
            ensure!(ids(&now) == ids(&before), "containers were recreated: {now:#?}");
            ensure!(c.daemon().pid() == pid, "the daemon ended");
        }
        let inspected = c.engine().inspect("foreign")?;
        ensure!(inspected["Id"] == foreign.as_str(), "{inspected:#}");
        ensure!(inspected["State"]["Running"] == false, "a foreign container was started");
        idle_index(c)?;
        Ok(())
    })
}

/// A running container that the product did not make.
fn foreign(c: &Node, name: &str, labels: Value) -> Result<String> {
    let body = json!({ "Image": IMAGE, "Labels": labels });
    let made = c.engine().post(&format!("/containers/create?name={name}"), &body)?;
    c.engine().post(&format!("/containers/{name}/start"), &Value::Null)?;
    Ok(made["Id"].as_str().context("no id")?.to_owned())
}

#[test]
fn orphans_go_and_foreign_containers_stay() -> Result<()> {
    with_node("orphans", |c| {
        let before = settled(c)?;
        let own = c.engine().inspect(&before[0].id)?["Config"]["Labels"].clone();
        let with = |key: &str, value: &str| {
            let mut labels = own.clone();
            labels[key] = json!(value);
            labels
        };
        let unlabelled = foreign(c, "unlabelled", json!({}))?;
        let cousin = foreign(c, "cousin", with("jaco.cluster_id", "another-cluster"))?;
        // One while the daemon runs, one while it is away.
        foreign(c, "orphan-1", with("jaco.generation", "99"))?;
        until("the orphan to be removed", SOON, || {
            Ok(c.engine().inspect("orphan-1").is_err().then_some(()))
        })?;
        c.daemon().kill()?;
        foreign(c, "orphan-2", with("jaco.replica_id", "shop-web-77"))?;
        c.daemon().start_again()?;
        until("the orphan to be removed", SOON, || {
            Ok(c.engine().inspect("orphan-2").is_err().then_some(()))
        })?;
        for (name, id) in [("unlabelled", unlabelled), ("cousin", cousin)] {
            let inspected = c.engine().inspect(name)?;
            ensure!(inspected["Id"] == id.as_str() && inspected["State"]["Running"] == true);
        }
        c.engine().remove("cousin")?;
        ensure!(c.containers("shop")? == before, "own containers changed");
        Ok(())
    })
}
