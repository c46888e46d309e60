//! `cargo xtask bench network`: what the packet filter costs, names beside other servers, and the
//! tunnel beside another one.
//!
//! Our part is the driver of the product in this process, or its release binary, in network
//! namespaces of their own, so nothing of the machine's own network is touched. Needs root, two
//! processors, and a machine that does nothing else.

mod dns;
mod filter;
mod flows;
mod mesh;
mod policy;

use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

use anyhow::{Result, ensure};
use argh::FromArgs;
use jaco_lab::ensure_tools;

use super::measure::median;
use super::{Sink, again_as_release};

/// The network: packet filter by number of scopes, names beside unbound and dnsmasq, tunnel beside
/// wireguard-go and the bare cable. On a machine that does nothing else.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "network")]
pub(crate) struct Network {
    /// also write the lines to this file
    #[argh(option)]
    json: Option<PathBuf>,
    /// measure only this part: filter, dns or mesh; may be given several times
    #[argh(option)]
    part: Vec<Part>,
    /// rounds in turn of whatever is compared (default 7)
    #[argh(option, default = "7")]
    rounds: u32,
    /// a jaco binary whose tunnel is measured instead of a fresh release
    #[argh(option)]
    jaco: Option<PathBuf>,
}

/// What can be measured alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Filter,
    Dns,
    Mesh,
}

const PARTS: [(&str, Part); 3] =
    [("filter", Part::Filter), ("dns", Part::Dns), ("mesh", Part::Mesh)];

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = PARTS.iter().find(|(name, _)| *name == text);
        found.map(|(_, part)| *part).ok_or_else(|| format!("there is no part {text}"))
    }
}

impl Network {
    pub(crate) fn run(self) -> Result<ExitCode> {
        if cfg!(debug_assertions) {
            return again_as_release();
        }
        ensure!(self.rounds > 0, "nothing is measured in no round");
        ensure_tools()?;
        Sink::new(self.json)?.measure(&PARTS, &self.part, |part, sink| match part {
            Part::Filter => filter::measure(2 * self.rounds, sink),
            Part::Dns => dns::measure(self.rounds, sink),
            Part::Mesh => mesh::measure(self.jaco.clone(), self.rounds, sink),
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
