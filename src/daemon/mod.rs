//! The daemon: configuration, the supervisor tree, the API, signals.

mod address;
mod backend;
mod boot;
mod calls;
mod cluster;
pub(crate) mod config;
mod hub;
mod identity;
mod init;
mod join;
mod logging;
mod logs;
mod metrics;
mod network;
mod notify;
mod overlay;
mod passed;
mod persist;
mod renew;
mod serve;
mod socket;
mod sys;
mod why;

pub(crate) use logging::start as log;
pub(crate) use serve::{Options, run};

use config::Loaded;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

/// Exit code for a configuration that does not hold (`EX_CONFIG`).
const EXIT_CONFIG: u8 = 78;

/// `jacod [--config PATH]`.
pub(crate) fn main(args: &[String]) -> ExitCode {
    match args {
        [flag] if flag == "--version" => {
            say(crate::version::VERSION);
            ExitCode::SUCCESS
        }
        [flag] if flag == "--help" || flag == "-h" => {
            say("Usage: jacod [--config PATH]\n\nThe daemon of JACO. Its command line is jaco.");
            ExitCode::SUCCESS
        }
        [] => ExitCode::from(start(None)),
        [flag, path] if flag == "--config" => ExitCode::from(start(Some(Path::new(path)))),
        [word] if word.starts_with("--config=") => {
            ExitCode::from(start(word.split_once('=').map(|(_, path)| Path::new(path))))
        }
        // Started by the daemon itself, to outlive it.
        [word, rest @ ..] if word == "mesh-helper" => {
            match jaco_netmesh::helper::run(rest.iter().map(Into::into)) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    complain(&format!("Error: {}", logging::chain(&error)));
                    ExitCode::FAILURE
                }
            }
        }
        _ => {
            complain("Usage: jacod [--config PATH]");
            ExitCode::from(2)
        }
    }
}

/// Reads the configuration and runs until told to stop; gives the exit code.
pub(crate) fn start(file: Option<&Path>) -> u8 {
    let Loaded { config, warnings, .. } = match config::load(file, &variables()) {
        Ok(loaded) => loaded,
        Err(faults) => {
            faults.iter().for_each(|fault| complain(&format!("Error: {fault}")));
            return EXIT_CONFIG;
        }
    };
    logging::start(&config);
    for warning in warnings {
        tracing::warn!(warning, "configuration");
    }
    run(config, Options::alone(file.map(Path::to_owned)))
}

/// The daemon's environment; names and values that are not UTF-8 are none of ours.
pub(crate) fn variables() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

fn say(line: &str) {
    crate::cli::print(&format!("{line}\n"));
}

fn complain(line: &str) {
    crate::cli::complain(line);
}
