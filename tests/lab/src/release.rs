//! Which Docker Engine a host has: the machine's, or that of another Debian suite.
//!
//! A host that may have another one has a mount namespace, in which `/usr` is that suite's, and
//! all else is the machine's. So paths mean the same inside and outside, for volumes and all other
//! files that an engine is told of, and the host's `iptables` belongs to its engine.

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};

use crate::host::enter;
use crate::plan::{HostPlan, LAB_DIRECTORIES};
use crate::run::run;
use crate::suite;

/// A release of Docker Engine that a host may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum EngineRelease {
    /// What is installed on the machine.
    #[default]
    Installed,
    /// 26.1, of Debian 13.
    V26,
    /// 28.5, of Debian 14.
    V28,
}

impl EngineRelease {
    /// All of them, oldest first where the machine is a Debian 12.
    pub const ALL: [Self; 3] = [Self::Installed, Self::V26, Self::V28];

    /// The suite that has it, and how its version starts; nothing for what is installed.
    pub(crate) fn suite(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Installed => None,
            Self::V26 => Some(("trixie", "26.1")),
            Self::V28 => Some(("forky", "28.5")),
        }
    }

    fn name(self) -> &'static str {
        self.suite().map_or("installed", |(_, version)| version)
    }
}

impl fmt::Display for EngineRelease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for EngineRelease {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|release| release.name() == text);
        found.with_context(|| {
            let known = Self::ALL.map(Self::name).join(", ");
            format!("no engine release {text:?}; there are {known}")
        })
    }
}

/// Gives a host the programs of a release; its engine must not run.
///
/// Another release comes into the same mount namespace, as a package's upgrade does: containers
/// that go on running are mounted there.
pub(crate) fn install(host: &HostPlan, release: EngineRelease) -> Result<()> {
    let usr = suite::usr(release)?;
    ensure!(fs::read_link("/bin").is_ok(), "/bin must be a link into /usr, as on Debian 12");
    if !has_namespace(host) {
        make_namespace(host).with_context(|| format!("{}: mount namespace", host.name))?;
    }
    let mark = host.mount_directory().join("usr");
    let mut inside = enter(host, "sh");
    inside.args(["-ec", USR, "sh"]).arg(&mark);
    run(inside.args(&usr)).with_context(|| format!("{}: Docker Engine {release}", host.name))
}

/// Puts a directory in the place of `/usr`, or the machine's back where none is given. A file marks
/// that there is another one; who runs keeps what it has open.
const USR: &str = r#"
mark=$1; shift
if test -e "$mark"; then umount --lazy /usr; rm "$mark"; fi
for usr; do mount --bind "$usr" /usr; : >"$mark"; done
"#;

fn make_namespace(host: &HostPlan) -> Result<()> {
    let directory = host.mount_directory();
    fs::create_dir_all(&directory)?;
    // The file of a mount namespace must be where no other namespace gets it from.
    run(Command::new("mount").arg("--bind").args([&directory, &directory]))?;
    run(Command::new("mount").arg("--make-private").arg(&directory))?;
    fs::write(host.mount_namespace(), "")?;
    run(Command::new("unshare")
        .arg(format!("--mount={}", host.mount_namespace().display()))
        .args(["--propagation", "slave", "sh", "-ec", FORGET, "sh"])
        .args(LAB_DIRECTORIES))
}

/// Run in the new mount namespace. A copy of what labs have mounted would outlive them; what is
/// below another mount goes with it, and is then not there any more.
const FORGET: &str = r#"
points=$(cut -d ' ' -f 2 /proc/self/mounts)
for parent; do
    for point in $points; do
        case $point in "$parent"/*) umount --lazy "$point" 2>/dev/null || true ;; esac
    done
done
"#;

/// Whether the host has a mount namespace.
pub(crate) fn has_namespace(host: &HostPlan) -> bool {
    host.mount_namespace().is_file()
}

/// Makes what these releases need; a lab that is up shall not wait for downloads.
pub(crate) fn prepare(releases: &[EngineRelease]) -> Result<()> {
    for release in releases {
        suite::usr(*release).with_context(|| format!("Docker Engine {release}"))?;
    }
    Ok(())
}

/// The version that `dockerd --version` prints: `20.10.24+dfsg1`.
pub(crate) fn version_of(dockerd: &mut Command) -> Result<String> {
    let output = dockerd.arg("--version").output().context("dockerd --version")?;
    let printed = String::from_utf8_lossy(&output.stdout);
    match parse_version(&printed) {
        Some(version) => Ok(version.to_owned()),
        None => bail!("dockerd --version: {printed}{}", String::from_utf8_lossy(&output.stderr)),
    }
}

/// The version in `Docker version 20.10.24, build ...`.
fn parse_version(printed: &str) -> Option<&str> {
    printed.strip_prefix("Docker version ")?.split(',').next()
}

/// Whether the programs of a suite are below a directory.
pub(crate) fn is_usr(path: &Path) -> bool {
    path.join("sbin/dockerd").is_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_called_by_their_version() {
        for release in EngineRelease::ALL {
            assert_eq!(release.to_string().parse::<EngineRelease>().unwrap(), release);
        }
        let error = "27.0".parse::<EngineRelease>().unwrap_err().to_string();
        assert!(error.contains("28.5"), "{error}");
    }

    #[test]
    fn the_version_is_read_from_what_dockerd_prints() {
        let printed = "Docker version 20.10.24+dfsg1, build 5d6db84\n";
        assert_eq!(parse_version(printed), Some("20.10.24+dfsg1"));
        assert_eq!(parse_version("something else"), None);
    }
}
