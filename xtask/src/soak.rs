//! `cargo xtask soak`: kills of one daemon or of a cluster's, for as long as one likes.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use argh::FromArgs;
use jaco_it::{Bounds, jaco_binary, siege, storm, with_cluster_of};
use jaco_lab::{Artifact, build_binary};

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
    /// an optimised build, without the checks after every step that make starts slow
    #[argh(switch)]
    release: bool,
    /// seed of every moment and choice (default 1)
    #[argh(option, default = "1")]
    seed: u64,
}

impl Soak {
    pub(crate) fn run(self) -> Result<ExitCode> {
        jaco_lab::ensure_tools()?;
        let length = Duration::from_secs(60 * self.minutes);
        let jaco = if self.release {
            build_binary(Artifact { package: "jaco", is_static: false, is_release: true })?
        } else {
            jaco_binary()?
        };
        let bounds = Bounds { kills: self.kills, length, seed: self.seed };
        if self.nodes == 1 {
            with_cluster_of(&jaco, "soak", 1, 1, |cluster| {
                println!("{}", storm(cluster.node_mut(0), bounds)?.json());
                Ok(())
            })?;
            return Ok(ExitCode::SUCCESS);
        }
        with_cluster_of(&jaco, "soak", self.nodes, self.nodes.into(), |cluster| {
            // A round is told as it ends: a long siege that is ended early has said something.
            let toll = siege(cluster, bounds, |toll| eprintln!("{}", toll.json()))?;
            println!("{}", toll.json());
            Ok(())
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
