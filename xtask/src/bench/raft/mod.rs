//! `cargo xtask bench raft`: what a cluster does per second, and how long it is without a leader.
//!
//! Peers are measured in the same run on the same hosts and disk: etcd for commits, Docker Swarm
//! for joins and the loss of a leader. Each part stands alone; one that fails does not take the
//! figures of the others away.

mod commits;
mod etcd;
mod failover;
mod grpc;
mod http;
mod jaco;
mod load;
mod members;
mod size;
mod swarm;

use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use argh::FromArgs;
use jaco_lab::{Artifact, Lab, LabOptions, build_binary, ensure_tools, probe_binary};

use super::Sink;
use crate::site::PROBE_IMAGE;

/// Several nodes: commits beside etcd, joins and loss of the leader beside Docker Swarm.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "raft")]
pub(crate) struct Raft {
    /// also write the lines to this file
    #[argh(option)]
    json: Option<PathBuf>,
    /// measure only this part: commits, join, loss, rest or snapshot; may be given several times
    #[argh(option)]
    part: Vec<Part>,
    /// seconds of each load (default 5)
    #[argh(option, default = "5")]
    seconds: u64,
    /// commits with only so many voters: 1, 3 or 5; may be given several times
    #[argh(option)]
    voters: Vec<usize>,
    /// how often the cluster loses its leader (default 100)
    #[argh(option, default = "100")]
    losses: u32,
    /// how often Swarm does, which takes long (default 20)
    #[argh(option, default = "20")]
    peer_losses: u32,
    /// seconds of rest (default 60)
    #[argh(option, default = "60")]
    rest: u64,
    /// a jaco binary to measure instead of a fresh release
    #[argh(option)]
    jaco: Option<PathBuf>,
    /// measure only the peers, and tell their figures
    #[argh(switch)]
    peers_only: bool,
}

/// What can be measured alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Commits,
    Join,
    Loss,
    Rest,
    Snapshot,
}

/// All parts, the quick ones first.
const PARTS: [(&str, Part); 5] = [
    ("join", Part::Join),
    ("commits", Part::Commits),
    ("rest", Part::Rest),
    ("snapshot", Part::Snapshot),
    ("loss", Part::Loss),
];

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = PARTS.iter().find(|(name, _)| *name == text);
        found.map(|(_, part)| *part).ok_or_else(|| format!("there is no part {text}"))
    }
}

/// Hosts of the lab.
const HOSTS: u8 = 5;

/// A lab, what runs on it, and how much.
struct Bench {
    lab: Lab,
    /// `None` when only peers are measured.
    jaco: Option<PathBuf>,
    length: Duration,
    rest: Duration,
    losses: u32,
    peer_losses: u32,
    /// Sizes of the clusters that are written to.
    voters: Vec<usize>,
}

impl Raft {
    pub(crate) fn run(self) -> Result<ExitCode> {
        ensure_tools()?;
        ensure!(self.seconds > 0 && self.rest > 0, "nothing is measured in no time");
        ensure!(self.losses > 0 && self.peer_losses > 0, "a leader is lost at least once");
        if let Some(odd) = self.voters.iter().find(|size| !commits::VOTERS.contains(size)) {
            bail!("no cluster of {odd} voters is measured: 1, 3 or 5");
        }
        let sink = Sink::new(self.json)?;
        let built =
            || build_binary(Artifact { package: "jaco", is_static: true, is_release: true });
        let jaco = if self.peers_only { None } else { Some(self.jaco.map_or_else(built, Ok)?) };
        let probe = probe_binary()?;
        let bench = Bench {
            lab: Lab::up(LabOptions::new("bench-raft", HOSTS))?,
            jaco,
            length: Duration::from_secs(self.seconds),
            rest: Duration::from_secs(self.rest),
            losses: self.losses,
            peer_losses: self.peer_losses,
            voters: if self.voters.is_empty() { commits::VOTERS.to_vec() } else { self.voters },
        };
        bench.lab.import_probe_everywhere(&probe, PROBE_IMAGE)?;
        let measured = sink.measure(&PARTS, &self.part, |part, sink| bench.measure(part, sink));
        bench.lab.down()?;
        measured.map(|()| ExitCode::SUCCESS)
    }
}

impl Bench {
    fn measure(&self, part: Part, sink: &mut Sink) -> Result<()> {
        match part {
            Part::Commits => commits::measure(self, sink),
            Part::Join => members::joins(self, sink),
            Part::Loss => members::losses(self, sink),
            Part::Rest => size::at_rest(self, sink),
            Part::Snapshot => size::snapshot(self, sink),
        }
    }

    /// The first hosts of the lab.
    fn hosts(&self, count: usize) -> Result<&[jaco_lab::Host]> {
        self.lab.hosts().get(..count).context("the lab is too small")
    }
}
