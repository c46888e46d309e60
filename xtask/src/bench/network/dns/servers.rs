//! The three servers, each with the same names.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use jaco_dns::{Config, Driver, DriverHandle};
use jaco_dns_core::{Effect, Input};
use jaco_kit::Clock;
use jaco_kit_core::OpId;

use super::names::{BRIDGE, GATEWAY, LENGTH, hosts, shared_zones, zone};
use crate::bench::debian::Program;
use crate::bench::measure::{cpu_seconds, thread_seconds};
use crate::bench::space::{Running, Space};

/// Longest time until sockets are open.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Server {
    Jaco,
    Unbound,
    Dnsmasq,
}

impl Server {
    /// Ours first.
    pub(super) const ALL: [Server; 3] = [Server::Jaco, Server::Unbound, Server::Dnsmasq];

    /// For people.
    pub(super) fn name(self) -> &'static str {
        match self {
            Server::Jaco => "jaco",
            Server::Unbound => "unbound local-data",
            Server::Dnsmasq => "dnsmasq host-record",
        }
    }
}

/// The peers' programs, and a directory for their configuration.
pub(super) struct Servers {
    unbound: Program,
    dnsmasq: Program,
    directory: PathBuf,
}

impl Servers {
    pub(super) fn fetch() -> Result<Servers> {
        let directory = crate::run::target_dir()?.join("bench").join("dns");
        fs::create_dir_all(&directory)?;
        let unbound = Program::fetch("unbound", "unbound")?;
        let dnsmasq = Program::fetch("dnsmasq-base", "dnsmasq")?;
        Ok(Servers { unbound, dnsmasq, directory })
    }

    /// Starts one in a namespace.
    pub(super) fn start(&self, server: Server, host: &Space) -> Result<Serving> {
        match server {
            Server::Jaco => host.run(ours),
            Server::Unbound => host.start(self.unbound()?).map(Serving::Program),
            Server::Dnsmasq => host.start(self.dnsmasq()?).map(Serving::Program),
        }
    }

    /// One thread, and no question is ever asked elsewhere.
    fn unbound(&self) -> Result<Command> {
        let mut text = format!(
            "server:\n interface: {GATEWAY}\n num-threads: 1\n do-daemonize: no\n chroot: \"\"\n directory: \"\"\n \
             username: \"\"\n pidfile: \"\"\n use-syslog: no\n verbosity: 0\n \
             access-control: {GATEWAY}/{LENGTH} allow\n local-zone: \"{}.\" static\n",
            zone()
        );
        for (name, address) in hosts() {
            writeln!(text, " local-data: \"{name}. 5 IN A {address}\"")?;
        }
        text.push_str("remote-control:\n control-enable: no\n");
        let file = self.directory.join("unbound.conf");
        fs::write(&file, text)?;
        let mut command = self.unbound.command();
        command.arg("-d").arg("-c").arg(file).stderr(Stdio::null());
        Ok(command)
    }

    fn dnsmasq(&self) -> Result<Command> {
        let mut command = self.dnsmasq.command();
        command
            .args(["--keep-in-foreground", "--conf-file=/dev/null", "--pid-file", "--user=root"])
            .args(["--no-resolv", "--no-hosts", "--bind-interfaces", "--local-ttl=5"])
            .arg(format!("--listen-address={GATEWAY}"))
            .arg("--log-facility=-")
            .arg(format!("--local=/{}/", zone()));
        command.stderr(Stdio::null());
        command.args(hosts().map(|(name, address)| format!("--host-record={name},{address}")));
        Ok(command)
    }
}

/// A server that runs; dropping it ends it.
pub(super) enum Serving {
    /// Ours, on a thread of this process.
    Ours(DriverHandle),
    Program(Running),
}

/// Our responder in the namespace and on the processor of this thread.
fn ours() -> Result<Serving> {
    let (tell, told) = channel();
    let config = Config { resolv_conf: "/dev/null".into(), ..Config::new(Clock::new()) };
    let responder = Driver::spawn(config, move |input| drop(tell.send(input)))?;
    responder.run(Effect::Serve(shared_zones()?));
    // The sockets of the one before close when its thread gets to it.
    for number in 0..100 {
        let order =
            Effect::Listen { op: OpId(number), bridge: BRIDGE.to_owned(), gateway: GATEWAY };
        responder.run(order);
        match told.recv_timeout(PATIENCE)? {
            Input::Listening { result: Ok(()), .. } => return Ok(Serving::Ours(responder)),
            Input::Listening { .. } => crate::bench::measure::rest(Duration::from_millis(20)),
            other => bail!("unexpected: {other:?}"),
        }
    }
    Err(anyhow!("the responder opens no sockets"))
}

impl Serving {
    /// Processor time so far; ours of all responders of this process.
    pub(super) fn cpu_seconds(&self) -> Result<f64> {
        match self {
            Serving::Ours(_) => thread_seconds(std::process::id(), "dns"),
            Serving::Program(running) => cpu_seconds(running.id()),
        }
    }

    /// Fails when it ended, or did not answer whom it should.
    pub(super) fn check(mut self) -> Result<()> {
        match &mut self {
            Serving::Ours(responder) => {
                let counts = responder.counts();
                ensure!(counts.excess == 0 && counts.ignored == 0, "not answered: {counts:?}");
                Ok(())
            }
            Serving::Program(running) => running.check().context("a server"),
        }
    }
}
