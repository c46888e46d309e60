//! `cargo xtask dist`: the release binary, and the proof that it needs nothing but a kernel.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use argh::FromArgs;
use jaco_lab::{Artifact, build_binary, ensure_tools};

use crate::elf;
use crate::run::target_dir;

/// The two names under which the binary is called.
const NAMES: [&str; 2] = ["jaco", "jacod"];

/// Build the static release binary into target/dist and prove that it runs in an empty chroot.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "dist")]
pub(crate) struct Dist {}

impl Dist {
    pub(crate) fn run(self) -> Result<ExitCode> {
        ensure_tools()?;
        println!("==> build the release binary");
        let built = Artifact { package: "jaco", is_static: true, is_release: true };
        let built = build_binary(built)?;
        let directory = target_dir()?.join("dist");
        fs::create_dir_all(&directory)?;
        let binary = directory.join("jaco");
        fs::copy(&built, &binary).with_context(|| format!("{}", binary.display()))?;

        let content = fs::read(&binary)?;
        ensure!(!elf::has_interpreter(&content)?, "{} is not static", binary.display());
        println!("==> run it in an empty chroot");
        prove_in_chroot(&binary, &directory.join("chroot"))?;
        let megabytes = content.len() as f64 / 1e6;
        println!("{}: {} bytes ({megabytes:.1} MB), static", binary.display(), content.len());
        Ok(ExitCode::SUCCESS)
    }
}

/// Runs the binary under both names in a directory that holds nothing else.
fn prove_in_chroot(binary: &Path, root: &Path) -> Result<()> {
    if root.is_dir() {
        fs::remove_dir_all(root)?;
    }
    fs::create_dir_all(root)?;
    fs::copy(binary, root.join(NAMES[0]))?;
    symlink(NAMES[0], root.join(NAMES[1]))?;
    for name in NAMES {
        let version = version_inside(root, name)?;
        println!("/{name} --version: {version}");
    }
    fs::remove_dir_all(root).context("cannot remove the chroot")
}

/// The version that the binary prints; it must be that of this workspace.
fn version_inside(root: &Path, name: &str) -> Result<String> {
    let output = Command::new("chroot")
        .arg(root)
        .args([&format!("/{name}"), "--version"])
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .output()
        .context("cannot start chroot")?;
    let printed = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{name} in the chroot: {}: {errors}", output.status);
    let version = env!("CARGO_PKG_VERSION");
    ensure!(printed.contains(version), "{name} --version printed {printed:?}, not {version}");
    Ok(printed)
}
