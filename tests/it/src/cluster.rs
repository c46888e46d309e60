//! One host, one daemon, one engine.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use jaco_lab::{
    Artifact, Daemon, Engine, Host, Lab, LabOptions, build_binary, probe_binary, until,
};
use serde_json::Value;

use crate::container::Container;
use crate::pause::pause;
use crate::run::Run;

/// The image that every test service runs.
pub const IMAGE: &str = "jaco-probe:dev";

/// Longest time until the node takes work.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// How long nothing is written to a log that has settled: reports wait a second for company.
const QUIET: Duration = Duration::from_millis(1_500);

/// How many such times are given to settle.
const QUIET_TRIES: usize = 10;

/// Lines of the daemon's log that a failure shows.
const LOG_LINES: usize = 60;

/// A cluster of one node.
#[derive(Debug)]
pub struct Cluster {
    // Dropped before the lab, so that the daemon ends first.
    daemon: Daemon,
    lab: Lab,
    probe: PathBuf,
    jaco: PathBuf,
}

/// Who calls `jaco` on the host.
#[derive(Debug, Clone)]
pub struct Caller {
    host: Host,
    jaco: PathBuf,
    socket: PathBuf,
}

impl Caller {
    /// A `jaco` command on the host.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.host.command(&self.jaco);
        command.args(args).env("JACO_SOCKET", &self.socket).env_remove("JACO_OUTPUT");
        command
    }
}

/// Runs a test on a cluster of its own, and shows the end of the daemon's log when it fails.
///
/// # Errors
/// Those of the test, or when the cluster does not come up or does not go without a trace.
pub fn with_cluster(name: &str, test: impl FnOnce(&mut Cluster) -> Result<()>) -> Result<()> {
    let mut cluster = Cluster::up(name)?;
    test(&mut cluster).with_context(|| cluster.log_tail())?;
    cluster.down()
}

impl Cluster {
    /// A lab with one host, a daemon on it, and a cluster that takes work.
    ///
    /// # Errors
    /// When any of it does not start.
    pub fn up(name: &str) -> Result<Cluster> {
        let jaco = match std::env::var_os("JACO_TEST_BIN") {
            Some(path) => path.into(),
            None => {
                let artifact = Artifact { package: "jaco", is_static: false, is_release: false };
                build_binary(artifact)?
            }
        };
        let probe = probe_binary()?;
        let lab = Lab::up(LabOptions::new(name, 1))?;
        let host = lab.hosts().first().context("a lab without hosts")?;
        host.import_probe(&probe, IMAGE)?;
        let daemon = Daemon::start(host, &jaco)?;
        let cluster = Cluster { daemon, lab, probe, jaco };
        cluster.ok(&["cluster", "init", "--name", name])?;
        cluster.wait_until_ready()?;
        Ok(cluster)
    }

    /// Removes everything.
    ///
    /// # Errors
    /// When the daemon does not end or something stays.
    pub fn down(mut self) -> Result<()> {
        self.daemon.stop()?;
        self.lab.down()
    }

    /// Waits until the node takes work.
    ///
    /// # Errors
    /// When it does not in time.
    pub fn wait_until_ready(&self) -> Result<()> {
        until("the node to be ready", READY_LIMIT, || {
            let view = self.api().get("/v1/cluster").ok();
            Ok(view.filter(|view| view["nodes"][0]["status"] == "ready").map(drop))
        })
    }

    /// The only host.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.lab.hosts()[0]
    }

    /// The daemon, to be killed and started again.
    pub fn daemon(&mut self) -> &mut Daemon {
        &mut self.daemon
    }

    /// The API of the host's engine.
    #[must_use]
    pub fn engine(&self) -> Engine {
        self.host().engine()
    }

    /// The product's API on its unix socket.
    #[must_use]
    pub fn api(&self) -> Engine {
        Engine::new(self.daemon.socket())
    }

    /// A user's side of the cluster, which stays while the daemon comes and goes.
    #[must_use]
    pub fn caller(&self) -> Caller {
        let (host, jaco) = (self.host().clone(), self.jaco.clone());
        Caller { host, jaco, socket: self.daemon.socket() }
    }

    /// A `jaco` command on the host.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> Command {
        self.caller().command(args)
    }

    /// Runs `jaco`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn jaco(&self, args: &[&str]) -> Result<Run> {
        Run::of(&mut self.command(args))
    }

    /// Runs `jaco … -o json`, whatever comes of it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn json(&self, args: &[&str]) -> Result<Run> {
        self.jaco(&[&["-o", "json"], args].concat())
    }

    /// The answer of `jaco … -o json`, which must succeed.
    ///
    /// # Errors
    /// When it does not, or prints no JSON.
    pub fn ok(&self, args: &[&str]) -> Result<Value> {
        self.json(args)?.exits(0)?.json()
    }

    /// The error of `jaco … -o json`, which must end with `code` and print no data.
    ///
    /// # Errors
    /// When it ends otherwise.
    pub fn fails(&self, code: i32, args: &[&str]) -> Result<Value> {
        let run = self.json(args)?.exits(code)?;
        ensure!(run.stdout.is_empty(), "{} printed data: {}", run.words, run.stdout);
        run.error()
    }

    /// The containers of a deployment.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub fn containers(&self, deployment: &str) -> Result<Vec<Container>> {
        Container::of_deployment(&self.engine(), deployment)
    }

    /// The only container of a service.
    ///
    /// # Errors
    /// When there is none or another one.
    pub fn container(&self, deployment: &str, service: &str) -> Result<Container> {
        let mut found = self.containers(deployment)?;
        found.retain(|container| container.service == service);
        match <[Container; 1]>::try_from(found) {
            Ok([container]) => Ok(container),
            Err(found) => bail!("{deployment}/{service}: {found:?}"),
        }
    }

    /// The row of one replica in `GET /v1/replicas`, newest generation.
    ///
    /// # Errors
    /// When the daemon does not answer.
    pub fn replica(&self, id: &str) -> Result<Option<Value>> {
        let rows = self.api().get("/v1/replicas")?;
        let rows = rows.as_array().cloned().unwrap_or_default();
        let rows = rows.into_iter().filter(|row| row["id"] == id);
        Ok(rows.max_by_key(|row| row["generation"].as_u64()))
    }

    /// Waits for a replica's row to satisfy a condition.
    ///
    /// # Errors
    /// When it does not in time; the message holds the row seen last.
    pub fn replica_until(
        &self,
        id: &str,
        limit: Duration,
        is_met: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let mut last = None;
        until("a replica's state", limit, || {
            last = self.replica(id)?;
            Ok(last.clone().filter(&is_met))
        })
        .with_context(|| format!("{id}: {last:?}"))
    }

    /// The index of the last log entry.
    ///
    /// # Errors
    /// When the daemon does not answer.
    pub fn raft_index(&self) -> Result<u64> {
        let view = self.api().get("/v1/cluster")?;
        view["raft_index"].as_u64().context("no raft_index")
    }

    /// The index of the last log entry, once nothing was written for a second.
    ///
    /// # Errors
    /// When something is written all the time.
    pub fn settled_index(&self) -> Result<u64> {
        let mut index = self.raft_index()?;
        for _ in 0..QUIET_TRIES {
            pause(QUIET);
            let now = self.raft_index()?;
            if now == index {
                return Ok(index);
            }
            index = now;
        }
        bail!("entries are written all the time; the last index is {index}")
    }

    /// Asks a container with a GET from inside the host.
    ///
    /// # Errors
    /// When the answer is no success.
    pub fn get(&self, url: &str) -> Result<String> {
        let mut command = self.host().command(&self.probe);
        Ok(Run::of(command.args(["client", "get", url]))?.exits(0)?.stdout)
    }

    /// Posts to a published port of the host, from outside it.
    ///
    /// # Errors
    /// When nobody listens there; the answer of the service does not matter.
    pub fn post(&self, port: u16, path: &str) -> Result<()> {
        let mut stream = TcpStream::connect((self.host().address(), port))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let head = "HTTP/1.1\r\nHost: probe\r\nConnection: close\r\nContent-Length: 0";
        write!(stream, "POST {path} {head}\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(())
    }

    /// Runs the probe inside a container and gives its exit code and output.
    ///
    /// # Errors
    /// When docker cannot be started.
    pub fn exec(&self, container: &str, args: &[&str]) -> Result<Run> {
        Run::of(&mut self.host().docker([&["exec", container, "/probe"], args].concat()))
    }

    /// The end of the daemon's log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let log = fs::read_to_string(self.daemon.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = &lines[lines.len().saturating_sub(LOG_LINES)..];
        format!("the daemon's log ended with:\n{}\n", tail.join("\n"))
    }
}
