//! The program name decides: `jacod` is the daemon, any other name the command line.

#![deny(unsafe_code)]

mod cli;
mod daemon;
mod install;
mod version;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os().map(|arg| arg.to_string_lossy().into_owned());
    let name = args.next().unwrap_or_default();
    let args: Vec<String> = args.collect();
    if name.rsplit('/').next() == Some("jacod") { daemon::main(&args) } else { cli::main(&args) }
}
