//! `cargo xtask setup`: installs the system's tools that builds and labs need.

use std::process::ExitCode;

use anyhow::Result;
use argh::FromArgs;

/// Install the missing system packages (Docker Engine, iptables, protoc, ...) with apt.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "setup")]
pub(crate) struct Setup {}

impl Setup {
    pub(crate) fn run(self) -> Result<ExitCode> {
        jaco_lab::ensure_tools()?;
        println!("all tools are installed");
        Ok(ExitCode::SUCCESS)
    }
}
