//! `jaco daemon`: what `jacod` does.

use crate::cli::{Failure, Outcome};
use argh::{ArgsInfo, FromArgs};
use std::path::PathBuf;

/// run the daemon in the foreground, as jacod does
#[derive(Debug, FromArgs, ArgsInfo)]
#[argh(subcommand, name = "daemon")]
pub(crate) struct Daemon {
    /// configuration file (default: /etc/jaco/jacod.yaml)
    #[argh(option)]
    config: Option<PathBuf>,
}

/// Runs the verb.
pub(crate) fn run(verb: &Daemon) -> Outcome {
    match crate::daemon::start(verb.config.as_deref()) {
        0 => Ok(0),
        code => Err(Failure::Silent(code)),
    }
}
