//! The command line: one file per verb, speaking only the HTTP API.

mod args;
mod client;
mod failure;
mod globals;
mod manifest;
mod output;
mod progress;
mod stream;
mod time;
mod verbs;

pub(crate) use failure::{Failure, Outcome};
pub(crate) use globals::{Format, Globals, OPTIONS, SWITCHES};
pub(crate) use output::{complain, notice, print};

use std::process::ExitCode;

/// Runs one command. `args` are without the program's name.
pub(crate) fn main(args: &[String]) -> ExitCode {
    match run(args) {
        Ok(code) => ExitCode::from(code),
        Err((failure, format)) => failure.report(format),
    }
}

fn run(args: &[String]) -> Result<u8, (Failure, Format)> {
    let parsed = args::parse(args)?;
    let (globals, verb) = match parsed {
        args::Parsed::Run(globals, verb) => (globals, verb),
        args::Parsed::Print(text) => {
            print(&text);
            return Ok(0);
        }
    };
    let format = globals.output;
    verbs::run(&globals, *verb).map_err(|failure| (failure, format))
}
