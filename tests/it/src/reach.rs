//! Who reaches whom: every pair, by address and by name, by TCP, UDP and ICMP, tried for real.

use std::process::Command;
use std::thread;

use anyhow::{Context, Result, anyhow, ensure};

use crate::cluster::Cluster;
use crate::ground::{Ground, Spot};
use crate::run::Run;

/// Where the probe echoes; the same in every container of a matrix.
pub const TCP_PORT: u16 = 9_001;
/// As [`TCP_PORT`], for datagrams.
pub const UDP_PORT: u16 = 9_002;

/// Longest wait of one trial, in milliseconds.
const TRIAL_MS: &str = "1000";

/// Ports of members that no container may reach.
pub(crate) const CONTROL_PORTS: [u16; 3] = [7000, 7001, 2375];

/// Something that is tried.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Trial {
    /// As `probe client try` takes it.
    target: String,
    what: String,
    is_allowed: bool,
}

/// How much was tried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extent {
    /// Trials that had to succeed.
    pub allowed: usize,
    /// Trials that had to fail.
    pub forbidden: usize,
}

/// Tries every pair: reachable is what is allowed, exactly.
///
/// # Errors
/// With all pairs for which that is not so.
pub fn check_matrix(c: &Cluster, ground: &Ground) -> Result<Extent> {
    ensure!(ground.spots.len() > 1, "nobody to reach: {ground:#?}");
    let mut sources: Vec<(String, Command, Vec<Trial>)> = Vec::new();
    for from in &ground.spots {
        let trials = trials_of(from, ground);
        sources.push((from.replica.clone(), from.inside(&[]), trials));
    }
    if let Some((name, _)) = &ground.neighbour {
        let host = c.lab().host(name)?;
        sources.push((name.clone(), host.command(c.probe()), trials_of_a_stranger(ground)));
    }
    let extent = sources.iter().flat_map(|(_, _, trials)| trials).fold(
        Extent::default(),
        |mut extent, trial| {
            *(if trial.is_allowed { &mut extent.allowed } else { &mut extent.forbidden }) += 1;
            extent
        },
    );
    let wrong: Vec<String> = thread::scope(|scope| {
        let runs: Vec<_> = sources
            .into_iter()
            .map(|(name, probe, trials)| scope.spawn(move || from_one(&name, probe, &trials)))
            .collect();
        let mut wrong = Vec::new();
        for run in runs {
            wrong.extend(run.join().map_err(|_| anyhow!("a trial panicked"))??);
        }
        Ok::<_, anyhow::Error>(wrong)
    })?;
    ensure!(wrong.is_empty(), "{} trials went wrong:\n{}", wrong.len(), wrong.join("\n"));
    Ok(extent)
}

/// What a container tries.
fn trials_of(from: &Spot, ground: &Ground) -> Vec<Trial> {
    let mut trials = Vec::new();
    let mut add = |target: String, what: &str, is_allowed: bool| {
        trials.push(Trial { target, what: what.to_owned(), is_allowed });
    };
    for to in ground.spots.iter().filter(|to| to.id != from.id) {
        for (scope, address) in &to.addresses {
            let is_allowed = from.addresses.contains_key(scope);
            let what = format!("{} in {scope}", to.replica);
            add(format!("tcp:{address}:{TCP_PORT}"), &what, is_allowed);
            if !is_allowed || to.answers_datagrams_of(from) {
                add(format!("udp:{address}:{UDP_PORT}"), &what, is_allowed);
            }
            add(format!("icmp:{address}"), &what, is_allowed);
        }
        let what = format!("{} by name", to.replica);
        let names = [to.replica.clone(), format!("{}.{}.jaco.internal", to.replica, to.deployment)];
        for name in names.into_iter().filter(|_| ground.has_names) {
            add(format!("tcp:{name}:{TCP_PORT}"), &what, from.may_reach(to));
            if !from.may_reach(to) || to.answers_datagrams_of(from) {
                add(format!("udp:{name}:{UDP_PORT}"), &what, from.may_reach(to));
            }
            add(format!("icmp:{name}"), &what, from.may_reach(to));
        }
    }
    for bridge in &ground.bridges {
        let is_own = bridge.holds(from);
        let what = format!("the gateway {} of node {}", bridge.gateway, bridge.node);
        add(format!("icmp:{}", bridge.gateway), &what, is_own);
        add(format!("tcp:{}:{}", bridge.gateway, CONTROL_PORTS[0]), &what, false);
    }
    for place in &ground.places {
        let (mesh, underlay) = (place.mesh, place.underlay);
        add(format!("icmp:{mesh}"), &format!("{} in the mesh", place.name), false);
        let is_out = ground.has_way_out(from) && place.node != from.node;
        add(format!("icmp:{underlay}"), &format!("{} outside", place.name), is_out);
        for port in CONTROL_PORTS {
            for address in [mesh, underlay] {
                let what = format!("a port of {}", place.name);
                add(format!("tcp:{address}:{port}"), &what, false);
            }
        }
    }
    trials
}

/// What a host beside the cluster tries that knows a route to the containers.
fn trials_of_a_stranger(ground: &Ground) -> Vec<Trial> {
    let spots = ground.spots.iter().flat_map(|to| {
        to.addresses.values().flat_map(|address| {
            let targets = [
                format!("tcp:{address}:{TCP_PORT}"),
                format!("udp:{address}:{UDP_PORT}"),
                format!("icmp:{address}"),
            ];
            targets.map(|target| (target, to.replica.clone()))
        })
    });
    let own = ground.places.iter().flat_map(|place| {
        [format!("tcp:{}:7000", place.mesh), format!("icmp:{}", place.mesh)]
            .map(|target| (target, place.name.clone()))
    });
    let gateways = ground.bridges.iter().map(|bridge| {
        (format!("icmp:{}", bridge.gateway), format!("a gateway of node {}", bridge.node))
    });
    let all = spots.chain(own).chain(gateways);
    all.map(|(target, what)| Trial { target, what, is_allowed: false }).collect()
}

fn from_one(name: &str, mut probe: Command, trials: &[Trial]) -> Result<Vec<String>> {
    probe.args(["client", "try"]).args(trials.iter().map(|trial| &trial.target));
    let said = Run::of(probe.env("PROBE_TIMEOUT_MS", TRIAL_MS))?.exits(0)?.stdout;
    let lines: Vec<&str> = said.lines().collect();
    ensure!(lines.len() == trials.len(), "{name} answers otherwise than asked: {said}");
    let mut wrong = Vec::new();
    for (trial, line) in trials.iter().zip(lines) {
        let Trial { target, what, is_allowed } = trial;
        let works = line.starts_with("ok ");
        line.strip_prefix(if works { "ok " } else { "no " })
            .filter(|rest| rest.starts_with(target.as_str()))
            .with_context(|| format!("{name} answers {line} for {target}"))?;
        if works != *is_allowed {
            let should = if *is_allowed { "cannot reach" } else { "reaches" };
            wrong.push(format!("{name} {should} {what}: {line}"));
        }
    }
    Ok(wrong)
}
