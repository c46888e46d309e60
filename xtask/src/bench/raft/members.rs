//! Members that join, and a leader that is lost, beside Docker Swarm on the same hosts.

use std::time::Duration;

use anyhow::Result;

use super::Bench;
use super::failover::failovers;
use super::jaco::Jaco;
use super::swarm::Swarm;
use crate::bench::measure::percentile;
use crate::bench::{Figure, Goal, Sink};

/// Members of the cluster that grows.
const JOINING: usize = 5;

/// Members of the cluster that loses its leader.
const LOSING: usize = 3;

/// How long one join takes, from the command to its success; the middle one of all.
pub(super) fn joins(bench: &Bench, sink: &mut Sink) -> Result<()> {
    let hosts = bench.hosts(JOINING)?;
    let mut swarm = Swarm::start(hosts)?;
    let theirs = percentile(&mut swarm.joins, 0.5).as_secs_f64();
    drop(swarm);
    let ours = match &bench.jaco {
        Some(binary) => {
            let mut jaco = Jaco::start(binary, hosts)?;
            Some(percentile(&mut jaco.joins, 0.5).as_secs_f64())
        }
        None => None,
    };
    let name = format!("join, median of {}", JOINING - 1);
    sink.put(&beside_swarm(name, ours, theirs, Goal::Most(1.0)))
}

/// From the kill of the leader to the next accepted write.
pub(super) fn losses(bench: &Bench, sink: &mut Sink) -> Result<()> {
    let hosts = bench.hosts(LOSING)?;
    let mut swarm = Swarm::start(hosts)?;
    let mut theirs = failovers(&mut swarm, bench.peer_losses)?;
    drop(swarm);
    let mut ours = match &bench.jaco {
        Some(binary) => {
            let mut jaco = Jaco::start(binary, hosts)?;
            jaco.apply_target()?;
            Some(failovers(&mut jaco, bench.losses)?)
        }
        None => None,
    };
    let times = if ours.is_some() { bench.losses } else { bench.peer_losses };
    for (part, most) in [(0.5, 1.5), (0.99, 3.0), (1.0, 0.0)] {
        let goal = if part < 1.0 { Goal::Most(most) } else { Goal::None };
        let what = if part < 1.0 { format!("p{}", part * 100.0) } else { "longest".to_owned() };
        let name = format!("leader killed until the next write, {what} of {times}");
        let of = |samples: &mut [Duration]| percentile(samples, part).as_secs_f64();
        let (ours, theirs) = (ours.as_deref_mut().map(of), of(&mut theirs));
        sink.put(&beside_swarm(name, ours, theirs, goal))?;
    }
    Ok(())
}

/// Without a figure of our own the peer's is told instead.
fn beside_swarm(name: String, ours: Option<f64>, theirs: f64, goal: Goal) -> Figure {
    Figure {
        name: if ours.is_some() { name } else { format!("Docker Swarm: {name}") }.into(),
        value: ours.unwrap_or(theirs),
        unit: "s",
        peer: ours.map(|_| ("Docker Swarm", theirs)),
        goal: if ours.is_some() { goal } else { Goal::None },
    }
}
