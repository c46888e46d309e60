//! `cargo xtask test`: everything that proves something, with one runner.

use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result};
use argh::FromArgs;
use jaco_lab::{Artifact, build_binary, ensure_test_tools, ensure_tools};

use crate::run::{cargo, exit_code, step};

/// Install what is missing, build the test binaries and run all tests of the workspace.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "test")]
pub(crate) struct Test {
    /// run the tests of other releases of Docker Engine instead, which are downloaded at first
    #[argh(switch)]
    engines: bool,
    /// run only tests whose name contains one of these
    #[argh(positional)]
    filters: Vec<String>,

    /// run those of the kernel in a guest with Debian's kernel instead; filters may name its runs
    #[argh(switch)]
    kernel: bool,
}

/// Which tests need releases of Docker Engine that the machine does not have.
const ENGINES: [&str; 6] = ["--package", "jaco-it", "--features", "engines", "--test", "engines"];

impl Test {
    /// Runs all tests.
    pub(crate) fn all() -> Self {
        Self { engines: false, filters: Vec::new(), kernel: false }
    }

    pub(crate) fn run(self) -> Result<ExitCode> {
        if self.kernel {
            return crate::kernel::test(&self.filters);
        }
        ensure_tools()?;
        ensure_test_tools()?;
        println!("==> build the static probe");
        let probe = Artifact { package: "jaco-probe", is_static: true, is_release: false };
        let probe = build_binary(probe)?;
        println!("==> build jaco");
        let jaco = Artifact { package: "jaco", is_static: false, is_release: false };
        let jaco = build_binary(jaco)?;
        let has_nextest = has_nextest()?;
        if self.filters.is_empty() && !self.engines {
            // On its own: in one build with the rest, the product would have the mistakes too.
            step("find mistakes put in on purpose", &mut mistakes(has_nextest)?)?;
        }
        let tests: &[&str] = if self.engines { &ENGINES } else { &["--workspace"] };
        let mut runner = runner(has_nextest, tests, &self.filters)?;
        runner.env("JACO_TEST_PROBE", probe).env("JACO_TEST_BIN", jaco);
        println!("==> test");
        Ok(exit_code(runner.status().context("cannot start the test runner")?))
    }
}

fn has_nextest() -> Result<bool> {
    let mut probe = cargo(["nextest", "--version"])?;
    let status = probe.stdout(Stdio::null()).stderr(Stdio::null()).status();
    Ok(status.context("cannot start cargo")?.success())
}

/// The one test that needs code which no product has. Optimised: it looks at hundreds of seeds.
fn mistakes(has_nextest: bool) -> Result<Command> {
    let runner: &[&str] = if has_nextest {
        &["nextest", "run", "--cargo-profile", "sim"]
    } else {
        &["test", "--profile", "sim"]
    };
    let build = ["--package", "jaco-sim", "--features", "seeded-bugs", "--test", "bugs"];
    cargo(runner.iter().copied().chain(build))
}

/// nextest where it is installed: it runs each test in a process of its own.
fn runner(has_nextest: bool, tests: &[&str], filters: &[String]) -> Result<Command> {
    if has_nextest {
        let mut command = cargo(["nextest", "run"])?;
        command.args(tests).args(filters);
        return Ok(command);
    }
    let mut command = cargo(["test", "--no-fail-fast"])?;
    command.args(tests);
    // libtest takes several filters only after the separator.
    command.arg("--").args(filters);
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_in_a_build_of_their_own() {
        for has_nextest in [true, false] {
            let command = mistakes(has_nextest).unwrap();
            let args: Vec<_> = command.get_args().collect();
            assert!(args.windows(2).any(|pair| pair == ["--package", "jaco-sim"]), "{args:?}");
            assert!(!args.contains(&"--workspace".as_ref()));
        }
    }

    #[test]
    fn filters_reach_both_runners() {
        for has_nextest in [true, false] {
            let command = runner(has_nextest, &ENGINES, &["one".into(), "two".into()]).unwrap();
            let args: Vec<_> = command.get_args().collect();
            assert!(args.ends_with(&["one".as_ref(), "two".as_ref()]), "{args:?}");
            assert!(args.windows(2).any(|pair| pair == ["--test", "engines"]), "{args:?}");
        }
    }
}
