//! Commands that must succeed.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Runs a command to its end; its stderr becomes part of the error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    run_with_input(command, "")
}

/// Runs a command that reads `input` from stdin.
pub(crate) fn run_with_input(command: &mut Command, input: &str) -> Result<()> {
    let shown = shown(command);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {shown}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A command that fails before it reads closes the pipe; its status tells more than that.
        let _closed = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().with_context(|| shown.clone())?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("{shown}: {}: {}", output.status, stderr.trim());
    }
    Ok(())
}

/// Standard output of a command that must succeed.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let shown = shown(command);
    let output = command.stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("cannot start {shown}"))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("{shown}: {}: {}", output.status, stderr.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
