//! A lab host with a daemon that is in a cluster: what the demo and the benchmarks stand on.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use jaco_lab::{Artifact, Daemon, Host, Lab, LabOptions, build_binary, ensure_tools, until};
use serde_json::Value;

/// The image of the test workload, as the examples name it.
pub(crate) const PROBE_IMAGE: &str = "jaco-probe:dev";

/// Longest time until the daemon's node takes work.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// One host with an engine, a daemon and the probe image.
pub(crate) struct Site {
    // Dropped before the lab, so that the daemon ends first.
    daemon: Daemon,
    lab: Lab,
    probe: PathBuf,
}

/// The binaries a site runs.
pub(crate) struct Binaries {
    /// `jaco`.
    pub(crate) jaco: PathBuf,
    /// The static test workload.
    pub(crate) probe: PathBuf,
}

impl Binaries {
    /// Builds both.
    pub(crate) fn build(is_release: bool) -> Result<Binaries> {
        let jaco = build_binary(Artifact { package: "jaco", is_static: false, is_release })?;
        let probe = Artifact { package: "jaco-probe", is_static: true, is_release: false };
        Ok(Binaries { jaco, probe: build_binary(probe)? })
    }
}

impl Site {
    /// Installs what is missing, brings up the lab and begins a cluster.
    pub(crate) fn up(name: &str, binaries: &Binaries) -> Result<Site> {
        ensure_tools()?;
        let lab = Lab::up(LabOptions::new(name, 1))?;
        let host = lab.hosts().first().context("a lab without hosts")?;
        host.import_probe(&binaries.probe, PROBE_IMAGE)?;
        let daemon = Daemon::start(host, &binaries.jaco)?;
        let site = Site { daemon, lab, probe: binaries.probe.clone() };
        site.jaco(&["cluster", "init", "--name", name])?;
        until("the node", READY_LIMIT, || {
            let status = site.json(&["cluster", "status"])?;
            Ok((status["nodes"][0]["status"] == "ready").then_some(()))
        })?;
        Ok(site)
    }

    /// The only host.
    pub(crate) fn host(&self) -> &Host {
        &self.lab.hosts()[0]
    }

    /// The daemon.
    pub(crate) fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    /// Runs `jaco` and gives what it prints; a failure is an error with its words.
    pub(crate) fn jaco(&self, args: &[&str]) -> Result<String> {
        output(&mut self.daemon.jaco(args)).with_context(|| format!("jaco {}", args.join(" ")))
    }

    /// Runs `jaco … -o json`.
    pub(crate) fn json(&self, args: &[&str]) -> Result<Value> {
        let text = self.jaco(&[args, &["-o", "json"]].concat())?;
        serde_json::from_str(&text).context("output of jaco")
    }

    /// Runs `jaco` with its output on ours.
    pub(crate) fn show(&self, args: &[&str]) -> Result<()> {
        println!("$ jaco {}", args.join(" "));
        let status = self.daemon.jaco(args).status()?;
        ensure!(status.success(), "jaco {}: {status}", args.join(" "));
        Ok(())
    }

    /// Runs Docker's own command line against the host's engine.
    pub(crate) fn docker(&self, args: &[&str]) -> Result<String> {
        output(&mut self.host().docker(args)).with_context(|| format!("docker {}", args.join(" ")))
    }

    /// The body of an HTTP answer, asked for from inside the host.
    pub(crate) fn get(&self, url: &str) -> Result<String> {
        output(self.host().command(&self.probe).args(["client", "get", url]))
    }

    /// Removes everything; what cannot be removed is an error.
    pub(crate) fn down(mut self) -> Result<()> {
        self.daemon.stop()?;
        self.lab.down()
    }
}

/// Standard output of a command that must succeed.
fn output(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().context("cannot start")?;
    if !output.status.success() {
        bail!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Directory of an example.
pub(crate) fn example(name: &str) -> Result<PathBuf> {
    let directory = crate::run::root()?.join("docs/examples").join(name);
    ensure!(Path::is_dir(&directory), "{} is not there", directory.display());
    Ok(directory)
}
