//! Hosts that reboot, members that are replaced: the walls stand before anything runs, and nothing
//! is left of those who went.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jaco_it::gate::Gate;
use jaco_it::matrix::{Matrix, echo};
use jaco_it::{Stack, pause, row_of, with_cluster};
use jaco_lab::until;
use serde_json::json;

const ALL: [usize; 3] = [0, 1, 2];

/// Longest time until a loss is known, or something has moved.
const SOON: Duration = Duration::from_secs(60);

/// How long one of engine and daemon is there before the other.
const ALONE: Duration = Duration::from_secs(3);

#[test]
fn nothing_runs_before_the_filter_and_nothing_is_left_of_a_member() -> Result<()> {
    with_cluster("reboot", 3, 3, |c| {
        for name in ["alpha", "beta"] {
            let web = echo(&json!({ "deploy": { "replicas": 3 } }));
            let stack = Stack::new(name, json!({ "services": { "web": web } }))?;
            c.node(0).ok(&["apply", &stack.path()])?;
        }
        let mut matrix = Matrix::new(c, &ALL, &["alpha", "beta"])?;
        let outcome = all_faults(&mut matrix);
        eprintln!("{}", matrix.summary());
        outcome
    })
}

fn all_faults(m: &mut Matrix<'_>) -> Result<()> {
    m.under_watch("reboot, engine first", 0, |m| reboots(m, true))?;
    m.under_watch("reboot, daemon first", 0, |m| reboots(m, false))?;
    m.under_watch("new mesh key", 0, new_mesh_key)?;
    // A host that is no member is as any other outside.
    m.exempt.insert(m.cluster.node(2).host().address());
    m.under_watch("removed by force and joined anew", 0, replaced).map(drop)
}

fn reboots(m: &mut Matrix<'_>, is_engine_first: bool) -> Result<()> {
    let host = m.cluster.node(2).host().clone();
    m.cluster.node_mut(2).daemon().kill()?;
    host.power_off()?;
    let gate = Gate::watch(&host);
    if is_engine_first {
        host.power_on()?;
        pause(ALONE);
        m.cluster.node_mut(2).daemon().start_again()?;
    } else {
        m.cluster.node_mut(2).daemon().start_again()?;
        pause(ALONE);
        host.power_on()?;
    }
    m.cluster.healthy(&ALL)?;
    until("the containers of the host", SOON, || {
        let running = host.engine().get("/containers/json")?;
        Ok((running.as_array().map_or(0, Vec::len) == 2).then_some(()))
    })?;
    let looks = gate.held()?;
    ensure!(looks > 10, "looked {looks} times only");
    Ok(())
}

/// A node whose key is lost gets another one; the others must let go of the old one.
fn new_mesh_key(m: &mut Matrix<'_>) -> Result<()> {
    let key = m.cluster.node(1).daemon_dir().join("keys/wg.key");
    let before = fs::read(&key)?;
    m.cluster.node_mut(1).daemon().kill()?;
    fs::remove_file(&key)?;
    m.cluster.node_mut(1).daemon().start_again()?;
    m.cluster.healthy(&ALL)?;
    ensure!(fs::read(&key)? != before, "the key is the same");
    Ok(())
}

/// A member is removed while it is cut off, learns of it, and joins as another node.
fn replaced(m: &mut Matrix<'_>) -> Result<()> {
    let c = &mut *m.cluster;
    let name = c.node(2).name().to_owned();
    c.lab().isolate(&name)?;
    until("the loss to be known", SOON, || {
        Ok((row_of(&c.node(0).view()?, &name)["status"] == "down").then_some(()))
    })?;
    c.node(0).ok(&["node", "remove", "--force", &name])?;
    for deployment in ["alpha", "beta"] {
        c.node(0).ok(&["wait", deployment, "--timeout", "60s"])?;
    }
    c.lab().heal()?;
    c.node_mut(2).starts_over().context("the removed member")?;
    c.join(2, 0)?;
    c.healthy(&ALL).map(drop)
}
