//! `cargo xtask ci`: exactly what continuous integration runs.

use std::process::ExitCode;

use anyhow::Result;
use argh::FromArgs;

use crate::run::{cargo, step};
use crate::test::Test;
use crate::tidy;

/// Check the format, lints, layering and documentation, then run all tests.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "ci")]
pub(crate) struct Ci {}

impl Ci {
    /// The tests come last, so that the end of the output is the runner's summary.
    pub(crate) fn run(self) -> Result<ExitCode> {
        jaco_lab::ensure_tools()?;
        step("format", &mut cargo(["fmt", "--all", "--check"])?)?;
        println!("==> tidy");
        tidy::check()?;
        let lints = ["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"];
        step("clippy", &mut cargo(lints)?)?;
        let mut documentation = cargo(["doc", "--workspace", "--no-deps", "--quiet"])?;
        step("documentation", documentation.env("RUSTDOCFLAGS", "-D warnings"))?;
        Test::all().run()
    }
}
