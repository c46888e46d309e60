//! The Docker Engine of a host: a containerd and a dockerd that share nothing with any other.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use serde_json::json;

use crate::api::Engine;
use crate::host::enter;
use crate::plan::HostPlan;
use crate::process::{self, Namespace, Process};
use crate::release::version_of;
use crate::run::run;
use crate::wait::until;

/// A cold dockerd takes under a second; a machine busy with builds takes many.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// How long dockerd may take to stop its containers.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// Bytes of a daemon's log that an error shows.
const LOG_TAIL_BYTES: usize = 2000;

/// Starts a containerd for the host.
///
/// A dockerd that finds a containerd of the machine would use that one, so each gets its own.
pub(crate) fn start_containerd(host: &HostPlan) -> Result<()> {
    let config = host.run_dir.join("containerd.toml");
    let text = format!(
        "version = 2\n\
         root = {root:?}\n\
         state = {state:?}\n\
         disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
         [grpc]\n\
         address = {socket:?}\n\
         [plugins.\"io.containerd.internal.v1.opt\"]\n\
         path = {opt:?}\n",
        root = host.data_dir.join("containerd"),
        state = host.run_dir.join("containerd"),
        socket = host.containerd_socket(),
        opt = host.data_dir.join("containerd-opt"),
    );
    fs::write(&config, text)?;
    start_daemon(host, "containerd", &["--config".into(), config.display().to_string()])
}

/// Starts the host's dockerd; it answers some time later.
pub(crate) fn start(host: &HostPlan) -> Result<()> {
    // Without a file of its own it would read the machine's /etc/docker/daemon.json.
    let config = host.run_dir.join("docker.json");
    fs::write(&config, configuration(host)?)?;
    remove_stale_pid_file(host)?;
    let path_flag = |flag: &str, path: &Path| format!("--{flag}={}", path.display());
    let flags = [
        path_flag("config-file", &config),
        path_flag("data-root", &host.data_dir.join("docker")),
        path_flag("exec-root", &host.run_dir.join("exec")),
        path_flag("pidfile", &host.docker_pid_file()),
        path_flag("containerd", &host.containerd_socket()),
        format!("--host=unix://{}", host.docker_socket().display()),
        format!("--cgroup-parent=/{}", host.cgroup),
        // The systemd driver would put containers into units of the machine.
        "--exec-opt=native.cgroupdriver=cgroupfs".into(),
        format!("--storage-driver={}", storage_driver(&host.data_dir)?),
    ];
    start_daemon(host, "dockerd", &flags)
}

/// A killed dockerd leaves its file, and the next one refuses to start while the process with that
/// id has not been collected by its parent.
fn remove_stale_pid_file(host: &HostPlan) -> Result<()> {
    match fs::remove_file(host.docker_pid_file()) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error).context("docker.pid"),
        _ => Ok(()),
    }
}

/// What the engine is told in its file and could not be told by a flag of every version.
///
/// Up to release 20.10 an engine's id is that of a key in /etc/docker, so that all engines of a
/// machine share it; later releases keep an id with the data, and refuse this setting.
fn configuration(host: &HostPlan) -> Result<String> {
    let version = version_of(&mut enter(host, "dockerd"))?;
    let old = major(&version).is_some_and(|major| major <= 20);
    let key = host.data_dir.join("key.json");
    let mut settings = json!({ "live-restore": host.live_restore().is_file() });
    if old {
        settings["deprecated-key-path"] = json!(key);
    }
    Ok(settings.to_string())
}

/// First number of `20.10.24+dfsg1`.
fn major(version: &str) -> Option<u32> {
    version.split('.').next()?.parse().ok()
}

/// Starts a daemon that outlives this process and is collected by process 1, not by us.
fn start_daemon(host: &HostPlan, program: &str, args: &[String]) -> Result<()> {
    let log = File::options().create(true).append(true).open(host.log(program))?;
    let inner = enter(host, program);
    let status = Command::new("setsid")
        .arg("--fork")
        .arg(inner.get_program())
        .args(inner.get_args())
        .args(args)
        .env_remove("NOTIFY_SOCKET")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .status()
        .with_context(|| format!("cannot start {program}"))?;
    if !status.success() {
        bail!("cannot start {program}: {status}");
    }
    Ok(())
}

/// overlay2 where the file system can carry it; vfs, which copies, elsewhere.
fn storage_driver(data_dir: &Path) -> Result<&'static str> {
    let trial = data_dir.join("overlay-trial");
    for directory in ["lower", "upper", "work", "merged"] {
        fs::create_dir_all(trial.join(directory))?;
    }
    let options =
        format!("lowerdir={0}/lower,upperdir={0}/upper,workdir={0}/work", trial.display());
    let merged = trial.join("merged");
    let mounted =
        run(Command::new("mount").args(["-t", "overlay", "overlay", "-o", &options]).arg(&merged));
    if mounted.is_ok() {
        run(Command::new("umount").arg(&merged))?;
    }
    fs::remove_dir_all(&trial)?;
    Ok(if mounted.is_ok() { "overlay2" } else { "vfs" })
}

/// Waits until the engine answers; gives up early when its process has ended.
pub(crate) fn wait_until_ready(host: &HostPlan) -> Result<()> {
    let engine = Engine::new(host.docker_socket());
    let mut seen = false;
    until("Docker Engine to answer", READY_LIMIT, || {
        if engine.ping().is_ok() {
            return Ok(Some(()));
        }
        let runs = find(host, "dockerd").is_some();
        if seen && !runs {
            bail!("dockerd has ended");
        }
        seen |= runs;
        Ok(None)
    })
    .with_context(|| format!("{}: {}", host.name, log_tail(&host.log("dockerd"))))
}

/// Process id of the host's dockerd.
pub(crate) fn pid(host: &HostPlan) -> Result<i32> {
    Ok(running(host, "dockerd")?.pid)
}

/// Stops the dockerd with SIGTERM and waits for its end.
pub(crate) fn stop(host: &HostPlan) -> Result<()> {
    stop_program(host, "dockerd")
}

/// Stops the containerd of a dockerd that was stopped.
pub(crate) fn stop_containerd(host: &HostPlan) -> Result<()> {
    stop_program(host, "containerd")
}

fn stop_program(host: &HostPlan, program: &str) -> Result<()> {
    process::signal(&running(host, program)?, Signal::TERM);
    until(&format!("{program} to stop"), STOP_LIMIT, || {
        Ok(find(host, program).is_none().then_some(()))
    })
}

/// Kills the dockerd and waits for its end; its containers stay.
pub(crate) fn kill(host: &HostPlan) -> Result<()> {
    signal(host, Signal::KILL)?;
    until("dockerd to die", STOP_LIMIT, || Ok(find(host, "dockerd").is_none().then_some(())))
}

/// Sends the host's dockerd a signal.
pub(crate) fn signal(host: &HostPlan, signal: Signal) -> Result<()> {
    process::signal(&running(host, "dockerd")?, signal);
    Ok(())
}

fn running(host: &HostPlan, program: &str) -> Result<Process> {
    find(host, program).with_context(|| format!("{}: {program} does not run", host.name))
}

fn find(host: &HostPlan, program: &str) -> Option<Process> {
    let namespace = Namespace::mounted_on(&host.net_namespace())?;
    namespace.processes().into_iter().find(|process| process.program == program)
}

fn log_tail(path: &Path) -> String {
    let log = fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&log[log.len().saturating_sub(LOG_TAIL_BYTES)..]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_number_tells_old_engines() {
        assert_eq!(major("20.10.24+dfsg1"), Some(20));
        assert_eq!(major("28.5.2"), Some(28));
        assert_eq!(major("something else"), None);
    }
}
