//! Programs of Debian's packages that benchmarks compare with, without installing them: some of
//! these packages would start a server on the machine.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::run::{step, target_dir};

/// A program, and where its libraries are.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    path: PathBuf,
    libraries: Option<PathBuf>,
}

impl Program {
    /// The program `name` of a package: installed, or unpacked below `target` with those of its
    /// libraries that the machine has not.
    ///
    /// # Errors
    /// When apt cannot download the package, or it has no such program.
    pub(crate) fn fetch(package: &str, name: &str) -> Result<Program> {
        let search = env::var("PATH").unwrap_or_default();
        let installed = search.split(':').map(|directory| Path::new(directory).join(name));
        if let Some(path) = installed.into_iter().find(|path| path.is_file()) {
            return Ok(Program { path, libraries: None });
        }
        let directory = target_dir()?.join("bench").join(package);
        if find(&directory, name).is_none() {
            download(package, &directory)?;
        }
        let path = find(&directory, name);
        let path = path.with_context(|| format!("{package} has no program {name}"))?;
        let triplet = format!("{}-linux-gnu", env::consts::ARCH);
        Ok(Program { path, libraries: Some(directory.join("usr/lib").join(triplet)) })
    }

    /// A command that runs it.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        if let Some(libraries) = &self.libraries {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        command
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

fn find(directory: &Path, name: &str) -> Option<PathBuf> {
    let places = ["usr/bin", "usr/sbin", "bin", "sbin"];
    places.into_iter().map(|place| directory.join(place).join(name)).find(|path| path.is_file())
}

fn download(package: &str, directory: &Path) -> Result<()> {
    let archives = directory.join("archives");
    fs::create_dir_all(archives.join("partial"))?;
    let get = |words: &[&str]| {
        let mut command = Command::new("apt-get");
        command.args(["-qq", "--yes"]).args(words);
        command.env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    let place = format!("Dir::Cache::archives={}", archives.display());
    let words = ["install", "--download-only", "--no-install-recommends", "-o", &place, package];
    let name = format!("download {package}");
    if step(&name, &mut get(&words)).is_err() {
        // Lists that are old or were never fetched.
        step("apt-get update", &mut get(&["update"]))?;
        step(&name, &mut get(&words))?;
    }
    let files = fs::read_dir(&archives)?.filter_map(|entry| Some(entry.ok()?.path()));
    let mut count = 0;
    for file in files.filter(|path| path.extension().is_some_and(|end| end == "deb")) {
        let mut unpack = Command::new("dpkg-deb");
        step("unpack", unpack.arg("-x").arg(&file).arg(directory))?;
        count += 1;
    }
    ensure!(count > 0, "apt-get downloaded nothing for {package}");
    Ok(())
}
