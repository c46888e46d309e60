//! The whole life of a stack through the command line: exit codes, and the keys of the answers.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jaco_it::{Container, Node, Stack, has_keys, list, only, probe, with_node};
use jaco_lab::until;
use serde_json::{Value, json};

/// A web service with a color and a store with a volume.
fn shop(color: &str, replicas: u32) -> Value {
    let web = json!({
        "environment": { "COLOR": color },
        "deploy": { "replicas": replicas },
        "depends_on": { "store": { "condition": "service_healthy" } },
    });
    json!({
        "services": { "web": probe(web), "store": probe(json!({ "volumes": ["data:/data"] })) },
        "volumes": { "data": {} },
    })
}

/// The containers of a service once there are so many; replaced ones take a moment to leave.
fn of_service(c: &Node, service: &str, count: usize) -> Result<Vec<Container>> {
    let mut found = Vec::new();
    until("exactly the wanted containers", Duration::from_secs(30), || {
        found = c.containers("shop")?;
        found.retain(|container| container.service == service);
        Ok((found.len() == count).then_some(()))
    })
    .with_context(|| format!("{count} wanted: {:#?}", c.containers("shop")))?;
    Ok(found)
}

fn ids(c: &Node, service: &str, count: usize) -> Result<Vec<String>> {
    Ok(of_service(c, service, count)?.into_iter().map(|container| container.id).collect())
}

#[test]
fn a_stack_lives_from_validate_to_delete() -> Result<()> {
    with_node("life", |c| {
        let stack = Stack::new("shop", shop("blue", 2))?;
        before_the_first_apply(c, &stack)?;
        the_first_apply(c, &stack)?;
        looking(c)?;
        scaling(c)?;
        restarting(c)?;
        the_second_apply(c, &stack)?;
        rolling_back(c)?;
        waiting(c)?;
        auditing(c)?;
        deleting(c)
    })
}

fn before_the_first_apply(c: &Node, stack: &Stack) -> Result<()> {
    let valid = c.ok(&["validate", &stack.path()])?;
    has_keys(&valid, "valid errors warnings fields")?;
    ensure!(valid["valid"] == true && !list(&valid["fields"])?.is_empty(), "{valid:#}");
    has_keys(&valid["fields"][0], "path treatment line")?;

    let plan = c.json(&["plan", &stack.path(), "--exit-code"])?.exits(5)?.json()?;
    has_keys(&plan, "deployment from_revision to_revision changes volumes unplaced warnings")?;
    let changes = list(&plan["changes"])?;
    ensure!(changes.len() == 3 && changes.iter().all(|one| one["action"] == "create"), "{plan:#}");
    changes.iter().try_for_each(|one| has_keys(one, "service replica action step reasons"))?;

    let dry = c.ok(&["apply", &stack.path(), "--dry-run"])?;
    ensure!(dry["changes"] == plan["changes"], "{dry:#}");
    ensure!(list(&c.ok(&["get", "deployments"])?)?.is_empty(), "a plan made a deployment");
    ensure!(c.containers("shop")?.is_empty(), "a plan made containers");

    let unknown = c.fails(1, &["history", "shop"])?;
    ensure!(unknown["code"] == "deployment_not_found", "{unknown}");
    let usage = c.fails(2, &["apply", "--detatch"])?;
    ensure!(usage["code"] == "usage" && usage["details"]["suggestion"] == "--detach", "{usage}");
    Ok(())
}

fn the_first_apply(c: &Node, stack: &Stack) -> Result<()> {
    let applied = c.ok(&["apply", &stack.path()])?;
    has_keys(&applied, "deployment revision applied_revision changed status rollback services")?;
    has_keys(&applied, "warnings duration_seconds")?;
    ensure!(applied["revision"] == 1 && applied["changed"] == true, "{applied:#}");
    ensure!(applied["status"] == "active" && applied["rollback"].is_null(), "{applied:#}");
    for service in list(&applied["services"])? {
        has_keys(service, "name wanted running failed")?;
        ensure!(service["wanted"] == service["running"], "{service:#}");
    }
    of_service(c, "store", 1)?;
    for container in of_service(c, "web", 2)? {
        let url = format!("http://{}:8080/env?name=COLOR", container.address);
        ensure!(c.get(&url)?.trim() == "blue");
    }

    let again = c.ok(&["apply", &stack.path()])?;
    ensure!(again["changed"] == false && again["revision"] == 1, "{again:#}");
    let text = c.jaco(&["apply", &stack.path()])?.exits(0)?;
    ensure!(text.stdout == "No changes\n", "{text:?}");
    let stale = c.fails(1, &["apply", &stack.path(), "--expect-revision", "7"])?;
    ensure!(stale["code"] == "revision_conflict", "{stale}");
    c.json(&["plan", &stack.path(), "--exit-code"])?.exits(0)?;
    Ok(())
}

fn looking(c: &Node) -> Result<()> {
    let status = c.ok(&["status"])?;
    has_keys(&status, "deployments replicas routes")?;
    let row = only(&status["deployments"])?;
    has_keys(row, "name applied_revision status wanted running")?;
    ensure!(row["status"] == "active" && row["wanted"] == 3 && row["running"] == 3, "{row:#}");
    for row in list(&status["replicas"])? {
        has_keys(row, "id state host container_id last_health_at deployment service index")?;
        has_keys(row, "generation instance ready restart_count ip since")?;
        ensure!(row["state"] == "running" && row["host"] == "node-1", "{row:#}");
    }
    let table = c.jaco(&["status", "shop"])?.exits(0)?.stdout;
    let lines: Vec<String> =
        table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for heading in [
        "DEPLOYMENT REVISION PREVIOUS STATUS DETAILS REPLICAS",
        "REPLICA_ID STATE HOST CONTAINER_ID LAST_HEALTH_AT REASON",
        "DOMAIN PATH DEPLOYMENT SERVICE PORT TLS READY",
    ] {
        ensure!(lines.iter().any(|line| line == heading), "no {heading:?} in\n{table}");
    }

    let rows = c.ok(&["ps", "shop/web"])?;
    ensure!(rows == c.ok(&["get", "replicas", "--service", "web"])? && list(&rows)?.len() == 2);
    for row in list(&rows)? {
        has_keys(row, "id deployment service index state host image revision container_id")?;
        has_keys(row, "restart_count started_at last_health_at instance generation ips ports")?;
    }
    let replica = c.ok(&["get", "replica", "shop-web-0"])?;
    has_keys(&replica, "id state depends_on digest placement state_history")?;
    let dependency = only(&replica["depends_on"])?;
    has_keys(dependency, "service condition state satisfied")?;
    ensure!(dependency["satisfied"] == true, "{dependency:#}");
    ensure!(c.fails(1, &["get", "replica", "shop-web-9"])?["code"] == "not_found");

    let row = only(&c.ok(&["get", "deployments"])?)?.clone();
    ensure!(row["services"] == json!(["store", "web"]), "{row:#}");
    let deployment = c.ok(&["get", "deployment", "shop"])?;
    has_keys(&deployment, "name applied_revision status services jaco_yaml compose_yaml")?;
    let volume = only(&c.ok(&["get", "volumes"])?)?.clone();
    has_keys(&volume, "name deployment host driver in_use_by")?;
    ensure!(volume["in_use_by"] == json!(["shop-store-0.g1"]), "{volume:#}");
    let network = only(&c.ok(&["get", "networks"])?)?.clone();
    has_keys(&network, "name deployment host used")?;
    logs(c)
}

fn logs(c: &Node) -> Result<()> {
    let run = c.json(&["logs", "shop/web", "--tail", "1"])?.exits(0)?;
    let lines = run.stdout.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    ensure!(lines.len() == 2, "one line of each replica: {}", run.stdout);
    lines.iter().try_for_each(|line| has_keys(line, "ts replica host stream line"))?;
    let text = c.jaco(&["logs", "shop-store-0"])?.exits(0)?.stdout;
    ensure!(text.starts_with("[shop-store-0@node-1] "), "{text}");
    ensure!(c.fails(1, &["logs", "shop/wev"])?["code"] == "unknown_service");
    Ok(())
}

fn scaling(c: &Node) -> Result<()> {
    let before = ids(c, "web", 2)?;
    let scaled = c.ok(&["scale", "shop/web=4"])?;
    ensure!(scaled["services"] == json!([{ "name": "web", "from": 2, "to": 4 }]), "{scaled:#}");
    ensure!(ids(c, "web", 4)?[..2] == before[..], "scaling up touched what was there");
    c.ok(&["scale", "shop/web=2"])?;
    ensure!(ids(c, "web", 2)? == before, "scaling down took the wrong replicas");
    ensure!(c.fails(1, &["scale", "shop/wev=2"])?["code"] == "unknown_service");
    c.fails(2, &["scale", "shop/web=many"])?;
    Ok(())
}

fn restarting(c: &Node) -> Result<()> {
    let (web, store) = (of_service(c, "web", 2)?, ids(c, "store", 1)?);
    let restarted = c.ok(&["restart", "shop/web"])?;
    ensure!(list(&restarted["restarted"])?.len() == 2, "{restarted:#}");
    let now = of_service(c, "web", 2)?;
    ensure!(now.iter().zip(&web).all(|(new, old)| new.generation == old.generation + 1));
    ensure!(ids(c, "store", 1)? == store, "another service was restarted");

    let in_place = c.ok(&["restart", "shop-web-0", "--in-place"])?;
    only(&in_place["restarted"])?;
    ensure!(ids(c, "web", 2)?[0] == now[0].id, "a restart in place replaced the container");
    let (old, new) = (now[0].id.as_str(), c.engine().inspect(&now[1].id)?);
    let started = |value: &Value| value["State"]["StartedAt"].as_str().map(str::to_owned);
    ensure!(started(&c.engine().inspect(old)?) > started(&new), "it was not restarted");
    Ok(())
}

fn the_second_apply(c: &Node, stack: &Stack) -> Result<()> {
    stack.write(shop("green", 2))?;
    let plan = c.ok(&["plan", &stack.path()])?;
    let of = |service: &'static str| {
        let changes = plan["changes"].as_array().into_iter().flatten();
        changes.filter(move |change| change["service"] == service)
    };
    ensure!(of("store").all(|change| change["action"] == "keep"), "{plan:#}");
    for change in of("web") {
        ensure!(change["action"] == "recreate" && change["order"] == "start-first", "{change:#}");
        ensure!(change["reasons"] == json!(["env.COLOR"]), "{change:#}");
    }
    let diff = c.json(&["diff", &stack.path(), "--exit-code"])?.exits(5)?.json()?;
    has_keys(&diff, "deployment from to differs files")?;
    ensure!(diff["differs"] == true && diff["files"].to_string().contains("+"), "{diff:#}");

    let store = ids(c, "store", 1)?;
    let applied = c.ok(&["apply", &stack.path()])?;
    ensure!(applied["revision"] == 2 && applied["previous_revision"] == 1, "{applied:#}");
    ensure!(ids(c, "store", 1)? == store, "an unchanged service was replaced");
    let diff = c.ok(&["diff", "shop@1", "shop@2"])?;
    ensure!(diff["differs"] == true, "{diff:#}");
    c.json(&["diff", &stack.path(), "--exit-code"])?.exits(0)?;
    Ok(())
}

fn rolling_back(c: &Node) -> Result<()> {
    let back = c.ok(&["rollback", "shop"])?;
    ensure!(back["revision"] == 3 && back["restored_revision"] == 1, "{back:#}");
    let web = of_service(c, "web", 2)?;
    ensure!(c.get(&format!("http://{}:8080/env?name=COLOR", web[0].address))?.trim() == "blue");
    let history = c.ok(&["history", "shop"])?;
    let rows = list(&history)?;
    rows.iter()
        .try_for_each(|row| has_keys(row, "revision applied_at identity status images summary"))?;
    let statuses: Vec<_> = rows.iter().map(|row| row["status"].as_str().unwrap_or("")).collect();
    ensure!(statuses == ["active", "superseded", "superseded"], "{history:#}");
    ensure!(rows[0]["restored_from"] == 1, "{history:#}");
    ensure!(c.fails(1, &["rollback", "shop", "--to", "9"])?["code"] == "revision_not_found");
    Ok(())
}

fn waiting(c: &Node) -> Result<()> {
    let reached = c.ok(&["wait", "shop"])?;
    has_keys(&reached, "target condition reached status code")?;
    ensure!(reached["reached"] == true && reached["status"] == "active", "{reached:#}");
    c.ok(&["wait", "shop/web", "--for", "running"])?;
    let run = c.json(&["wait", "shop", "--for", "deleted", "--timeout", "300ms"])?.exits(3)?;
    ensure!(run.json()?["code"] == "wait_timeout", "{run:?}");
    let unknown = c.fails(1, &["wait", "shp"])?;
    ensure!(unknown["details"]["suggestion"] == "shop", "{unknown}");
    Ok(())
}

fn auditing(c: &Node) -> Result<()> {
    let audit = c.ok(&["audit"])?;
    let rows = list(&audit)?;
    rows.iter().try_for_each(|row| has_keys(row, "type identity ts raft_index payload"))?;
    for kind in ["cluster_init", "apply", "scale", "restart", "rollback"] {
        ensure!(rows.iter().any(|row| row["type"] == kind), "no {kind} in {audit:#}");
    }
    let own = rows.iter().find(|row| row["type"] == "apply").context("no apply")?;
    ensure!(own["identity"] == "local" && own["payload"]["deployment"] == "shop", "{own:#}");
    c.fails(2, &["audit", "--type", "nonsense"])?;
    Ok(())
}

fn deleting(c: &Node) -> Result<()> {
    c.fails(2, &["delete", "shop", "--volumes"])?;
    let deleted = c.ok(&["delete", "shop"])?;
    ensure!(deleted["deployment"] == "shop" && deleted["deleted"] == true, "{deleted:#}");
    ensure!(c.containers("shop")?.is_empty(), "containers stay");
    let volumes = c.engine().get("/volumes")?;
    ensure!(volumes["Volumes"].to_string().contains("jaco_shop_data"), "{volumes:#}");
    let networks = c.engine().get("/networks")?.to_string();
    ensure!(!networks.contains("jaco_shop_"), "{networks}");
    ensure!(c.fails(1, &["delete", "shop"])?["code"] == "deployment_not_found");
    ensure!(list(&c.ok(&["get", "deployments"])?)?.is_empty());
    Ok(())
}
