//! Acknowledged changes per second and how long one takes, beside etcd.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::Bench;
use super::etcd::Etcd;
use super::jaco::Jaco;
use super::load::{Samples, Writer, load};
use crate::bench::measure::ms;
use crate::bench::{Figure, Goal, Sink};

/// Sizes of the clusters under load.
pub(super) const VOTERS: [usize; 3] = [1, 3, 5];

/// Clients of the large load.
const CLIENTS: usize = 64;

/// Bytes of a value that etcd's clients write.
const VALUE_BYTES: usize = 256;

/// Rounds: etcd, JACO, etcd, JACO. A disk or a neighbour that gets slower hits both.
const ROUNDS: usize = 2;

/// Who is written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Leader,
    Follower,
}

/// One cluster under one load.
struct Load {
    clients: usize,
    at: At,
    samples: Samples,
}

/// Figures for each size.
pub(super) fn measure(bench: &Bench, sink: &mut Sink) -> Result<()> {
    let etcd = Etcd::fetch()?;
    for &voters in &bench.voters {
        let (mut theirs, mut ours) = (loads(voters), loads(voters));
        for _ in 0..ROUNDS {
            etcd_round(bench, &etcd, voters, &mut theirs)?;
            if let Some(jaco) = &bench.jaco {
                jaco_round(bench, jaco, voters, &mut ours)?;
            }
        }
        for (ours, theirs) in ours.iter_mut().zip(&mut theirs) {
            let ours = bench.jaco.is_some().then_some(ours);
            for figure in figures(voters, ours, theirs) {
                sink.put(&figure)?;
            }
        }
    }
    Ok(())
}

/// The loads for a cluster of that size: one without followers has no forwarding.
fn loads(voters: usize) -> Vec<Load> {
    let at = [At::Leader, At::Follower].into_iter().take(if voters > 1 { 2 } else { 1 });
    at.flat_map(|at| [CLIENTS, 1].map(|clients| Load { clients, at, samples: Samples::default() }))
        .collect()
}

fn etcd_round(bench: &Bench, binary: &Path, voters: usize, loads: &mut [Load]) -> Result<()> {
    let etcd = Etcd::start(binary, bench.hosts(voters)?)?;
    run(loads, bench.length, |clients, at| etcd.writers(clients, VALUE_BYTES, at == At::Follower))
}

fn jaco_round(bench: &Bench, binary: &Path, voters: usize, loads: &mut [Load]) -> Result<()> {
    let jaco = Jaco::start(binary, bench.hosts(voters)?)?;
    jaco.apply_target()?;
    run(loads, bench.length, |clients, at| jaco.writers(clients, at == At::Follower))
}

fn run(
    loads: &mut [Load],
    length: Duration,
    writers: impl Fn(usize, At) -> Result<Vec<Box<dyn Writer>>>,
) -> Result<()> {
    for one in loads {
        one.samples.add(load(writers(one.clients, one.at)?, length)?);
    }
    Ok(())
}

/// What is told of one load. Without figures of our own the peer's are told instead.
fn figures(voters: usize, mut ours: Option<&mut Load>, theirs: &mut Load) -> Vec<Figure> {
    let through = if theirs.at == At::Follower { ", through a follower" } else { "" };
    let place = if voters == 1 { "1 voter".into() } else { format!("{voters} voters{through}") };
    let (many, clients) = (theirs.clients > 1, theirs.clients);
    let clients = if many { format!("{clients} clients") } else { "one client".to_owned() };
    let whose = if ours.is_some() { "" } else { "etcd: " };
    let name = |what: &str| format!("{whose}{what}, {place}, {clients}");
    let (rate, peer) = (ours.as_ref().map(|ours| ours.samples.rate()), theirs.samples.rate());
    let rate = figure(name("commits per second"), "1/s", rate, peer, Goal::LeastOfPeer(1.0));
    let mut took = |part: f64| {
        let ours = ours.as_deref_mut().map(|ours| ms(ours.samples.percentile(part)));
        let name = name(&format!("commit p{:.0}", part * 100.0));
        figure(name, "ms", ours, ms(theirs.samples.percentile(part)), Goal::MostOfPeer(1.0))
    };
    // The rate of one client says no more than how long one change takes.
    if many { vec![rate, took(0.99)] } else { vec![took(0.5), took(0.99)] }
}

/// A figure beside etcd's, or etcd's alone.
fn figure(name: String, unit: &'static str, value: Option<f64>, peer: f64, goal: Goal) -> Figure {
    Figure {
        name: name.into(),
        value: value.unwrap_or(peer),
        unit,
        peer: value.map(|_| ("etcd", peer)),
        goal: if value.is_some() { goal } else { Goal::None },
    }
}
