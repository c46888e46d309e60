//! What happens when containers do not do what they should.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jaco_it::{IMAGE, Node, Stack, list, probe, quick_update, with_node};
use jaco_lab::until;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(30);

/// A service whose process ends.
fn job(ms: u32, code: u8, more: Value) -> Value {
    let mut job = json!({
        "image": IMAGE,
        "pull_policy": "never",
        "command": ["job", ms.to_string(), code.to_string()],
        "deploy": { "update_config": quick_update() },
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        job[key] = value.clone();
    }
    job
}

fn web(color: &str, more: Value) -> Value {
    let mut web = probe(json!({ "environment": { "COLOR": color }, "deploy": { "replicas": 2 } }));
    for (key, value) in more.as_object().into_iter().flatten() {
        web[key] = value.clone();
    }
    json!({ "services": { "web": web } })
}

fn ids(c: &Node) -> Result<Vec<String>> {
    Ok(c.containers("shop")?.into_iter().map(|container| container.id).collect())
}

#[test]
fn a_revision_that_does_not_work_is_rolled_back() -> Result<()> {
    with_node("rollback", |c| {
        let stack = Stack::new("shop", web("blue", json!({})))?;
        c.ok(&["apply", &stack.path()])?;
        let before = ids(c)?;
        let sick = json!({
            "test": ["CMD", "/probe", "check", "http://127.0.0.1:8080/status/500"],
            "interval": "200ms", "timeout": "2s", "retries": 2,
        });
        let broken = [
            json!({ "command": ["job", "100", "3"] }),
            json!({ "healthcheck": sick, "x-jaco": { "start_limit": "3s" } }),
        ];
        for (n, change) in broken.into_iter().enumerate() {
            stack.write(web(&format!("broken-{n}"), change))?;
            let run = c.json(&["apply", &stack.path()])?.exits(4)?;
            ensure!(run.error()?["code"] == "rolled_back", "{run:?}");
            let answer = run.json()?;
            let back = &answer["rollback"];
            ensure!(back["restored_revision"].as_u64().is_some(), "{answer:#}");
            ensure!(back["reason"]["code"].is_string(), "{answer:#}");
            c.ok(&["wait", "shop"])?;
            until("the failed revision's containers to go", SOON, || {
                let now = ids(c)?;
                ensure!(before.iter().all(|id| now.contains(id)), "what worked was touched");
                Ok((now == before).then_some(()))
            })?;
        }
        let history = c.ok(&["history", "shop"])?;
        let statuses = list(&history)?.iter().map(|row| row["status"].as_str().unwrap_or(""));
        let statuses: Vec<_> = statuses.collect();
        ensure!(
            statuses == ["active", "rolled_back", "superseded", "rolled_back", "superseded"],
            "{history:#}"
        );
        Ok(())
    })
}

#[test]
fn an_image_that_is_not_there_is_named() -> Result<()> {
    with_node("image", |c| {
        let stack = Stack::new("shop", web("blue", json!({})))?;
        c.ok(&["apply", &stack.path()])?;
        let (before, index) = (ids(c)?, c.raft_index()?);
        for policy in ["never", "always", "missing"] {
            let image = json!({ "image": "jaco-nowhere:1", "pull_policy": policy });
            stack.write(web("green", image))?;
            let error = c.fails(1, &["apply", &stack.path()])?;
            ensure!(error["code"] == "image_pull_failed", "{policy}: {error}");
            let image = error["details"]["image"].as_str().unwrap_or_default();
            ensure!(image.contains("jaco-nowhere:1"), "{policy}: {error}");
            ensure!(error["details"]["reason"].is_string(), "{policy}: {error}");
        }
        ensure!(ids(c)? == before && c.raft_index()? == index, "a refused apply left something");
        Ok(())
    })
}

#[test]
fn processes_that_end_are_treated_by_their_policy() -> Result<()> {
    with_node("policy", |c| {
        let services = json!({
            "loop": job(100, 3, json!({})),
            "once": job(100, 7, json!({ "restart": "no" })),
            "thrice": job(100, 5, json!({ "restart": "on-failure:2" })),
        });
        let stack = Stack::new("shop", json!({ "services": services }))?;
        c.ok(&["apply", &stack.path(), "--detach"])?;

        let once = c.replica_until("shop-once-0", SOON, |row| row["state"] == "failed")?;
        ensure!(once["code"] == "container_exited", "{once:#}");
        ensure!(once["details"]["exit_code"] == "7" && once["restart_count"] == 0, "{once:#}");

        let thrice = c.replica_until("shop-thrice-0", SOON, |row| row["state"] == "failed")?;
        ensure!(thrice["code"] == "restart_exhausted", "{thrice:#}");
        ensure!(thrice["restart_count"] == 2, "{thrice:#}");

        let waits = |row: &Value| {
            row["code"] == "container_exited"
                && row["restart_count"].as_u64() >= Some(2)
                && row["state"] == "pending"
        };
        let endless = c.replica_until("shop-loop-0", SOON, waits)?;
        ensure!(endless["details"]["exit_code"] == "3", "{endless:#}");
        ensure!(endless["details"]["next_attempt_at"].is_string(), "{endless:#}");
        let container = c.container("shop", "loop")?;
        ensure!(container.generation == 1, "a restart in place took a new generation");
        Ok(())
    })
}

#[test]
fn a_replica_that_turns_unhealthy_is_restarted() -> Result<()> {
    with_node("sick", |c| {
        let web = probe(json!({ "ports": ["18080:8080"] }));
        let stack = Stack::new("shop", json!({ "services": { "web": web } }))?;
        c.ok(&["apply", &stack.path()])?;
        let before = c.container("shop", "web")?;
        c.post(18_080, "/health/fail")?;
        let sick = c.replica_until("shop-web-0", SOON, |row| row["state"] == "degraded")?;
        ensure!(sick["code"] == "unhealthy", "{sick:#}");
        let status = c.ok(&["status", "shop"])?;
        let details = &status["deployments"][0]["status_details"];
        ensure!(details["reason"] == "unhealthy", "{status:#}");
        let limit = Duration::from_secs(60);
        let well = |row: &Value| row["state"] == "running" && row["restart_count"] == 1;
        c.replica_until("shop-web-0", limit, well)?;
        ensure!(c.container("shop", "web")?.id == before.id, "it was replaced, not restarted");

        // A process that ends by itself comes back in the same container.
        c.post(18_080, "/exit?code=9")?;
        let again = |row: &Value| row["state"] == "running" && row["restart_count"] == 2;
        c.replica_until("shop-web-0", limit, again)?;
        ensure!(c.container("shop", "web")?.id == before.id, "it was replaced, not restarted");
        Ok(())
    })
}

#[test]
fn dependencies_are_waited_for() -> Result<()> {
    with_node("depends", |c| {
        let check = ["CMD", "/probe", "check", "http://127.0.0.1:8080/ready"];
        let database = json!({
            "environment": { "PROBE_READY_AFTER_MS": "2000" },
            "healthcheck": { "test": check },
        });
        let app = json!({ "depends_on": {
            "database": { "condition": "service_healthy" },
            "migrate": { "condition": "service_completed_successfully" },
            "cache": { "condition": "service_started" },
        }});
        let migrate = json!({
            "restart": "no",
            "depends_on": { "database": { "condition": "service_healthy" } },
        });
        let services = json!({
            "app": probe(app), "database": probe(database), "cache": probe(json!({})),
            "migrate": job(500, 0, migrate),
        });
        let stack = Stack::new("shop", json!({ "services": services }))?;
        c.ok(&["apply", &stack.path(), "--detach"])?;
        let held = |row: &Value| row["code"] == "depends_on_unmet";
        c.replica_until("shop-app-0", SOON, held)?;
        let done = |row: &Value| row["state"] == "running";
        c.replica_until("shop-app-0", SOON, done)?;

        let engine = c.engine();
        let time = |service: &str, key: &str| -> Result<String> {
            let mut rows = engine.containers()?;
            rows.retain(|row| row["Labels"]["jaco.service"] == service);
            let id = rows[0]["Id"].as_str().context("no id")?.to_owned();
            let state = engine.inspect(&id)?["State"][key].clone();
            Ok(state.as_str().context("no time")?.to_owned())
        };
        let app = time("app", "StartedAt")?;
        ensure!(time("cache", "StartedAt")? < app, "cache was not started before");
        ensure!(time("migrate", "FinishedAt")? < app, "migrate had not ended");
        ensure!(time("database", "StartedAt")? < time("migrate", "StartedAt")?);
        Ok(())
    })
}
