//! `cargo xtask soak`: the storm of kills, for as long as one likes.

use std::process::ExitCode;

use anyhow::Result;
use argh::FromArgs;
use jaco_it::{Storm, with_cluster};
use serde_json::json;

/// kill -9 the daemon at random moments while changes run, and check that nothing is lost.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "soak")]
pub(crate) struct Soak {
    /// kills (default 200)
    #[argh(option, default = "200")]
    kills: u64,
    /// seed of every moment and choice (default 1)
    #[argh(option, default = "1")]
    seed: u64,
}

impl Soak {
    pub(crate) fn run(self) -> Result<ExitCode> {
        jaco_lab::ensure_tools()?;
        let storm = Storm { kills: self.kills, seed: self.seed };
        let mut done = None;
        with_cluster("soak", |cluster| {
            done = Some(storm.run(cluster)?);
            Ok(())
        })?;
        let report = done.unwrap_or_default();
        println!(
            "{}",
            json!({
                "kills": report.kills,
                "applies": report.applies,
                "acknowledged": report.acknowledged,
                "lost": 0,
                "looks": report.looks,
                "seed": self.seed,
            })
        );
        Ok(ExitCode::SUCCESS)
    }
}
