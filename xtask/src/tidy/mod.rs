//! `cargo xtask tidy`: the rules of this code base that no compiler lint knows.

mod layers;
mod logs;
mod manifests;
mod sources;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use argh::FromArgs;

use crate::run::{metadata, root};

/// Check layering, manifests, source files and log messages.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "tidy")]
pub(crate) struct Tidy {}

impl Tidy {
    pub(crate) fn run(self) -> Result<ExitCode> {
        check()?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Prints every violation; an error when there is one.
pub(crate) fn check() -> Result<()> {
    let root = root()?;
    let workspace = layers::Workspace::from_metadata(&metadata()?, root)?;
    let mut violations = workspace.violations();
    violations.extend(check_manifests(root, &workspace)?);
    for path in rust_files(root)? {
        let text = read(&path)?;
        let shown = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        let found = sources::violations(&text).into_iter().chain(logs::violations(&text));
        violations.extend(found.map(|violation| format!("{shown}{violation}")));
    }
    for violation in &violations {
        println!("{violation}");
    }
    match violations.len() {
        0 => Ok(()),
        count => bail!("tidy: {count} violations"),
    }
}

fn check_manifests(root: &Path, workspace: &layers::Workspace) -> Result<Vec<String>> {
    let mut violations = Vec::new();
    for directory in workspace.directories() {
        let path = root.join(directory).join("Cargo.toml");
        let found = manifests::member_violations(&read(&path)?);
        let shown = Path::new(directory).join("Cargo.toml");
        violations.extend(found.into_iter().map(|what| format!("{}: {what}", shown.display())));
    }
    let list = root.join("docs/dependencies.md");
    let reasons = read(&list).unwrap_or_default();
    violations.extend(manifests::unexplained(&read(&root.join("Cargo.toml"))?, &reasons));
    Ok(violations)
}

/// All Rust files that people wrote.
fn rust_files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).with_context(|| format!("{}", directory.display()))? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if entry.file_type()?.is_dir() {
            if name != "target" && !name.starts_with('.') {
                found.extend(rust_files(&entry.path())?);
            }
        } else if name.ends_with(".rs") {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("{}", path.display()))
}
