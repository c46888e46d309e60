//! `cargo xtask soak`: the storm of kills, for as long as one likes.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use argh::FromArgs;
use jaco_it::{Bounds, storm, with_node};

/// kill -9 the daemon at random moments while changes run, and check that nothing is lost.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "soak")]
pub(crate) struct Soak {
    /// kills (default 200)
    #[argh(option, default = "200")]
    kills: u32,
    /// minutes after which it ends early (default 60)
    #[argh(option, default = "60")]
    minutes: u64,
    /// seed of every moment and choice (default 1)
    #[argh(option, default = "1")]
    seed: u64,
}

impl Soak {
    pub(crate) fn run(self) -> Result<ExitCode> {
        jaco_lab::ensure_tools()?;
        let length = Duration::from_secs(60 * self.minutes);
        with_node("soak", |cluster| {
            let bounds = Bounds { kills: self.kills, length, seed: self.seed };
            println!("{}", storm(cluster, bounds)?.json());
            Ok(())
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
