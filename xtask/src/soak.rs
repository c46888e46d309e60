//! `cargo xtask soak`: kills of one daemon or of a cluster's, for as long as one likes.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use argh::FromArgs;
use jaco_it::{Bounds, siege, storm, with_cluster, with_node};

/// kill -9 daemons at random moments while changes run, and check that nothing is lost.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "soak")]
pub(crate) struct Soak {
    /// members of the cluster (default 1)
    #[argh(option, default = "1")]
    nodes: u8,
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
        let bounds = Bounds { kills: self.kills, length, seed: self.seed };
        if self.nodes == 1 {
            with_node("soak", |node| {
                println!("{}", storm(node, bounds)?.json());
                Ok(())
            })?;
            return Ok(ExitCode::SUCCESS);
        }
        with_cluster("soak", self.nodes, self.nodes.into(), |cluster| {
            // A round is told as it ends: a long siege that is ended early has said something.
            let toll = siege(cluster, bounds, |toll| eprintln!("{}", toll.json()))?;
            println!("{}", toll.json());
            Ok(())
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
