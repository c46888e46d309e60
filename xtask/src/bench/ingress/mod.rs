//! `cargo xtask bench ingress`: the front door beside nginx, HAProxy and Caddy of Debian.
//!
//! Everything runs in a network namespace of its own and ends with this task. Each proxy has the
//! first processor for itself while it is measured; clients and the service behind it share the
//! second. Ours is the driver of the product in a process of its own.

mod host;
mod idle;
mod load;
mod peers;
mod ports;
mod reload;
mod remake;
mod requests;
mod stage;
mod tables;

use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Result, ensure};
use argh::FromArgs;

pub(crate) use host::Host;

use super::{Sink, again_as_release};

/// The front door beside nginx, HAProxy and Caddy: requests, idle connections, published ports,
/// new tables. On a machine that does nothing else.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "ingress")]
pub(crate) struct Ingress {
    /// also write the lines to this file
    #[argh(option)]
    json: Option<PathBuf>,
    /// measure only this part: requests, routes, idle, ports, reload or changes; may be given
    /// several times
    #[argh(option)]
    part: Vec<Part>,
    /// rounds in turn of whatever is compared (default 5)
    #[argh(option, default = "5")]
    rounds: usize,
    /// seconds of each load (default 4)
    #[argh(option, default = "4")]
    seconds: u64,
    /// seconds with a change in each (default 30)
    #[argh(option, default = "30")]
    changes: u64,
    /// three short rounds and few changes: a look, not a figure
    #[argh(switch)]
    quick: bool,
}

/// What can be measured alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Requests,
    Routes,
    Idle,
    Ports,
    Reload,
    Changes,
}

const PARTS: [(&str, Part); 6] = [
    ("requests", Part::Requests),
    ("routes", Part::Routes),
    ("idle", Part::Idle),
    ("ports", Part::Ports),
    ("reload", Part::Reload),
    ("changes", Part::Changes),
];

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = PARTS.iter().find(|(name, _)| *name == text);
        found.map(|(_, part)| *part).ok_or_else(|| format!("there is no part {text}"))
    }
}

/// How much is measured.
#[derive(Debug, Clone, Copy)]
struct Effort {
    rounds: usize,
    length: Duration,
    /// Seconds with a change in each.
    changes: u64,
}

impl Ingress {
    pub(crate) fn run(self) -> Result<ExitCode> {
        if cfg!(debug_assertions) {
            return again_as_release();
        }
        let mut effort = Effort {
            rounds: self.rounds,
            length: Duration::from_secs(self.seconds),
            changes: self.changes,
        };
        if self.quick {
            effort = Effort { rounds: 3, length: Duration::from_secs(1), changes: 8 };
        }
        ensure!(effort.rounds > 0 && effort.changes > 0, "nothing is measured in no round");
        ensure!(!effort.length.is_zero(), "nothing is measured in no time");
        let stage = stage::Stage::set()?;
        Sink::new(self.json)?.measure(&PARTS, &self.part, |part, sink| match part {
            Part::Requests => requests::measure(&stage, effort, sink),
            Part::Routes => requests::measure_routes(&stage, effort, sink),
            Part::Idle => idle::measure(&stage, sink),
            Part::Ports => ports::measure(&stage, effort, sink),
            Part::Reload => {
                remake::measure(effort, sink).and_then(|()| reload::measure(&stage, effort, sink))
            }
            Part::Changes => reload::measure_changes(&stage, effort, sink),
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
