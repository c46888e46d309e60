//! The programs of another Debian suite, unpacked beside the machine's and kept for later labs.
//!
//! apt resolves and downloads the packages with an empty state of its own, and checks their
//! signatures as always. Nothing is installed and no script of a package runs.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

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

/// Mirror of machines that are no Debian.
const MIRROR: &str = "http://deb.debian.org/debian/";

/// Keys that sign all suites.
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The release's `/usr`, made when it is not there yet; `None` for what is installed.
pub(crate) fn usr(release: EngineRelease) -> Result<Option<PathBuf>> {
    let Some((suite, version)) = release.suite() else { return Ok(None) };
    let parent = Path::new(DATA_ROOT).join("engines");
    let root = parent.join(format!("{version}-r{RECIPE}"));
    let usr = root.join("usr");
    if release::is_usr(&usr) {
        return Ok(Some(usr));
    }
    fs::create_dir_all(&parent).with_context(|| parent.display().to_string())?;
    // One process makes it; the others wait and find it made.
    let lock = File::options().create(true).append(true).open(parent.join("lock"))?;
    lock.lock().context("lock of the engines")?;
    if !release::is_usr(&usr) {
        report(&format!("unpacking Docker Engine {version} of Debian {suite}"));
        let trial = parent.join(format!("{version}.new"));
        remove(&trial)?;
        make(&trial, suite, version)
            .with_context(|| format!("Docker Engine {version} of Debian {suite}"))?;
        remove(&root)?;
        fs::rename(&trial, &root)?;
    }
    Ok(Some(usr))
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

/// apt with a state of its own below a directory, which goes with it.
struct Apt {
    directory: PathBuf,
}

impl Apt {
    fn new(root: &Path, suite: &str) -> Result<Self> {
        let directory = root.join("apt");
        fs::create_dir_all(directory.join("lists/partial"))?;
        fs::create_dir_all(directory.join("cache/archives/partial"))?;
        fs::write(directory.join("status"), "")?;
        ensure!(Path::new(KEYS).is_file(), "no {KEYS}: install debian-archive-keyring");
        let source = format!("deb [signed-by={KEYS}] {} {suite} main\n", mirror());
        fs::write(directory.join("sources.list"), source)?;
        Ok(Self { directory })
    }

    fn run(&self, args: &[&str]) -> Result<()> {
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

    fn downloaded(&self) -> Result<Vec<PathBuf>> {
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
