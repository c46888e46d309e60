//! The programs of another Debian suite, unpacked beside the machine's and kept for later labs.
//!
//! apt resolves and downloads the packages with an empty state of its own, and checks their
//! signatures as always. Nothing is installed and no script of a package runs.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::apt::Apt;
use crate::plan::DATA_ROOT;
use crate::release::{self, EngineRelease};
use crate::report::report;
use crate::run::run;

/// What a host runs: its engine, and what tests and the daemon call.
const PACKAGES: [&str; 11] = [
    "bash",
    "coreutils",
    "dash",
    "docker.io",
    "docker-cli",
    "hostname",
    "iproute2",
    "iptables",
    "mount",
    "nftables",
    "util-linux",
];

/// Raised when what is kept has to be made anew.
const RECIPE: u32 = 1;

/// Names under which iptables is called; a script of its package would make the links.
const IPTABLES: [&str; 6] = [
    "iptables",
    "iptables-save",
    "iptables-restore",
    "ip6tables",
    "ip6tables-save",
    "ip6tables-restore",
];

/// The release's `/usr`, made when it is not there yet; `None` for what is installed.
pub(crate) fn usr(release: EngineRelease) -> Result<Option<PathBuf>> {
    let Some((suite, version)) = release.suite() else { return Ok(None) };
    let parent = Path::new(DATA_ROOT).join("engines");
    let root = parent.join(format!("{version}-r{RECIPE}"));
    let usr = root.join("usr");
    if release::is_usr(&usr) {
        return Ok(Some(usr));
    }
    let what = format!("Docker Engine {version} of Debian {suite}");
    once(&root, &what, || release::is_usr(&usr), |trial| make(trial, suite, version))?;
    Ok(Some(usr))
}

/// Makes a directory unless it is there; one process does, and the others wait for it.
pub(crate) fn once(
    root: &Path,
    what: &str,
    is_made: impl Fn() -> bool,
    make: impl Fn(&Path) -> Result<()>,
) -> Result<()> {
    if is_made() {
        return Ok(());
    }
    let parent = root.parent().context("no place for what is unpacked")?;
    fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
    let lock = File::options().create(true).append(true).open(parent.join("lock"))?;
    lock.lock().with_context(|| format!("lock of {}", parent.display()))?;
    if is_made() {
        return Ok(());
    }
    report(&format!("unpacking {what}"));
    let trial = root.with_extension("new");
    remove(&trial)?;
    make(&trial).with_context(|| what.to_owned())?;
    remove(root)?;
    fs::rename(&trial, root).with_context(|| root.display().to_string())
}

fn remove(directory: &Path) -> Result<()> {
    if directory.try_exists()? {
        fs::remove_dir_all(directory).with_context(|| directory.display().to_string())?;
    }
    Ok(())
}

fn make(root: &Path, suite: &str, version: &str) -> Result<()> {
    let apt = Apt::new(root, suite)?;
    apt.run(&["update"])?;
    apt.run(&[&["install", "--yes", "--download-only"], &PACKAGES[..]].concat())?;
    for name in ["bin", "sbin", "lib", "lib64"] {
        fs::create_dir_all(root.join("usr").join(name))?;
        std::os::unix::fs::symlink(format!("usr/{name}"), root.join(name))?;
    }
    for package in apt.downloaded()? {
        run(Command::new("dpkg-deb").arg("--extract").args([&package, &root.to_path_buf()]))?;
    }
    for name in IPTABLES {
        let link = root.join("usr/sbin").join(name);
        std::os::unix::fs::symlink("xtables-nft-multi", link).with_context(|| name.to_owned())?;
    }
    for needless in ["apt", "usr/share/doc", "usr/share/man", "usr/share/locale"] {
        remove(&root.join(needless))?;
    }
    let found = release::version_of(Command::new("chroot").arg(root).arg("/usr/sbin/dockerd"))?;
    ensure!(found.starts_with(version), "the mirror has {found} instead");
    Ok(())
}
