//! Programs of Debian packages for tests, unpacked and never installed: some of these packages
//! would start a server on the machine, or are of another suite than the machine's.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::apt::{Apt, Installed};
use crate::plan::DATA_ROOT;
use crate::run::run;
use crate::suite::once;

/// Raised when what is kept has to be made anew.
const RECIPE: u32 = 1;

/// A program, and where its libraries are.
#[derive(Debug, Clone)]
pub struct Program {
    path: PathBuf,
    libraries: Option<PathBuf>,
}

impl Program {
    /// The ACME server of Debian 14, which knows ARI and `Retry-After`; Debian 12's does not.
    ///
    /// # Errors
    /// When it is not there yet and cannot be downloaded.
    pub fn pebble() -> Result<Self> {
        let root = place("pebble-forky");
        let path = root.join("usr/bin/pebble");
        let make = |trial: &Path| {
            let apt = Apt::new(trial, "forky", Installed::Nothing)?;
            apt.run(&["update"])?;
            // Alone: it needs no library but the machine's.
            apt.run(&["install", "--download-only", "--yes", "pebble"])?;
            unpack(&apt, trial, |name| name.starts_with("pebble_"))
        };
        once(&root, "Pebble of Debian forky", || path.is_file(), make)?;
        Ok(Self { path, libraries: None })
    }

    /// The authoritative name server of the machine's own suite.
    ///
    /// # Errors
    /// As [`Program::pebble`].
    pub fn knotd() -> Result<Self> {
        let search = env::var("PATH").unwrap_or_default();
        let installed = search.split(':').map(|directory| Path::new(directory).join("knotd"));
        if let Some(path) = installed.into_iter().find(|path| path.is_file()) {
            return Ok(Self { path, libraries: None });
        }
        let suite = codename()?;
        let root = place(&format!("knot-{suite}"));
        let path = root.join("usr/sbin/knotd");
        let make = |trial: &Path| {
            let apt = Apt::new(trial, &suite, Installed::Here)?;
            apt.run(&["update"])?;
            apt.run(&["install", "--download-only", "--yes", "knot"])?;
            unpack(&apt, trial, |_| true)
        };
        once(&root, &format!("Knot DNS of Debian {suite}"), || path.is_file(), make)?;
        let triplet = format!("{}-linux-gnu", env::consts::ARCH);
        Ok(Self { path, libraries: Some(root.join("usr/lib").join(triplet)) })
    }

    /// A command that runs it.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        if let Some(libraries) = &self.libraries {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        command
    }
}

fn place(name: &str) -> PathBuf {
    Path::new(DATA_ROOT).join("packages").join(format!("{name}-r{RECIPE}"))
}

fn unpack(apt: &Apt, root: &Path, is_wanted: impl Fn(&str) -> bool) -> Result<()> {
    for package in apt.downloaded()? {
        let name = package.file_name().unwrap_or_default().to_string_lossy();
        if is_wanted(&name) {
            run(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(root))?;
        }
    }
    fs::remove_dir_all(root.join("apt")).context("what apt downloaded")
}

/// Such as `bookworm`.
fn codename() -> Result<String> {
    let release = fs::read_to_string("/etc/os-release").context("/etc/os-release")?;
    let found = codename_of(&release);
    Ok(found.context("/etc/os-release names no suite of Debian")?.to_owned())
}

fn codename_of(release: &str) -> Option<&str> {
    let mut lines = release.lines();
    let name = lines.find_map(|line| line.strip_prefix("VERSION_CODENAME="))?;
    Some(name.trim_matches('"')).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_suite_is_read_from_the_release() {
        let release = "NAME=\"Debian\"\nVERSION_CODENAME=bookworm\nID=debian\n";
        assert_eq!(codename_of(release), Some("bookworm"));
        assert_eq!(codename_of("VERSION_CODENAME=\"trixie\"\n"), Some("trixie"));
        assert_eq!(codename_of("VERSION_CODENAME=\n"), None);
        assert_eq!(codename_of("ID=x\n"), None);
    }
}
