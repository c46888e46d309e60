//! `cargo xtask sim`: clusters under virtual time, as many seeds as one likes.
//!
//! The simulator is a program of its own: it is built with optimisation and with every check of a
//! debug build, and mistakes put in on purpose are compiled into it only when one is asked for.

use std::process::ExitCode;

use anyhow::{Context, Result};
use argh::FromArgs;

use crate::run::{cargo, exit_code};

/// Run whole clusters in one process with faults, and check every promise after every event.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "sim")]
pub(crate) struct Sim {
    /// how many seeds (default 1000)
    #[argh(option, default = "1000")]
    seeds: u64,
    /// the first seed (default 1)
    #[argh(option, default = "1")]
    first: u64,
    /// only this seed
    #[argh(option)]
    seed: Option<u64>,
    /// put in a mistake on purpose, such as lease-reads, and see whether it is found
    #[argh(option)]
    bug: Option<String>,
    /// print everything that happens
    #[argh(switch)]
    trace: bool,
    /// run each seed twice and demand equal traces
    #[argh(switch)]
    twice: bool,
    /// go on after a failure
    #[argh(switch)]
    keep_going: bool,
}

impl Sim {
    pub(crate) fn run(self) -> Result<ExitCode> {
        jaco_lab::ensure_tools()?;
        let words = self.words();
        let mut command = cargo(words.iter().map(String::as_str))?;
        Ok(exit_code(command.status().context("cannot start the simulator")?))
    }

    fn words(&self) -> Vec<String> {
        let build = ["run", "--quiet", "--profile", "sim", "--package", "jaco-sim"];
        let mut words: Vec<String> = build.map(str::to_owned).into();
        if self.bug.is_some() {
            words.push("--features=seeded-bugs".to_owned());
        }
        words.push("--".to_owned());
        let numbers = [("--seeds", Some(self.seeds)), ("--first", Some(self.first))];
        for (name, value) in numbers.into_iter().chain([("--seed", self.seed)]) {
            words.extend(value.into_iter().flat_map(|value| [name.to_owned(), value.to_string()]));
        }
        words.extend(self.bug.iter().flat_map(|bug| ["--bug".to_owned(), bug.clone()]));
        let switches =
            [("--trace", self.trace), ("--twice", self.twice), ("--keep-going", self.keep_going)];
        words.extend(switches.iter().filter(|(_, on)| *on).map(|(name, _)| (*name).to_owned()));
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_compiled_in_only_when_one_is_asked_for() {
        let sim = |bug: Option<&str>| Sim {
            seeds: 5,
            first: 1,
            seed: Some(7),
            bug: bug.map(str::to_owned),
            trace: true,
            twice: false,
            keep_going: false,
        };
        let plain = sim(None).words();
        assert!(plain.ends_with(&["--seed".into(), "7".into(), "--trace".into()]), "{plain:?}");
        assert!(plain.iter().all(|word| !word.contains("seeded")));
        assert!(sim(Some("lease-reads")).words().iter().any(|word| word.contains("seeded-bugs")));
    }
}
