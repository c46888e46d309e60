//! Three hosts become one cluster, lose their leader, and go on.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use jaco_lab::until;
use serde_json::{Value, json};

use super::door;
use crate::site::{Member, Site, example};

/// Hosts of this tour.
pub(super) const HOSTS: u8 = 3;

/// The deployment of the example, and its service with replicas.
const DEPLOYMENT: &str = "hello";
const SERVICE: &str = "hello/web";

/// There is no service on these hosts that could be enabled.
const NOT_AT_BOOT: &str = "--no-systemd-enable";

/// Longest time until the members agree again, or a daemon has ended.
const LIMIT: Duration = Duration::from_secs(60);

/// Pause after a refused write.
const PAUSE: Duration = Duration::from_millis(10);

/// The way from three hosts to a cluster, through a loss, and back.
pub(super) fn tour(site: &mut Site) -> Result<()> {
    form(site)?;
    let path = example(DEPLOYMENT)?;
    let path = path.to_str().context("the path of the examples is not UTF-8")?.to_owned();
    apply_through_a_follower(site, &path)?;
    talk_across_hosts(site)?;
    meet_a_stranger(site)?;
    let lost = lose_the_leader(site)?;
    come_back(site, lost)?;
    leave_and_join(site)?;
    door::tour(site)?;
    println!("\n==> remove the stack");
    site.member(0).show(&["delete", DEPLOYMENT, "--volumes", "--yes"])
}

fn form(site: &Site) -> Result<()> {
    println!("\n==> form a cluster: one node begins it, the others join with a token each");
    let first = site.member(0);
    first.show(&["cluster", "init", "--name", "demo", NOT_AT_BOOT])?;
    first.wait_until_ready()?;
    for newcomer in &site.members()[1..] {
        join(first, newcomer)?;
    }
    settle(site)?;
    site.member(2).show(&["cluster", "status"])
}

/// Takes the command that the member prints, and runs it on the newcomer.
fn join(member: &Member, newcomer: &Member) -> Result<()> {
    println!("{}$ jaco node issue-join-token", member.name());
    let issued = member.json(&["node", "issue-join-token"])?;
    let command = issued["command"].as_str().context("no command")?;
    println!("  {command}");
    let words = command.strip_prefix("sudo jaco ").context("another command than expected")?;
    let words: Vec<&str> = words.split_whitespace().chain([NOT_AT_BOOT]).collect();
    newcomer.show(&words)
}

fn apply_through_a_follower(site: &Site, path: &str) -> Result<()> {
    let leader = settle(site)?;
    let follower = &site.members()[(leader + 1) % site.members().len()];
    let led = site.member(leader).name();
    println!("\n==> apply through {}, a follower; {led} leads", follower.name());
    follower.show(&["apply", path])?;
    site.member(leader).show(&["status", DEPLOYMENT])?;
    site.member(0).show(&["node", "list"])?;

    println!("\n==> answers of the containers, each asked from inside its own host");
    let rows = follower.json(&["ps", SERVICE])?;
    for member in site.members() {
        let rows = rows.as_array().map_or(&[][..], Vec::as_slice);
        let row = rows.iter().find(|row| row["host"] == member.name());
        let row = row.with_context(|| format!("no replica on {}", member.name()))?;
        let address = row["ips"].as_object().and_then(|ips| ips.values().next());
        let address = address.and_then(Value::as_str).context("a replica without address")?;
        let page = member.get(&format!("http://{address}:8080/env?name=GREETING"))?;
        println!("{} on {}: {}", row["id"].as_str().unwrap_or("?"), member.name(), page.trim());
    }

    println!("\n==> the logs of all nodes, merged on one");
    site.member(1).show(&["logs", SERVICE, "--tail", "1"])
}

/// Each replica of the service asks the store by its name, wherever that is.
fn talk_across_hosts(site: &Site) -> Result<()> {
    println!("\n==> one network: each replica asks the store by its name, on whatever host it is");
    let store = container_of(site, "hello", "store")?;
    let webs =
        site.members().iter().map(|member| Ok((member, containers_on(member, "hello", "web")?)));
    for (member, ids) in webs.collect::<Result<Vec<_>>>()? {
        for id in ids {
            let ask = ["exec", &id, "/probe", "client", "get", "http://store:8080/"];
            let page = until("an answer of the store", LIMIT, || Ok(member.docker(&ask).ok()))?;
            let name = page.lines().next().unwrap_or_default();
            println!("a web on {} asked store on {}: {name}", member.name(), store.0.name());
        }
    }
    Ok(())
}

/// A container of another deployment finds neither the name nor the address.
fn meet_a_stranger(site: &Site) -> Result<()> {
    println!("\n==> and a wall: a container of another deployment finds neither name nor way");
    let path = example("stranger")?;
    let path = path.to_str().context("the path of the examples is not UTF-8")?.to_owned();
    site.member(0).show(&["apply", &path])?;
    let (member, id) = container_of(site, "stranger", "visitor")?;
    let rows = site.member(0).json(&["ps", "hello/store"])?;
    let address = rows[0]["ips"].as_object().and_then(|ips| ips.values().next());
    let address = address.and_then(Value::as_str).context("the store has no address")?;
    for host in ["store", "store.hello.jaco.internal", address] {
        let url = format!("http://{host}:8080/");
        let answer = member.docker(&["exec", &id, "/probe", "client", "get", &url]);
        ensure!(answer.is_err(), "the stranger got an answer of {url}");
        println!("visitor on {} asked {url}: no answer", member.name());
    }
    site.member(0).show(&["delete", "stranger", "--yes"])
}

/// The containers of a service on one host.
fn containers_on(member: &Member, deployment: &str, service: &str) -> Result<Vec<String>> {
    let of = |one: &&Value| {
        let labels = &one["Labels"];
        labels["jaco.deployment"] == deployment && labels["jaco.service"] == service
    };
    let all = member.engine().containers()?;
    Ok(all.iter().filter(of).filter_map(|one| one["Id"].as_str().map(str::to_owned)).collect())
}

/// The only container of a service, and the member on whose host it is.
fn container_of<'a>(
    site: &'a Site,
    deployment: &str,
    service: &str,
) -> Result<(&'a Member, String)> {
    for member in site.members() {
        if let Some(id) = containers_on(member, deployment, service)?.pop() {
            return Ok((member, id));
        }
    }
    bail!("no container of {deployment}/{service}")
}

/// Kills the leader's daemon; gives which it was.
#[expect(clippy::disallowed_methods, reason = "the demo shows how long a loss takes")]
fn lose_the_leader(site: &mut Site) -> Result<usize> {
    let lost = settle(site)?;
    let before = containers(site)?;
    println!("\n==> kill -9 the daemon of {}, the leader", site.member(lost).name());
    site.member_mut(lost).daemon().kill()?;
    let since = Instant::now();
    let survivor = first_write(site, lost)?;
    println!(
        "the next write was accepted after {:.2} s, through {}",
        since.elapsed().as_secs_f64(),
        site.member(survivor).name()
    );
    ensure!(containers(site)? == before, "a container was touched by the loss of the leader");
    println!("all {} containers run on, also those on the lost node", before.len());

    println!("\n==> the cluster goes on: two more replicas, on the nodes that are left");
    let (survivor, lost_name) = (site.member(survivor), site.member(lost).name());
    until("the loss to be noticed", LIMIT, || {
        let view = survivor.api().get("/v1/cluster")?;
        let rows = view["nodes"].as_array().map_or(&[][..], Vec::as_slice);
        let is_down = |row: &Value| row["hostname"] == lost_name && row["status"] == "down";
        Ok(rows.iter().any(is_down).then_some(()))
    })?;
    println!("{lost_name} is known to be down after {:.1} s", since.elapsed().as_secs_f64());
    survivor.show(&["scale", &format!("{SERVICE}=5")])?;
    survivor.show(&["cluster", "status"])?;
    let after = containers(site)?;
    let untouched = before.iter().all(|(id, start)| after.get(id) == Some(start));
    ensure!(untouched && after.len() == before.len() + 2, "{before:?} became {after:?}");
    Ok(lost)
}

/// Writes through one survivor after the other until one accepts; gives which.
fn first_write(site: &Site, lost: usize) -> Result<usize> {
    let survivors: Vec<usize> = (0..site.members().len()).filter(|one| *one != lost).collect();
    let mut turns = survivors.iter().cycle();
    until("an accepted write", LIMIT, || {
        let Some(&turn) = turns.next() else { bail!("nobody is left") };
        let change = json!({ "services": { "web": 3 } });
        let path = format!("/v1/deployments/{DEPLOYMENT}/scale");
        let written = site.member(turn).api().post(&path, &change);
        if written.is_err() {
            std::thread::park_timeout(PAUSE);
        }
        Ok(written.is_ok().then_some(turn))
    })
}

fn come_back(site: &mut Site, lost: usize) -> Result<()> {
    println!("\n==> {} comes back and catches up", site.member(lost).name());
    site.member_mut(lost).daemon().start_again()?;
    settle(site)?;
    for member in site.members() {
        let view = member.api().get("/v1/cluster")?;
        println!(
            "{}: leader {}, applied index {}",
            member.name(),
            view["leader"],
            view["raft_index"]
        );
    }
    site.member(lost).show(&["status", DEPLOYMENT, "--consistent"])
}

/// Removes a node that holds no volume, and joins it again.
fn leave_and_join(site: &mut Site) -> Result<()> {
    let rows = site.member(0).json(&["ps", "hello/store"])?;
    let holder = rows[0]["host"].as_str().context("the store has no host")?.to_owned();
    let leaving = site.members().iter().rposition(|member| member.name() != holder);
    let leaving = leaving.context("every node holds the volume")?;
    let other = (leaving + 1) % site.members().len();
    let name = site.member(leaving).name().to_owned();
    println!("\n==> remove {name}: its replicas move away first");
    site.member(other).show(&["node", "remove", &name])?;
    let daemon = site.member_mut(leaving).daemon();
    let code = until("the end of the removed daemon", LIMIT, || daemon.ended())?;
    println!("its daemon has ended with {code}; systemd would start it again, as is done here");
    daemon.start_again()?;
    site.member(leaving).show(&["cluster", "status"])?;
    site.member(other).show(&["status", DEPLOYMENT])?;

    println!("\n==> and join it again");
    join(site.member(other), site.member(leaving))?;
    settle(site)?;
    site.member(leaving).show(&["node", "list"])
}

/// Waits until all members are ready, agree on the leader and have applied the same; gives the
/// leader.
fn settle(site: &Site) -> Result<usize> {
    let seen = || -> Option<usize> {
        let views = site.members().iter().map(|member| member.api().get("/v1/cluster").ok());
        let views = views.collect::<Option<Vec<Value>>>()?;
        let rows: Vec<&Value> =
            views.iter().filter_map(|v| v["nodes"].as_array()).flatten().collect();
        let is_well = |row: &&Value| row["status"] == "ready" && row["suffrage"] == "voter";
        let wanted = views.len() * views.len();
        let is_well = rows.len() == wanted && rows.iter().all(is_well);
        let agree = |key: &str| views.iter().all(|view| view[key] == views[0][key]);
        let leader = views[0]["leader"].as_str().filter(|_| agree("leader") && agree("raft_index"));
        site.members().iter().position(|member| is_well && leader == Some(member.name()))
    };
    until("a healthy cluster", LIMIT, || {
        let leader = seen();
        if leader.is_none() {
            std::thread::park_timeout(PAUSE);
        }
        Ok(leader)
    })
}

/// When each container of the stack was started, by its id.
fn containers(site: &Site) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for member in site.members() {
        let engine = member.engine();
        let all = engine.containers()?;
        for one in all.iter().filter(|one| one["Labels"]["jaco.deployment"] == DEPLOYMENT) {
            let id = one["Id"].as_str().context("no id")?;
            let start = engine.inspect(id)?["State"]["StartedAt"].to_string();
            found.insert(id.to_owned(), start);
        }
    }
    Ok(found)
}
