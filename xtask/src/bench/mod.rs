//! `cargo xtask bench <suite>`: figures as one JSON line each, with a peer measured in the same
//! run. Nothing here passes or fails a test: machines are shared and noisy.

mod debian;
mod house;
mod ingress;
mod measure;
mod network;
mod raft;
mod space;

use std::borrow::Cow;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use argh::FromArgs;
use serde_json::json;

use crate::run::{cargo, exit_code};

/// Measure, and print one JSON line per figure.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "bench")]
pub(crate) struct Bench {
    #[argh(subcommand)]
    suite: Suite,
}

#[derive(Debug, FromArgs)]
#[argh(subcommand)]
enum Suite {
    House(house::House),
    Ingress(ingress::Ingress),
    IngressHost(ingress::Host),
    Network(network::Network),
    Raft(raft::Raft),
}

impl Bench {
    pub(crate) fn run(self) -> Result<ExitCode> {
        match self.suite {
            Suite::House(suite) => suite.run(),
            Suite::Ingress(suite) => suite.run(),
            Suite::IngressHost(suite) => suite.run(),
            Suite::Network(suite) => suite.run(),
            Suite::Raft(suite) => suite.run(),
        }
    }
}

/// Runs this task again, built as the product is: drivers that are measured are linked in here.
pub(crate) fn again_as_release() -> Result<ExitCode> {
    let mut command = cargo(["run", "--quiet", "--release", "--package", "xtask", "--"])?;
    // File names among the words are relative to where the task was called.
    let here = std::env::current_dir()?;
    let status = command.args(std::env::args_os().skip(1)).current_dir(here).status()?;
    Ok(exit_code(status))
}

/// What a figure should be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    /// At most this value.
    Most(f64),
    /// At most this many times the peer's value.
    MostOfPeer(f64),
    /// At least this many times the peer's value.
    LeastOfPeer(f64),
    /// None: it is told, not judged.
    None,
}

/// One measured figure.
#[derive(Debug, Clone)]
pub(crate) struct Figure {
    /// What was measured.
    pub(crate) name: Cow<'static, str>,
    /// The value, in `unit`.
    pub(crate) value: f64,
    /// Unit of both values.
    pub(crate) unit: &'static str,
    /// What it is compared with, and that one's value.
    pub(crate) peer: Option<(&'static str, f64)>,
    /// What it should be.
    pub(crate) goal: Goal,
}

impl Figure {
    /// The figure as one JSON line.
    fn line(&self) -> String {
        let ratio = self.peer.map(|(_, peer)| self.value / peer);
        let goal = match self.goal {
            Goal::Most(most) => Some(format!("<= {most} {}", self.unit)),
            Goal::MostOfPeer(times) => Some(format!("<= {times} x peer")),
            Goal::LeastOfPeer(times) => Some(format!(">= {times} x peer")),
            Goal::None => None,
        };
        json!({
            "name": self.name,
            "value": round(self.value),
            "unit": self.unit,
            "peer": self.peer.map(|(name, _)| name),
            "peer_value": self.peer.map(|(_, value)| round(value)),
            "ratio": ratio.map(round),
            "goal": goal,
            "met": self.is_met(),
        })
        .to_string()
    }
}

impl Figure {
    /// The figure as one row of a table: value, what it is of the peer's, whether that is enough.
    fn row(&self) -> String {
        let Figure { name, value, unit, .. } = self;
        let ratio = self.peer.map(|(_, peer)| format!("{:.2} x", value / peer)).unwrap_or_default();
        let met = match self.is_met() {
            Some(true) => "met",
            Some(false) => "missed",
            None => "",
        };
        format!("{value:>14.1} {unit:<12} {ratio:>10} {met:<6} {name}")
    }

    fn is_met(&self) -> Option<bool> {
        let ratio = self.peer.map_or(f64::NAN, |(_, peer)| self.value / peer);
        match self.goal {
            Goal::Most(most) => Some(self.value <= most),
            Goal::MostOfPeer(times) => Some(ratio <= times),
            Goal::LeastOfPeer(times) => Some(ratio >= times),
            Goal::None => None,
        }
    }
}

/// Three digits after the point are more than any of these figures is worth.
fn round(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

/// Where figures go: standard output, and a file if one was named.
pub(crate) struct Sink {
    file: Option<File>,
    rows: Vec<String>,
}

impl Sink {
    /// A sink that also writes to `path`.
    pub(crate) fn new(path: Option<PathBuf>) -> Result<Sink> {
        let create = |path: PathBuf| {
            File::create(&path).with_context(|| format!("cannot write {}", path.display()))
        };
        Ok(Sink { file: path.map(create).transpose()?, rows: Vec::new() })
    }

    /// Prints one figure.
    pub(crate) fn put(&mut self, figure: &Figure) -> Result<()> {
        let line = figure.line();
        println!("{line}");
        self.rows.push(figure.row());
        if let Some(file) = &mut self.file {
            writeln!(file, "{line}")?;
        }
        Ok(())
    }

    /// Measures those parts that are wanted, all when none is named, and shows people the figures.
    /// A part that fails is told, and the others go on.
    ///
    /// # Errors
    /// With the names of the parts that failed.
    pub(crate) fn measure<P: Copy + PartialEq>(
        mut self,
        parts: &[(&str, P)],
        wanted: &[P],
        mut one: impl FnMut(P, &mut Sink) -> Result<()>,
    ) -> Result<()> {
        let mut failed = Vec::new();
        for (name, part) in parts {
            if !wanted.is_empty() && !wanted.contains(part) {
                continue;
            }
            if let Err(error) = one(*part, &mut self) {
                eprintln!("{name}: {error:#}");
                failed.push(*name);
            }
        }
        self.rows.iter().for_each(|row| eprintln!("{row}"));
        ensure!(failed.is_empty(), "not measured: {}", failed.join(", "));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_whether_the_goal_was_met() {
        let figure = Figure {
            name: "apply".into(),
            value: 3.0,
            unit: "s",
            peer: Some(("docker run", 4.0)),
            goal: Goal::MostOfPeer(0.8),
        };
        let line: serde_json::Value = serde_json::from_str(&figure.line()).unwrap();
        assert_eq!(line["ratio"], 0.75);
        assert_eq!(line["goal"], "<= 0.8 x peer");
        assert_eq!(line["met"], true);
        let told = Figure { goal: Goal::None, peer: None, ..figure };
        let line: serde_json::Value = serde_json::from_str(&told.line()).unwrap();
        assert_eq!((&line["goal"], &line["met"]), (&json!(null), &json!(null)));
    }
}
