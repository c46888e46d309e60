//! The programs that builds and labs call, and their installation where they are missing.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::apt;
use crate::debian::Program;
use crate::report::report;

/// Programs and the Debian packages that have them.
const PROGRAMS: [(&str, &str); 16] = [
    ("containerd", "containerd"),
    ("curl", "curl"),
    ("dockerd", "docker.io"),
    ("hostname", "hostname"),
    ("ip", "iproute2"),
    ("iptables", "iptables"),
    ("mkfs.ext4", "e2fsprogs"),
    ("mount", "mount"),
    ("nft", "nftables"),
    ("nsenter", "util-linux"),
    ("openssl", "openssl"),
    ("pebble", "pebble"),
    ("protoc", "protobuf-compiler"),
    ("runc", "runc"),
    ("setsid", "util-linux"),
    ("unshare", "util-linux"),
];

/// What only tests call. The registry's package starts a service where systemd runs, which a demo
/// has no business to do.
const TEST_PROGRAMS: [(&str, &str); 5] = [
    (apt::KEYS, "debian-archive-keyring"),
    ("dig", "bind9-dnsutils"),
    ("docker-registry", "docker-registry"),
    ("musl-gcc", "musl-tools"),
    ("python3", "python3"),
];

/// Where the kernel says whether AppArmor confines programs; dockerd then loads a profile for its
/// containers, and without the loader none of them starts.
const APPARMOR: &str = "/sys/module/apparmor/parameters/enabled";

/// The loader of AppArmor profiles and its package.
const APPARMOR_LOADER: (&str, &str) = ("apparmor_parser", "apparmor");

/// Packages that are unpacked and not installed, and the program each is for.
const UNPACKED: [(&str, &str); 3] =
    [("knot", "knotd"), ("lighttpd", "lighttpd"), ("nginx", "nginx")];

/// Installs what labs need and is missing, with apt; does nothing when everything is there.
///
/// # Errors
/// When something is missing and the caller is not root, has no apt, or apt fails.
pub fn ensure_tools() -> Result<()> {
    ensure(&PROGRAMS)
}

/// Installs what the tests need beyond [`ensure_tools`].
///
/// # Errors
/// As [`ensure_tools`].
pub fn ensure_test_tools() -> Result<()> {
    ensure(&TEST_PROGRAMS)?;
    // Kept for all later runs; a test that finds them missing would make them too.
    Program::pebble()?;
    UNPACKED.iter().try_for_each(|(package, name)| Program::fetch(package, name).map(|_| ()))
}

/// Installs the packages of those `programs` that are missing.
fn ensure(programs: &[(&'static str, &'static str)]) -> Result<()> {
    let search = env::var("PATH").unwrap_or_default();
    let confined = fs::read_to_string(APPARMOR).is_ok_and(|enabled| enabled.trim() == "Y");
    let packages = missing(programs, confined, |program| is_installed(&search, program));
    if packages.is_empty() {
        return Ok(());
    }
    let list = packages.iter().copied().collect::<Vec<_>>().join(" ");
    ensure!(
        rustix::process::geteuid().is_root(),
        "missing packages: {list}; install them or run this as root"
    );
    ensure!(is_installed(&search, "apt-get"), "missing, and there is no apt-get here: {list}");
    report(&format!("installing {list}"));
    apt_get(&["update"], &BTreeSet::new())?;
    apt_get(&["install", "--yes", "--no-install-recommends"], &packages)?;
    match missing(programs, confined, |program| is_installed(&search, program)).len() {
        0 => Ok(()),
        _ => bail!("{list} are installed, but not all programs are in PATH ({search})"),
    }
}

fn missing(
    programs: &[(&'static str, &'static str)],
    confined: bool,
    is_installed: impl Fn(&str) -> bool,
) -> BTreeSet<&'static str> {
    let needed = programs.iter().copied().chain(confined.then_some(APPARMOR_LOADER));
    needed.filter(|(program, _)| !is_installed(program)).map(|(_, package)| package).collect()
}

/// Whether a program is in one of the directories; one with a path of its own, whether it is there.
fn is_installed(search: &str, program: &str) -> bool {
    search.split(':').any(|directory| Path::new(directory).join(program).is_file())
}

fn apt_get(args: &[&str], packages: &BTreeSet<&str>) -> Result<()> {
    let status = Command::new("apt-get")
        .arg("--quiet")
        .args(args)
        .args(packages)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .status()
        .context("cannot start apt-get")?;
    ensure!(status.success(), "apt-get {}: {status}", args.join(" "));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_named_once_and_only_when_missing() {
        assert!(missing(&PROGRAMS, true, |_| true).is_empty());
        assert_eq!(
            missing(&PROGRAMS, true, |p| p != "apparmor_parser"),
            BTreeSet::from(["apparmor"])
        );
        let packages = missing(&PROGRAMS, false, |program| {
            !["nsenter", "unshare", "protoc"].contains(&program)
        });
        assert_eq!(packages, BTreeSet::from(["protobuf-compiler", "util-linux"]));
    }
}
