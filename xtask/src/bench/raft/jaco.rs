//! JACO on the hosts of a lab: one daemon each, one cluster.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jaco_lab::{Daemon, Engine, Host, until};
use serde_json::{Value, json};

use super::failover::Cluster;
use super::http::Http;
use super::load::Writer;
use crate::bench::measure::{rest, timed};
use crate::site::PROBE_IMAGE;

/// Longest time until all members are ready and those vote that should.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// Longest time until a log to which nobody writes has settled.
const SETTLE_LIMIT: Duration = Duration::from_secs(300);

/// How long nothing is written to a log that has settled: reports wait a second for company.
const QUIET: Duration = Duration::from_secs(3);

/// Longest time that one call of the command line takes.
const CALL_LIMIT: Duration = Duration::from_secs(180);

/// Pause between two looks at a cluster.
const LOOK: Duration = Duration::from_millis(50);

/// Port at which a member takes newcomers.
const PORT: u16 = 7000;

/// The deployment that clients write to, and its services: their names make one change about as
/// long as a value of etcd's clients.
const TARGET: &str = "target";
const SERVICES: usize = 6;

/// A cluster; dropping it ends the daemons and forgets their state.
#[derive(Debug)]
pub(super) struct Jaco {
    members: Vec<Member>,
    /// How long each join took, from the command's start to its end.
    pub(super) joins: Vec<Duration>,
}

#[derive(Debug)]
struct Member {
    host: Host,
    daemon: Daemon,
}

impl Jaco {
    /// Begins a cluster on the first host and joins the others.
    pub(super) fn start(binary: &Path, hosts: &[Host]) -> Result<Jaco> {
        let mut jaco = Jaco { members: Vec::new(), joins: Vec::new() };
        for host in hosts {
            forget(host)?;
            let daemon = Daemon::start(host, binary)?;
            jaco.members.push(Member { host: host.clone(), daemon });
        }
        jaco.call(0, &["cluster", "init", "--name", "bench"])?;
        let first = format!("{}:{PORT}", jaco.member(0)?.host.address());
        for member in 1..hosts.len() {
            let issued = jaco.call(0, &["node", "issue-join-token"])?;
            let token = issued["token"].as_str().context("no token")?;
            let join = ["node", "join", "--peer", &first, "--token", token];
            let (took, _) = timed(|| jaco.call(member, &join))?;
            jaco.joins.push(took);
        }
        jaco.wait_until_healthy()?;
        Ok(jaco)
    }

    fn member(&self, index: usize) -> Result<&Member> {
        self.members.get(index).context("no such member")
    }

    /// Runs `jaco … -o json` on a member's host.
    pub(super) fn call(&self, member: usize, args: &[&str]) -> Result<Value> {
        let mut command = self.member(member)?.daemon.jaco(["-o", "json"].iter().chain(args));
        let text = output(&mut command).with_context(|| format!("jaco {}", args.join(" ")))?;
        serde_json::from_str(&text).with_context(|| format!("output of jaco {}", args.join(" ")))
    }

    /// The API of a member.
    pub(super) fn api(&self, member: usize) -> Result<Engine> {
        Ok(Engine::new(self.member(member)?.daemon.socket()))
    }

    /// Process ids of the daemons.
    pub(super) fn pids(&self) -> Vec<u32> {
        self.members.iter().filter_map(|member| member.daemon.pid()).collect()
    }

    /// A directory on the first member's host, and what its daemon keeps.
    pub(super) fn data_dir(&self) -> Result<std::path::PathBuf> {
        Ok(self.member(0)?.daemon.data_dir())
    }

    /// Waits until every member is ready, has all entries and agrees on the leader, and the right
    /// number votes.
    pub(super) fn wait_until_healthy(&self) -> Result<usize> {
        until("a healthy cluster", READY_LIMIT, || {
            let leader = self.healthy_leader();
            if leader.is_none() {
                rest(LOOK);
            }
            Ok(leader)
        })
        .with_context(|| format!("{:?}", self.api(0).and_then(|api| api.get("/v1/cluster"))))
    }

    /// The index of the last applied entry at the first member.
    pub(super) fn index(&self) -> Result<u64> {
        self.api(0)?.get("/v1/cluster")?["raft_index"].as_u64().context("no raft_index")
    }

    /// Waits until nothing was written for some seconds.
    pub(super) fn settle(&self) -> Result<()> {
        until("a log that settles", SETTLE_LIMIT, || {
            let before = self.index()?;
            rest(QUIET);
            Ok((self.index()? == before).then_some(()))
        })
    }

    /// Applies services, given as in a compose file, and waits until they are as wanted.
    pub(super) fn apply(&self, name: &str, services: Value, waits: bool) -> Result<()> {
        let directory = self.member(0)?.host.data_dir().join(name);
        fs::create_dir_all(&directory)?;
        // JSON is YAML.
        let compose = json!({ "name": name, "services": services });
        fs::write(directory.join("compose.yaml"), compose.to_string())?;
        let path = directory.to_str().context("the lab's path is not UTF-8")?;
        let detach = if waits { &[][..] } else { &["--detach"] };
        self.call(0, &[&["apply", path], detach].concat()).map(drop)
    }

    /// Applies what [`Jaco::writers`] and [`Cluster::write`] change.
    pub(super) fn apply_target(&self) -> Result<()> {
        let service = json!({ "image": PROBE_IMAGE, "pull_policy": "never", "scale": 0 });
        let services = service_names().map(|name| (name, service.clone()));
        self.apply(TARGET, Value::Object(services.collect()), true)
    }

    /// Clients of the leader, or of one member that follows it.
    pub(super) fn writers(&self, clients: usize, follows: bool) -> Result<Vec<Box<dyn Writer>>> {
        let leader = self.wait_until_healthy()?;
        let member = if follows { (leader + 1) % self.members.len() } else { leader };
        let socket = self.member(member)?.daemon.socket();
        let writer = |_| -> Result<Box<dyn Writer>> {
            Ok(Box::new(Scale { connection: Http::connect(&socket)?, body: change() }))
        };
        (0..clients).map(writer).collect()
    }
}

impl Drop for Jaco {
    fn drop(&mut self) {
        for Member { host, mut daemon } in self.members.drain(..) {
            // What could not be ended or removed goes with the lab.
            let _ended = daemon.stop();
            let _removed = forget(&host);
        }
    }
}

impl Cluster for Jaco {
    fn size(&self) -> usize {
        self.members.len()
    }

    fn healthy_leader(&self) -> Option<usize> {
        let (mut leader, mut applied) = (None, None);
        for index in 0..self.members.len() {
            let view = self.api(index).and_then(|api| api.get("/v1/cluster")).ok()?;
            let nodes = view["nodes"].as_array()?;
            let ready = nodes.iter().filter(|node| node["status"] == "ready").count();
            let voters = nodes.iter().filter(|node| node["suffrage"] == "voter").count();
            if ready != self.members.len() || voters != voters_of(ready) {
                return None;
            }
            let name = view["leader"].as_str()?;
            let named = self.members.iter().position(|member| member.host.name() == name)?;
            let at = view["raft_index"].as_u64()?;
            let differs = leader.replace(named).is_some_and(|earlier| earlier != named)
                || applied.replace(at).is_some_and(|earlier| earlier != at);
            if differs {
                return None;
            }
        }
        leader
    }

    fn kill(&mut self, member: usize) -> Result<()> {
        self.members.get_mut(member).context("no such member")?.daemon.kill()
    }

    fn write(&self, member: usize) -> Result<()> {
        let socket = self.member(member)?.daemon.socket();
        Http::connect(&socket)?.post(&path(), &change()).map(drop)
    }

    fn restore(&mut self, member: usize) -> Result<()> {
        self.members.get_mut(member).context("no such member")?.daemon.start_again()
    }
}

/// How many of so many members vote.
fn voters_of(members: usize) -> usize {
    match members {
        0..=2 => 1,
        3..=4 => 3,
        5..=6 => 5,
        _ => 7,
    }
}

fn service_names() -> impl Iterator<Item = String> {
    (1..=SERVICES).map(|number| format!("a-service-with-a-long-name-{number}"))
}

fn path() -> String {
    format!("/v1/deployments/{TARGET}/scale")
}

/// One durable change: an entry in the log, and nothing to do for any node.
fn change() -> String {
    let services: Value = service_names().map(|name| (name, json!(0))).collect();
    json!({ "services": services }).to_string()
}

/// Removes what a daemon keeps on a host.
fn forget(host: &Host) -> Result<()> {
    match fs::remove_dir_all(host.daemon_data_dir()) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// A client that changes the same numbers again and again.
struct Scale {
    connection: Http,
    body: String,
}

impl Writer for Scale {
    fn write(&mut self) -> Result<()> {
        self.connection.post(&path(), &self.body).map(drop)
    }
}

/// Standard output of a command that must succeed, in time; it is short enough for a pipe.
fn output(command: &mut Command) -> Result<String> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context("cannot start")?;
    let ended = until("its end", CALL_LIMIT, || Ok(child.try_wait()?));
    if ended.is_err() {
        child.kill()?;
    }
    let output = child.wait_with_output()?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    let status = ended.with_context(|| stderr.trim().to_owned())?;
    ensure!(status.success(), "{status}: {}", stderr.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_about_as_long_as_a_value_of_etcd() {
        let bytes = change().len();
        assert!((150..=250).contains(&bytes), "{bytes}");
    }
}
