//! Where the workspace is, and running cargo in it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// Directory of the workspace.
pub(crate) fn root() -> Result<&'static Path> {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask is not inside the workspace")
}

/// A cargo command in the workspace, with the toolchain that runs this task.
pub(crate) fn cargo<'a>(args: impl IntoIterator<Item = &'a str>) -> Result<Command> {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()?).args(args);
    Ok(command)
}

/// Announces and runs one step of a task; its failure is an error.
pub(crate) fn step(name: &str, command: &mut Command) -> Result<()> {
    println!("==> {name}");
    let status = command.status().with_context(|| format!("cannot start {name}"))?;
    ensure!(status.success(), "{name} failed: {status}");
    Ok(())
}

/// The exit code of a command as that of this process; a signal counts as failure.
pub(crate) fn exit_code(status: ExitStatus) -> ExitCode {
    match status.code().and_then(|code| u8::try_from(code).ok()) {
        Some(code) => ExitCode::from(code),
        None => ExitCode::FAILURE,
    }
}

/// What `cargo metadata` says about the workspace and its resolved dependencies.
pub(crate) fn metadata() -> Result<Value> {
    metadata_with(&[])
}

fn metadata_with(flags: &[&str]) -> Result<Value> {
    let output = cargo(["metadata", "--format-version=1"])?
        .args(flags)
        .stderr(std::process::Stdio::inherit())
        .output()
        .context("cannot start cargo metadata")?;
    ensure!(output.status.success(), "cargo metadata: {}", output.status);
    serde_json::from_slice(&output.stdout).context("output of cargo metadata")
}

/// Where cargo puts what it builds.
pub(crate) fn target_dir() -> Result<PathBuf> {
    // Without dependencies nothing is resolved, and so nothing downloaded.
    let metadata = metadata_with(&["--no-deps"])?;
    let directory = metadata.get("target_directory").and_then(Value::as_str);
    Ok(directory.context("cargo metadata names no target directory")?.into())
}
