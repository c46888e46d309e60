//! Debian packages, unpacked beside each other and never installed.
//!
//! Those that are installed here already are taken from the system. The set is complete once its
//! mark is written; after that no network is needed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// What a guest is made of.
const PACKAGES: [&str; 3] = ["qemu-system-x86", "busybox-static", "kmod"];
/// Depends on the newest kernel for guests, in which WireGuard is a module.
const KERNEL: &str = "linux-image-cloud-amd64";
/// Where Debian keeps libraries.
const LIBRARIES: [&str; 2] = ["lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"];

/// A directory with unpacked packages.
#[derive(Debug)]
pub(super) struct System {
    root: PathBuf,
    /// The kernel's version, as its directories have it.
    pub(super) version: String,
}

impl System {
    /// The kernel itself.
    pub(super) fn kernel(&self) -> PathBuf {
        self.root.join("boot").join(format!("vmlinuz-{}", self.version))
    }

    /// The directory of the kernel's modules.
    pub(super) fn modules(&self) -> PathBuf {
        self.root.join("lib/modules").join(&self.version)
    }

    /// A file of a package: unpacked here, or of this machine.
    pub(super) fn file(&self, path: &str) -> Result<PathBuf> {
        let places = [self.root.join(path), Path::new("/").join(path)];
        let found = places.into_iter().find(|place| place.is_file());
        found.with_context(|| format!("no package has {path}"))
    }

    /// A directory of a package, likewise.
    pub(super) fn directory(&self, path: &str) -> PathBuf {
        let unpacked = self.root.join(path);
        if unpacked.is_dir() { unpacked } else { Path::new("/").join(path) }
    }

    /// A program that finds its libraries among the packages.
    pub(super) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        let search = LIBRARIES.map(|place| self.root.join(place).display().to_string()).join(":");
        command.env("LD_LIBRARY_PATH", search).stdin(Stdio::null());
        command
    }
}

/// Downloads and unpacks what is missing in `cache`.
pub(super) fn fetch(cache: &Path) -> Result<System> {
    let (root, mark) = (cache.join("root"), cache.join("root.complete"));
    if !mark.is_file() {
        let debs = cache.join("debs");
        for old in [&root, &debs] {
            if old.is_dir() {
                fs::remove_dir_all(old).with_context(|| format!("remove {}", old.display()))?;
            }
        }
        fs::create_dir_all(&debs).with_context(|| format!("make {}", debs.display()))?;
        download(&debs)?;
        unpack(&debs, &root)?;
        fs::write(&mark, "").with_context(|| format!("write {}", mark.display()))?;
    }
    let modules = root.join("lib/modules");
    let mut versions = fs::read_dir(&modules).context("no kernel was unpacked")?;
    let version = versions.next().context("the kernel has no modules")??.file_name();
    let version = version.into_string().ok().context("strange name of a kernel")?;
    Ok(System { root, version })
}

fn download(into: &Path) -> Result<()> {
    let mut missing = simulate()?;
    let kernel = output(Command::new("apt-cache").args(["depends", KERNEL]))?;
    let kernel = dependency(&kernel).with_context(|| format!("apt does not know {KERNEL}"))?;
    missing.push(kernel);
    // Downloads into the directory it is called in, and installs nothing.
    let mut apt = Command::new("apt-get");
    apt.current_dir(into).args(["--quiet", "download"]).args(&missing);
    let status = apt.status().context("cannot start apt-get")?;
    ensure!(status.success(), "apt-get download: {status}");
    Ok(())
}

/// The packages that an installation would add; asked again with fresh lists when apt knows none.
fn simulate() -> Result<Vec<String>> {
    let ask = || {
        let mut apt = Command::new("apt-get");
        apt.args(["install", "--simulate", "--no-install-recommends"]).args(PACKAGES);
        output(&mut apt)
    };
    let plan = match ask() {
        Ok(plan) => plan,
        Err(_) => {
            output(Command::new("apt-get").args(["--quiet", "update"]))?;
            ask()?
        }
    };
    Ok(added(&plan))
}

/// The names in the lines that begin with `Inst`.
fn added(plan: &str) -> Vec<String> {
    let lines = plan.lines().filter_map(|line| line.strip_prefix("Inst "));
    lines.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

/// The first package that another one depends on.
fn dependency(text: &str) -> Option<String> {
    let mut lines = text.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    lines.next().map(str::to_owned)
}

fn unpack(debs: &Path, root: &Path) -> Result<()> {
    for deb in fs::read_dir(debs).context("read what was downloaded")? {
        let mut dpkg = Command::new("dpkg-deb");
        output(dpkg.arg("--extract").arg(deb?.path()).arg(root))?;
    }
    Ok(())
}

/// What a program prints; its failure is an error.
pub(super) fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("cannot start {name}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{name}: {}: {}", output.status, errors.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_would_be_added_is_downloaded() {
        let plan = "Reading lists...\nRemv qemu-utils [1:10]\nInst kmod (30 Debian [amd64])\n\
                    Inst seabios (1.16 Debian [all])\nConf kmod (30 Debian [amd64])\n";
        assert_eq!(added(plan), ["kmod", "seabios"]);
        assert!(added("").is_empty());
    }

    #[test]
    fn the_newest_kernel_is_a_dependency() {
        let text = "linux-image-cloud-amd64\n  Depends: linux-image-6.1.0-1-cloud-amd64\n";
        assert_eq!(dependency(text).as_deref(), Some("linux-image-6.1.0-1-cloud-amd64"));
        assert_eq!(dependency("N: no packages found\n"), None);
    }
}
