//! One host of a lab.

use std::ffi::OsStr;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use rustix::process::Signal;

use crate::api::Engine;
use crate::engine;
use crate::plan::HostPlan;
use crate::release::{self, EngineRelease};
use crate::tar;

/// A network namespace and host name with a Docker Engine in it.
#[derive(Debug, Clone)]
pub struct Host {
    pub(crate) plan: HostPlan,
}

impl Host {
    /// The host name: `node-1` and so on.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.plan.name
    }

    /// The address on the lab's bridge, reachable from the machine and from all hosts.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.plan.address
    }

    /// The unix socket of the host's Docker Engine.
    #[must_use]
    pub fn docker_socket(&self) -> PathBuf {
        self.plan.docker_socket()
    }

    /// A directory of this host on disk, removed with the lab: for the daemon's state.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.plan.data_dir
    }

    /// Where the host's [`Daemon`](crate::Daemon) keeps its state.
    #[must_use]
    pub fn daemon_data_dir(&self) -> PathBuf {
        self.plan.data_dir.join("jaco")
    }

    /// A short directory of this host for sockets, removed with the lab.
    #[must_use]
    pub fn run_dir(&self) -> &Path {
        &self.plan.run_dir
    }

    /// The end of the host's cable on the machine's side: setting it down cuts the host off.
    #[must_use]
    pub fn veth(&self) -> &str {
        &self.plan.veth
    }

    /// A command that will run inside the host; its process id is that of `program`.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = enter(&self.plan, program);
        command.env("DOCKER_HOST", format!("unix://{}", self.docker_socket().display()));
        command
    }

    /// A `docker` command against this host's engine, where that client is installed.
    #[must_use]
    pub fn docker<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        let mut command = self.command("docker");
        command.args(args);
        command
    }

    /// The API of the host's engine.
    #[must_use]
    pub fn engine(&self) -> Engine {
        Engine::new(self.docker_socket())
    }

    /// Imports the static binary at `path` as the image `tag` (`name:tag`), with the binary as
    /// `/probe`, which is also the image's entrypoint.
    ///
    /// # Errors
    /// When the file cannot be read or the engine refuses the image.
    pub fn import_probe(&self, path: &Path, tag: &str) -> Result<()> {
        let archive = tar::single_file("probe", &std::fs::read(path)?)?;
        self.engine().import(tag, r#"ENTRYPOINT ["/probe"]"#, &archive)
    }

    /// Process id of the dockerd, for tests that pause or kill it.
    ///
    /// # Errors
    /// When it does not run.
    pub fn engine_pid(&self) -> Result<i32> {
        engine::pid(&self.plan)
    }

    /// Stops the dockerd as `systemctl stop docker` would, and waits until it is gone.
    ///
    /// # Errors
    /// When it does not run or does not stop.
    pub fn stop_engine(&self) -> Result<()> {
        engine::stop(&self.plan)
    }

    /// Kills the dockerd as `kill -9` does, and waits until it is gone; its containers stay.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill_engine(&self) -> Result<()> {
        engine::kill(&self.plan)
    }

    /// Stops the dockerd as SIGSTOP does: it answers nobody until [`Host::resume_engine`].
    ///
    /// # Errors
    /// When it does not run.
    pub fn pause_engine(&self) -> Result<()> {
        engine::signal(&self.plan, Signal::STOP)
    }

    /// Lets a paused dockerd go on.
    ///
    /// # Errors
    /// When it does not run.
    pub fn resume_engine(&self) -> Result<()> {
        engine::signal(&self.plan, Signal::CONT)
    }

    /// From its next start on the engine leaves its containers running when it stops.
    ///
    /// # Errors
    /// When the mark cannot be written.
    pub fn keep_containers(&self) -> Result<()> {
        Ok(std::fs::write(self.plan.live_restore(), "")?)
    }

    /// Stops the engine with all it consists of, and starts another release on the same data, as an
    /// upgrade of the package does. The lab must have been given the engine of this host by name.
    ///
    /// # Errors
    /// When it was not, the engine does not run or does not stop, or the other one does not come
    /// up.
    pub fn replace_engine(&self, release: EngineRelease) -> Result<()> {
        ensure!(release::has_namespace(&self.plan), "{} has no programs of its own", self.name());
        release::prepare(&[release])?;
        engine::stop(&self.plan)?;
        engine::stop_containerd(&self.plan)?;
        release::install(&self.plan, release)?;
        engine::start_containerd(&self.plan)?;
        self.start_engine()
    }

    /// Starts the dockerd again and waits until it answers.
    ///
    /// # Errors
    /// When it does not come up; the error holds the end of its log.
    pub fn start_engine(&self) -> Result<()> {
        engine::start(&self.plan)?;
        engine::wait_until_ready(&self.plan)
    }
}

/// A command that enters the host's namespaces and becomes `program`.
///
/// `ip netns exec` would also mount a new /sys, which hides the control groups from dockerd.
pub(crate) fn enter(host: &HostPlan, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("nsenter");
    command
        .arg(format!("--net={}", host.net_namespace().display()))
        .arg(format!("--uts={}", host.uts_namespace().display()));
    if release::has_namespace(host) {
        command.arg(format!("--mount={}", host.mount_namespace().display()));
    }
    command.arg("--").arg(program);
    command
}
