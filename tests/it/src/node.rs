//! One host, one daemon, one engine.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use jaco_lab::{Daemon, Engine, Host, until};
use serde_json::Value;

use crate::container::Container;
use crate::http::{self, Call};
use crate::pause::pause;
use crate::run::Run;

/// The image that every test service runs.
pub const IMAGE: &str = "jaco-probe:dev";

/// Longest time until the node takes work.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// Longest time until a removed node has taken down what it ran.
const END_LIMIT: Duration = Duration::from_secs(60);

/// Exit code of a daemon that is to be started again without a cluster.
const EXIT_REMOVED: i32 = 75;

/// How long nothing is written to a log that has settled: reports wait a second for company.
const QUIET: Duration = Duration::from_millis(1_500);

/// How many such times are given to settle.
const QUIET_TRIES: usize = 10;

/// Lines of the daemon's log that a failure shows.
const LOG_LINES: usize = 60;

/// As [`LOG_LINES`], of the mesh helper's.
const HELPER_LINES: usize = 20;

/// A daemon on a host of its own; a member of a cluster, or not yet.
#[derive(Debug)]
pub struct Node {
    daemon: Daemon,
    host: Host,
    programs: Programs,
}

/// The binaries that a node runs.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    /// `jaco`.
    pub(crate) jaco: PathBuf,
    /// The static test workload.
    pub(crate) probe: PathBuf,
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

impl Node {
    /// Starts a daemon on a host that has the image.
    pub(crate) fn start(host: &Host, programs: &Programs) -> Result<Node> {
        let daemon = Daemon::start(host, &programs.jaco)?;
        Ok(Node { daemon, host: host.clone(), programs: programs.clone() })
    }

    /// Makes this node the first member of a new cluster.
    ///
    /// # Errors
    /// When it does not become one.
    pub fn init(&self, name: &str) -> Result<()> {
        self.ok(&["cluster", "init", "--name", name, crate::cluster::NOT_AT_BOOT])?;
        self.wait_until_ready()
    }

    /// The host's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.host.name()
    }

    /// The cluster as this node sees it.
    ///
    /// # Errors
    /// When the daemon does not answer.
    pub fn view(&self) -> Result<Value> {
        self.api().get("/v1/cluster")
    }

    /// Starts the daemon unless it runs, without waiting for it to answer.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn start_if_away(&mut self) -> Result<()> {
        if self.daemon.pid().is_some() { Ok(()) } else { self.daemon.spawn() }
    }

    /// Starts the daemon again once it has ended by itself, because its node was removed.
    ///
    /// # Errors
    /// When it does not end, says another reason, or still believes that it is a member.
    pub fn starts_over(&mut self) -> Result<()> {
        let code = until("the end of a removed daemon", END_LIMIT, || self.daemon.ended())?;
        ensure!(code == EXIT_REMOVED, "the removed daemon ended with {code}");
        self.daemon.start_again()?;
        let view = self.view()?;
        ensure!(view["initialized"] == false, "removed, and still a member: {view:#}");
        Ok(())
    }

    /// Waits until the node takes work.
    ///
    /// # Errors
    /// When it does not in time.
    pub fn wait_until_ready(&self) -> Result<()> {
        until("the node to be ready", READY_LIMIT, || {
            let view = self.view().unwrap_or_default();
            let own = row_of(&view, self.name());
            Ok((own["status"] == "ready" && view["leader"].is_string()).then_some(()))
        })
        .with_context(|| format!("{}: {:?}", self.name(), self.view()))
    }

    /// The host.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Where the daemon keeps its state.
    #[must_use]
    pub fn daemon_dir(&self) -> PathBuf {
        self.daemon.data_dir()
    }

    /// Which member of which cluster the daemon's files say that this is.
    ///
    /// # Errors
    /// When there is no such file.
    pub fn marker(&self) -> Result<Value> {
        let path = self.daemon_dir().join("node/id");
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        Ok(serde_json::from_str(&text)?)
    }

    /// The test workload's binary on this machine.
    pub(crate) fn probe(&self) -> &Path {
        &self.programs.probe
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

    /// Where the daemon answers.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.daemon.socket()
    }

    /// The product's API on its unix socket.
    #[must_use]
    pub fn api(&self) -> Engine {
        Engine::new(self.daemon.socket())
    }

    /// A user's side of the cluster, which stays while the daemon comes and goes.
    #[must_use]
    pub fn caller(&self) -> Caller {
        let (host, jaco) = (self.host.clone(), self.programs.jaco.clone());
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

    /// The refusal of one call of the API; the command line would try again for a while.
    ///
    /// # Errors
    /// When it is accepted, or there is no answer.
    pub fn refusal(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let call = Call { method, path, key: None, body: &body.to_string() };
        let answer = http::call(&self.socket(), call)?;
        ensure!(!answer.code().is_empty(), "{method} {path} was not refused: {answer:?}");
        Ok(answer.body["error"].clone())
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
        self.view()?["raft_index"].as_u64().context("no raft_index")
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
        let mut command = self.host().command(&self.programs.probe);
        Ok(Run::of(command.args(["client", "get", url]))?.exits(0)?.stdout)
    }

    /// Connects to an address from inside the host and expects an echo.
    ///
    /// # Errors
    /// When the probe cannot be started; that nobody answers is no error here.
    pub fn dial(&self, protocol: &str, address: &str) -> Result<Run> {
        let mut command = self.host().command(&self.programs.probe);
        Run::of(command.args(["client", "dial", protocol, address, "hello"]))
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

    /// The ends of the logs of the daemon and of its mesh helper.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let tail = |path: &Path, count: usize| {
            let log = fs::read_to_string(path).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            lines[lines.len().saturating_sub(count)..].join("\n")
        };
        let (daemon, helper) = (self.daemon.log(), self.daemon.data_dir().join("mesh/helper.log"));
        let (daemon, helper) = (tail(&daemon, LOG_LINES), tail(&helper, HELPER_LINES));
        format!("the log of {0} ended with:\n{daemon}\nthat of its mesh:\n{helper}\n", self.name())
    }
}

/// The row of a member in a view of the cluster; null when there is none.
#[must_use]
pub fn row_of<'a>(view: &'a Value, name: &str) -> &'a Value {
    let rows = view["nodes"].as_array();
    let row = rows.and_then(|rows| rows.iter().find(|row| row["hostname"] == name));
    row.unwrap_or(&Value::Null)
}
