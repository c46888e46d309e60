//! Checks of this host that need no daemon: Docker, disk, clock, kernel, network.

use super::Check;
use crate::cli::time;
use crate::daemon::config;
use jaco_runtime::Engine;
use std::path::Path;

/// All checks, with this host's name.
pub(super) fn checks() -> Vec<Check> {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let mut checks = match config::load(None, &crate::daemon::variables()) {
        Ok(loaded) => {
            let config = loaded.config;
            vec![settings(&loaded.warnings), docker(&config.docker_host), disk(&config.data_dir)]
        }
        Err(faults) => {
            vec![Check::fail("config", faults.join("; "), "jaco doctor --config says more")]
        }
    };
    checks.extend([clock(time::now()), kernel(), packet_filter(), tunnel()]);
    checks.into_iter().map(|check| Check { node: name.clone(), ..check }).collect()
}

fn settings(warnings: &[String]) -> Check {
    match warnings {
        [] => Check::ok("config", "the configuration holds"),
        warnings => Check::warn("config", warnings.join("; "), "jaco doctor --config"),
    }
}

/// Docker Engine as this user reaches it: there, and new enough.
fn docker(docker_host: &str) -> Check {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let answer = runtime.map_err(|error| error.to_string()).and_then(|runtime| {
        runtime.block_on(async {
            let engine = Engine::connect(docker_host).await.map_err(|error| error.to_string())?;
            engine.facts().await.map_err(|fault| fault.reason)
        })
    });
    match answer {
        Ok(facts) => Check::ok("docker", format!("Engine {}, API {}", facts.version, facts.api)),
        Err(words) => Check::fail(
            "docker",
            words,
            "JACO needs Docker 20.10 or newer, and the right to use its socket",
        ),
    }
}

/// Least free space of the data directory, in bytes.
const SPACE_MIN: u64 = 256 * 1024 * 1024;

/// Free space where the daemon keeps its state.
fn disk(dir: &Path) -> Check {
    // Before the first start the directory does not exist; what counts then is where it will be.
    let found = dir.ancestors().find_map(|dir| rustix::fs::statvfs(dir).ok());
    let Some(space) = found else {
        return Check::warn("disk", format!("cannot look at {}", dir.display()), "run as root");
    };
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    let message = format!("{} MiB free for {}", free / 1024 / 1024, dir.display());
    match free < SPACE_MIN {
        true => Check::fail("disk", message, "make room: without it no change can be stored"),
        false => Check::ok("disk", message),
    }
}

/// 2025-01-01 in milliseconds since the Unix epoch: older than any build of this program.
const TOO_EARLY: u64 = 1_735_689_600_000;

/// A clock that was never set breaks certificates, logs and time limits.
fn clock(now: u64) -> Check {
    let message = jaco_model::WallMs(now).to_string();
    match now < TOO_EARLY {
        true => Check::fail("clock", message, "set the clock and run a time service"),
        false => Check::ok("clock", message),
    }
}

/// What this version needs of the kernel.
fn kernel() -> Check {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    match Path::new("/sys/fs/cgroup/cgroup.controllers").try_exists() {
        Ok(true) => Check::ok("kernel", format!("Linux {release}, cgroup v2")),
        Ok(false) | Err(_) => Check::warn(
            "kernel",
            format!("Linux {release} without cgroup v2"),
            "limits of containers hold less well; boot with systemd.unified_cgroup_hierarchy=1",
        ),
    }
}

/// Containers start only behind a packet filter.
fn packet_filter() -> Check {
    match jaco_firewall::drop_counters() {
        Ok(counters) if counters.is_empty() => {
            Check::ok("nftables", "nf_tables answers; no table of JACO is installed")
        }
        Ok(counters) => {
            let dropped: u64 = counters.values().map(|counted| counted.packets).sum();
            Check::ok(
                "nftables",
                format!("nf_tables answers; JACO's table dropped {dropped} packets"),
            )
        }
        Err(error) if !rustix::process::geteuid().is_root() => {
            Check::warn("nftables", error.to_string(), "run as root to look at the packet filter")
        }
        Err(error) => Check::fail(
            "nftables",
            error.to_string(),
            "the kernel needs nf_tables (CONFIG_NF_TABLES, CONFIG_NF_TABLES_INET); \
             without it no container starts",
        ),
    }
}

fn is_there(path: &str) -> bool {
    Path::new(path).try_exists().unwrap_or(false)
}

/// Whether a kernel's list of modules has WireGuard. The daemon's first question loads it.
fn has_wireguard(modules: &Path) -> bool {
    let names = |list: &str| {
        let text = std::fs::read_to_string(modules.join(list)).unwrap_or_default();
        text.lines().any(|line| {
            // What follows the colon is what a module needs.
            let name = line.split(':').next().unwrap_or_default();
            name.rsplit('/').next().is_some_and(|file| file.starts_with("wireguard.ko"))
        })
    };
    names("modules.dep") || names("modules.builtin")
}

/// What carries the traffic between nodes.
fn tunnel() -> Check {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let modules = Path::new("/lib/modules").join(release);
    if is_there("/sys/module/wireguard") || has_wireguard(&modules) {
        return Check::ok("mesh", "the kernel has WireGuard");
    }
    if is_there("/dev/net/tun") {
        return Check::ok("mesh", "no WireGuard in the kernel; the built-in one uses /dev/net/tun");
    }
    Check::fail(
        "mesh",
        "the kernel has neither WireGuard nor /dev/net/tun",
        "modprobe wireguard, or modprobe tun; without one of them a cluster has only one node",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wireguard_counts_before_it_is_loaded() {
        let modules = tempfile::tempdir().unwrap();
        assert!(!has_wireguard(modules.path()));
        let others = "kernel/net/ipv4/udp_tunnel.ko:\nkernel/a.ko: kernel/wireguard.ko\n";
        std::fs::write(modules.path().join("modules.dep"), others).unwrap();
        assert!(!has_wireguard(modules.path()));
        let module = "kernel/drivers/net/wireguard/wireguard.ko.xz: kernel/net/udp_tunnel.ko.xz\n";
        std::fs::write(modules.path().join("modules.dep"), module).unwrap();
        assert!(has_wireguard(modules.path()));
        std::fs::remove_file(modules.path().join("modules.dep")).unwrap();
        let built_in = "kernel/drivers/net/wireguard/wireguard.ko\n";
        std::fs::write(modules.path().join("modules.builtin"), built_in).unwrap();
        assert!(has_wireguard(modules.path()));
    }

    #[test]
    fn a_clock_that_was_never_set_fails() {
        assert_eq!(clock(0).result, "fail");
        assert_eq!(clock(TOO_EARLY).result, "ok");
    }

    #[test]
    fn space_is_found_for_a_directory_that_is_not_there_yet() {
        assert_ne!(disk(Path::new("/nonexistent/jaco")).result, "warn");
    }

    #[test]
    fn an_engine_that_is_not_there_fails() {
        assert_eq!(docker("unix:///nonexistent/docker.sock").result, "fail");
    }
}
