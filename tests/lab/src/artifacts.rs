//! The binaries that a lab runs: where they are, and how they are built.

use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// The target of static binaries. It is named even on such a machine: without an explicit target
/// the static flag would also hit procedural macros, which cannot be static.
pub const STATIC_TARGET: &str = "x86_64-unknown-linux-gnu";

/// What is to be built.
#[derive(Debug, Clone, Copy)]
pub struct Artifact<'a> {
    /// The package, whose binary has the same name.
    pub package: &'a str,
    /// Whether it is linked statically.
    pub is_static: bool,
    /// Whether it is optimised.
    pub is_release: bool,
}

/// The probe: from `JACO_TEST_PROBE`, which `cargo xtask test` sets, or built now.
///
/// # Errors
/// When it cannot be built.
pub fn probe_binary() -> Result<PathBuf> {
    if let Some(path) = env::var_os("JACO_TEST_PROBE") {
        return Ok(path.into());
    }
    build_binary(Artifact { package: "jaco-probe", is_static: true, is_release: false })
}

/// Builds a binary of this workspace with cargo and returns its path.
///
/// # Errors
/// When cargo fails; its messages have gone to stderr.
pub fn build_binary(artifact: Artifact<'_>) -> Result<PathBuf> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
        .args(["build", "--quiet", "--message-format=json-render-diagnostics"])
        .args(["--package", artifact.package, "--bin", artifact.package])
        .stderr(Stdio::inherit());
    if artifact.is_release {
        command.arg("--release");
    }
    if artifact.is_static {
        command.args(["--target", STATIC_TARGET]);
        command.env_remove("CARGO_ENCODED_RUSTFLAGS").env("RUSTFLAGS", static_flags());
    }
    let output = command.output().context("cannot start cargo")?;
    ensure!(output.status.success(), "cargo build of {}: {}", artifact.package, output.status);
    executable(&String::from_utf8_lossy(&output.stdout))
        .with_context(|| format!("cargo named no binary of {}", artifact.package))
}

/// Compiler flags of a static binary, after those that the caller's environment asks for.
#[must_use]
pub fn static_flags() -> String {
    let given = env::var("RUSTFLAGS").unwrap_or_default();
    format!("{given} -C target-feature=+crt-static").trim_start().to_owned()
}

/// The last executable in cargo's messages: dependencies come first.
fn executable(messages: &str) -> Option<PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut paths =
        messages.filter_map(|message| Some(message.get("executable")?.as_str()?.into()));
    paths.next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_executable_is_found_in_cargos_messages() {
        let messages = "{\"reason\":\"compiler-artifact\",\"executable\":null}\n\
                        {\"reason\":\"compiler-artifact\",\"executable\":\"/t/probe\"}\n\
                        {\"reason\":\"build-finished\",\"success\":true}\n";
        assert_eq!(executable(messages), Some("/t/probe".into()));
        assert_eq!(executable(""), None);
    }
}
