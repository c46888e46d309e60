//! apt on one suite of Debian, with lists of its own: nothing is installed, and the machine's own
//! lists stay as they are.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail, ensure};

use crate::run::run;

/// Mirror of machines that are no Debian.
const MIRROR: &str = "http://deb.debian.org/debian/";

/// Keys that sign all suites.
pub(crate) const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// apt with a state of its own below a directory, which goes with it.
pub(crate) struct Apt {
    directory: PathBuf,
}

impl Apt {
    pub(crate) fn new(root: &Path, suite: &str) -> Result<Self> {
        let directory = root.join("apt");
        fs::create_dir_all(directory.join("lists/partial"))?;
        fs::create_dir_all(directory.join("cache/archives/partial"))?;
        // Nothing counts as installed: everything that is needed is downloaded.
        fs::write(directory.join("status"), "")?;
        ensure!(Path::new(KEYS).is_file(), "no {KEYS}: install debian-archive-keyring");
        let source = format!("deb [signed-by={KEYS}] {} {suite} main\n", mirror());
        fs::write(directory.join("sources.list"), source)?;
        Ok(Self { directory })
    }

    pub(crate) fn run(&self, args: &[&str]) -> Result<()> {
        let at = |name: &str| self.directory.join(name).display().to_string();
        let mut command = Command::new("apt-get");
        let options = [
            format!("Dir::State::status={}", at("status")),
            format!("Dir::State::Lists={}", at("lists")),
            format!("Dir::Cache={}", at("cache")),
            format!("Dir::Etc::sourcelist={}", at("sources.list")),
            "Dir::Etc::sourceparts=/dev/null".to_owned(),
            "APT::Sandbox::User=root".to_owned(),
            "APT::Install-Recommends=false".to_owned(),
            "Acquire::Languages=none".to_owned(),
            "Debug::NoLocking=true".to_owned(),
            // A suite in preparation is signed for a week; mirrors that stand still are older.
            "Acquire::Check-Valid-Until=false".to_owned(),
        ];
        for option in options {
            command.arg("--option").arg(option);
        }
        run(command.arg("--quiet").args(args).env("DEBIAN_FRONTEND", "noninteractive"))
    }

    pub(crate) fn downloaded(&self) -> Result<Vec<PathBuf>> {
        let entries = fs::read_dir(self.directory.join("cache/archives"))?.flatten();
        let mut packages: Vec<PathBuf> = entries
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "deb"))
            .collect();
        packages.sort();
        if packages.is_empty() {
            bail!("apt-get downloaded nothing");
        }
        Ok(packages)
    }
}

/// Where the machine gets its own packages from, if it is a Debian.
fn mirror() -> String {
    let format = "$(REPO_URI) $(ORIGIN) $(CODENAME)";
    let output = Command::new("apt-get")
        .args(["indextargets", "--format", format, "Created-By: Packages"])
        .output();
    let listed = output.map(|output| output.stdout).unwrap_or_default();
    mirror_of(&String::from_utf8_lossy(&listed)).unwrap_or(MIRROR).to_owned()
}

/// The first mirror of the main archive; security updates have one of their own.
fn mirror_of(listed: &str) -> Option<&str> {
    listed.lines().find_map(|line| {
        let mut words = line.split(' ');
        let (mirror, origin, codename) = (words.next()?, words.next()?, words.next()?);
        (origin == "Debian" && !codename.contains("security")).then_some(mirror)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_is_that_of_the_main_archive() {
        let listed = "http://a/node nodesource nodistro\n\
                      http://d/debian-security/ Debian bookworm-security\n\
                      http://d/debian/ Debian bookworm\n";
        assert_eq!(mirror_of(listed), Some("http://d/debian/"));
        assert_eq!(mirror_of("http://u/ubuntu/ Ubuntu noble\n"), None);
        assert_eq!(mirror_of(""), None);
    }
}
