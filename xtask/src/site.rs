//! Lab hosts with daemons on them: what the demo and the benchmarks stand on.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use jaco_lab::{
    Artifact, Daemon, Engine, Host, Lab, LabOptions, Pebble, PebbleOptions, build_binary,
    ensure_tools, until,
};
use serde_json::Value;

/// The image of the test workload, as the examples name it.
pub(crate) const PROBE_IMAGE: &str = "jaco-probe:dev";

/// Longest time until the daemon's node takes work.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// Hosts with an engine, a daemon and the probe image each.
pub(crate) struct Site {
    // Dropped before the lab, so that the daemons end first.
    members: Vec<Member>,
    authority: Option<Pebble>,
    lab: Lab,
}

/// One host of a site.
pub(crate) struct Member {
    daemon: Daemon,
    host: Host,
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
    /// Installs what is missing, brings up a lab with one host and begins a cluster.
    pub(crate) fn up(name: &str, binaries: &Binaries) -> Result<Site> {
        let site = Site::of_hosts(name, 1, binaries)?;
        site.member(0).jaco(&["cluster", "init", "--name", name, "--no-systemd-enable"])?;
        site.member(0).wait_until_ready()?;
        Ok(site)
    }

    /// As [`Site::up`], with so many hosts and no cluster yet.
    pub(crate) fn of_hosts(name: &str, hosts: u8, binaries: &Binaries) -> Result<Site> {
        ensure_tools()?;
        let lab = Lab::up(LabOptions::new(name, hosts))?;
        Site::on(lab, None, binaries)
    }

    /// As [`Site::of_hosts`], with a certificate authority of its own that the daemons use.
    pub(crate) fn with_authority(name: &str, hosts: u8, binaries: &Binaries) -> Result<Site> {
        ensure_tools()?;
        let lab = Lab::up(LabOptions::new(name, hosts))?;
        let first = lab.hosts().first().context("a lab without hosts")?;
        let pebble = Pebble::start(first, &PebbleOptions::default())?;
        Site::on(lab, Some(pebble), binaries)
    }

    fn on(lab: Lab, authority: Option<Pebble>, binaries: &Binaries) -> Result<Site> {
        lab.import_probe_everywhere(&binaries.probe, PROBE_IMAGE)?;
        let env = authority.as_ref().map(Pebble::env).unwrap_or_default();
        let member = |host: &Host| -> Result<Member> {
            let daemon = Daemon::start_with(host, &binaries.jaco, &env)?;
            Ok(Member { daemon, host: host.clone(), probe: binaries.probe.clone() })
        };
        let members = lab.hosts().iter().map(member).collect::<Result<Vec<_>>>()?;
        Ok(Site { members, authority, lab })
    }

    /// The certificate authority.
    pub(crate) fn authority(&self) -> Result<&Pebble> {
        self.authority.as_ref().context("the site has no certificate authority")
    }

    /// All hosts.
    pub(crate) fn members(&self) -> &[Member] {
        &self.members
    }

    /// A host, counted from 0.
    pub(crate) fn member(&self, index: usize) -> &Member {
        &self.members[index]
    }

    /// A host whose daemon is to be ended or started.
    pub(crate) fn member_mut(&mut self, index: usize) -> &mut Member {
        &mut self.members[index]
    }

    /// The first host.
    pub(crate) fn host(&self) -> &Host {
        &self.member(0).host
    }

    /// Its daemon.
    pub(crate) fn daemon(&self) -> &Daemon {
        &self.member(0).daemon
    }

    /// Runs `jaco` there; see [`Member::jaco`].
    pub(crate) fn jaco(&self, args: &[&str]) -> Result<String> {
        self.member(0).jaco(args)
    }

    /// Runs `jaco … -o json` there.
    pub(crate) fn json(&self, args: &[&str]) -> Result<Value> {
        self.member(0).json(args)
    }

    /// Runs `jaco` there with its output on ours.
    pub(crate) fn show(&self, args: &[&str]) -> Result<()> {
        println!("$ jaco {}", args.join(" "));
        self.member(0).run(args)
    }

    /// Runs Docker's own command line against the first host's engine.
    pub(crate) fn docker(&self, args: &[&str]) -> Result<String> {
        self.member(0).docker(args)
    }

    /// The body of an HTTP answer, asked for from inside the first host.
    pub(crate) fn get(&self, url: &str) -> Result<String> {
        self.member(0).get(url)
    }

    /// Removes everything; what cannot be removed is an error.
    pub(crate) fn down(mut self) -> Result<()> {
        self.members.iter_mut().try_for_each(|member| member.daemon.stop())?;
        self.lab.down()
    }
}

impl Member {
    /// The host's name.
    pub(crate) fn name(&self) -> &str {
        self.host.name()
    }

    /// The daemon, to be killed and started again.
    pub(crate) fn daemon(&mut self) -> &mut Daemon {
        &mut self.daemon
    }

    /// The product's API on its unix socket.
    pub(crate) fn api(&self) -> Engine {
        Engine::new(self.daemon.socket())
    }

    /// The API of the host's engine.
    pub(crate) fn engine(&self) -> Engine {
        self.host.engine()
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

    /// Runs `jaco` with its output on ours, and says on which host.
    pub(crate) fn show(&self, args: &[&str]) -> Result<()> {
        println!("{}$ jaco {}", self.name(), args.join(" "));
        self.run(args)
    }

    fn run(&self, args: &[&str]) -> Result<()> {
        let status = self.daemon.jaco(args).status()?;
        ensure!(status.success(), "jaco {}: {status}", args.join(" "));
        Ok(())
    }

    /// Waits until the node takes work.
    pub(crate) fn wait_until_ready(&self) -> Result<()> {
        until("the node", READY_LIMIT, || {
            // While it starts it answers with errors.
            let view = self.api().get("/v1/cluster").unwrap_or_default();
            let rows = view["nodes"].as_array().map_or(&[][..], Vec::as_slice);
            let is_ready = |row: &Value| row["hostname"] == self.name() && row["status"] == "ready";
            Ok((view["leader"].is_string() && rows.iter().any(is_ready)).then_some(()))
        })
        .with_context(|| format!("{} is not ready", self.name()))
    }

    /// Runs Docker's own command line against the host's engine.
    pub(crate) fn docker(&self, args: &[&str]) -> Result<String> {
        output(&mut self.host.docker(args)).with_context(|| format!("docker {}", args.join(" ")))
    }

    /// The address of the host.
    pub(crate) fn address(&self) -> std::net::Ipv4Addr {
        self.host.address()
    }

    /// The body of an HTTP answer, asked for from inside the host.
    pub(crate) fn get(&self, url: &str) -> Result<String> {
        output(self.host.command(&self.probe).args(["client", "get", url]))
    }
}

/// Standard output of a command that must succeed.
pub(crate) fn output(command: &mut Command) -> Result<String> {
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
