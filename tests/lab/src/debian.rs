//! Programs of Debian's packages that are run without being installed: some of these packages
//! would start a server on the machine.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::apt::Apt;
use crate::plan::DATA_ROOT;
use crate::report::report;
use crate::run::run;
use crate::suite::once;

/// A program, and where its libraries are.
#[derive(Debug, Clone)]
pub struct Program {
    path: PathBuf,
    /// What its package was unpacked into; `None` for one that is installed.
    root: Option<PathBuf>,
}

impl Program {
    /// The program `name` of a package: installed, or unpacked below this repository's `target`
    /// with those of its libraries that the machine has not.
    ///
    /// # Errors
    /// When apt cannot download the package, or it has no such program.
    pub fn fetch(package: &str, name: &str) -> Result<Program> {
        let search = env::var("PATH").unwrap_or_default();
        let installed = search.split(':').map(|directory| Path::new(directory).join(name));
        if let Some(path) = installed.into_iter().find(|path| path.is_file()) {
            return Ok(Program { path, root: None });
        }
        let parent = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/debian"));
        fs::create_dir_all(parent)?;
        let root = parent.canonicalize()?.join(package);
        // Tests are processes: one downloads, the others wait and find it there.
        let lock = File::options().create(true).append(true).open(parent.join("lock"))?;
        lock.lock().context("lock of the unpacked packages")?;
        if find(&root, name).is_none() {
            report(&format!("downloading {package}"));
            download(package, &root).with_context(|| format!("package {package}"))?;
        }
        let path = find(&root, name).with_context(|| format!("{package} has no {name}"))?;
        Ok(Program { path, root: Some(root) })
    }

    /// The authoritative name server.
    ///
    /// # Errors
    /// As [`Program::fetch`].
    pub fn knotd() -> Result<Program> {
        Program::fetch("knot", "knotd")
    }

    /// The ACME server of Debian 14, which knows ARI and `Retry-After`; Debian 12's does not.
    ///
    /// # Errors
    /// When it is not there yet and cannot be downloaded.
    pub fn pebble() -> Result<Program> {
        let root = Path::new(DATA_ROOT).join("packages/pebble-forky");
        let path = root.join("usr/bin/pebble");
        let make = |trial: &Path| {
            let apt = Apt::new(trial, "forky")?;
            apt.run(&["update"])?;
            apt.run(&["install", "--download-only", "--yes", "pebble"])?;
            // Alone: it needs no library but the machine's.
            for package in apt.downloaded()? {
                let name = package.file_name().unwrap_or_default().to_string_lossy().into_owned();
                if name.starts_with("pebble_") {
                    run(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(trial))?;
                }
            }
            fs::remove_dir_all(trial.join("apt")).context("what apt downloaded")
        };
        once(&root, "Pebble of Debian forky", || path.is_file(), make)?;
        Ok(Program { path, root: None })
    }

    /// A command that runs it.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        if let Some(root) = &self.root {
            command.env("LD_LIBRARY_PATH", libraries(root));
        }
        command
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory `name` below that of the machine's libraries, for programs with plug-ins.
    #[must_use]
    pub fn plug_ins(&self, name: &str) -> PathBuf {
        let root = self.root.as_deref().unwrap_or(Path::new("/"));
        let places = [root.join("usr/lib").join(name), libraries(root).join(name)];
        let [first, second] = places;
        if first.is_dir() { first } else { second }
    }
}

fn libraries(root: &Path) -> PathBuf {
    root.join("usr/lib").join(format!("{}-linux-gnu", env::consts::ARCH))
}

fn find(root: &Path, name: &str) -> Option<PathBuf> {
    let places = ["usr/bin", "usr/sbin", "bin", "sbin"];
    places.into_iter().map(|place| root.join(place).join(name)).find(|path| path.is_file())
}

fn download(package: &str, root: &Path) -> Result<()> {
    let archives = root.join("archives");
    fs::create_dir_all(archives.join("partial"))?;
    let get = |words: &[&str]| {
        let mut command = Command::new("apt-get");
        command.args(["-qq", "--yes"]).args(words);
        command.env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    let place = format!("Dir::Cache::archives={}", archives.display());
    let words = ["install", "--download-only", "--no-install-recommends", "-o", &place, package];
    if run(&mut get(&words)).is_err() {
        // Lists that are old or were never fetched.
        run(&mut get(&["update"]))?;
        run(&mut get(&words))?;
    }
    let files = fs::read_dir(&archives)?.filter_map(|entry| Some(entry.ok()?.path()));
    let mut count = 0;
    for file in files.filter(|path| path.extension().is_some_and(|end| end == "deb")) {
        run(Command::new("dpkg-deb").arg("-x").arg(&file).arg(root))?;
        count += 1;
    }
    ensure!(count > 0, "apt-get downloaded nothing");
    Ok(())
}
