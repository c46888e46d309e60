//! The hole watcher: while something breaks, packets go along forbidden and allowed paths at a
//! steady rate, and every arrival is counted where it arrives.
//!
//! A watcher is a process in the network of a container or of a host. It stays when the container
//! ends; the program in the container counts too, from its first moment on.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail, ensure};

use crate::cluster::Cluster;
use crate::ground::{Ground, Spot};
use crate::pause::unix_ms;
use crate::run::Run;

/// Period of each path, in milliseconds: a hundred packets a second.
const EVERY_MS: &str = "10";

/// Numbers of paths are never used again, so that a late packet of an earlier watch is none of
/// this one.
static NEXT: AtomicU32 = AtomicU32::new(1);

/// A way that packets take, or shall not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// The watcher that sends: a replica or a host.
    pub from: String,
    /// `udp`, `tcp` or `icmp`.
    pub kind: &'static str,
    /// The source address that the packets carry.
    pub source: Ipv4Addr,
    /// Where they go.
    pub target: Ipv4Addr,
    /// The port, for those that have one.
    pub port: u16,
    /// Where they may arrive: at these watchers and no others. Empty for a forbidden way.
    pub may_reach: BTreeSet<String>,
    /// Whether answers come back, by whose absence an outage is measured. Twenty packets a second
    /// are enough for that, and the tunnel between hosts has to carry them all.
    pub is_answered: bool,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Way { from, kind, source, target, port, .. } = self;
        write!(f, "{from}: {kind} {source} to {target}:{port}")
    }
}

/// Arrivals on one way at one watcher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Arrivals {
    count: u64,
    first: u64,
    last: u64,
    longest_gap: u64,
}

#[derive(Debug)]
struct Watcher {
    name: String,
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// A watch under way.
#[derive(Debug)]
pub struct Watch {
    watchers: Vec<Watcher>,
    ways: BTreeMap<u32, Way>,
    /// When it was told to go, in milliseconds since 1970.
    began: u64,
}

/// What a watch has seen.
#[derive(Debug, Clone, Default)]
pub struct Verdict {
    /// Ways, of all kinds.
    pub ways: usize,
    /// Packets sent along forbidden ways, about.
    pub forbidden_packets: u64,
    /// Packets per second and way, on average of all watchers.
    pub rate: u64,
    /// What arrived where it must not.
    pub holes: Vec<String>,
    /// From the first such arrival to the last of one way, the longest, in milliseconds.
    pub hole_ms: u64,
    /// From the last such arrival to the end of the watch, in milliseconds.
    pub closed_ms: u64,
    /// The longest silence on an answered way, in milliseconds, and which way that was.
    pub outage: Option<(u64, String)>,
    /// Answered ways that were never answered.
    pub silent: usize,
}

impl Watch {
    /// Starts a watcher in every container and on every host, then all of them at once.
    ///
    /// # Errors
    /// When one does not start.
    pub fn start(c: &Cluster, ground: &Ground, ways: Vec<Way>) -> Result<Watch> {
        let mut watchers = Vec::new();
        for spot in &ground.spots {
            let pid = spot.pid.to_string();
            let command = spot.beside(c, &["watch", "beside", &pid]);
            watchers.push(Watcher::start(&spot.replica, command)?);
        }
        let hosts = ground.places.iter().map(|place| &place.name);
        for name in hosts.chain(ground.neighbour.iter().map(|(name, _)| name)) {
            let mut command = c.lab().host(name)?.command(c.probe());
            command.arg("watch");
            watchers.push(Watcher::start(name, command)?);
        }
        let first = NEXT.fetch_add(u32::try_from(ways.len())?, Ordering::Relaxed);
        let ways: BTreeMap<u32, Way> = (first..).zip(ways).collect();
        for (id, way) in &ways {
            let Way { from, kind, source, target, port, .. } = way;
            let watcher = watchers.iter_mut().find(|watcher| watcher.name == *from);
            let watcher = watcher.with_context(|| format!("nobody to send {way}"))?;
            let every = if way.is_answered { 5 } else { 1 };
            writeln!(watcher.orders, "path {id} {kind} {source} {target} {port} {every}")?;
        }
        for watcher in &mut watchers {
            let line = watcher.line()?;
            ensure!(line == "ready", "{}: {line}", watcher.name);
        }
        watchers.iter_mut().try_for_each(|watcher| writeln!(watcher.orders, "go"))?;
        let began = unix_ms();
        Ok(Watch { watchers, ways, began })
    }

    /// Ends the watch. `now` are the containers that run by now: what they have counted since they
    /// started counts too.
    ///
    /// # Errors
    /// When a watcher has ended or says something else.
    pub fn stop(mut self, c: &Cluster, now: &[Spot]) -> Result<Verdict> {
        let closed_ms = unix_ms().saturating_sub(self.began);
        for watcher in &mut self.watchers {
            // One whose container has ended has ended with it; its report is there to be read.
            let _ended = writeln!(watcher.orders, "stop");
        }
        let mut verdict = Verdict { ways: self.ways.len(), closed_ms, ..Verdict::default() };
        let (mut all_rounds, mut all_ms) = (0, 0);
        let mut seen: BTreeMap<(u32, String), Arrivals> = BTreeMap::new();
        for watcher in &mut self.watchers {
            let (rounds, ms) = watcher.report(&mut seen)?;
            (all_rounds, all_ms) = (all_rounds + rounds, all_ms + ms);
            let forbidden = self.ways.values().filter(|way| way.from == watcher.name);
            let forbidden = forbidden.filter(|way| way.may_reach.is_empty()).count();
            verdict.forbidden_packets += rounds * u64::try_from(forbidden)?;
        }
        verdict.rate = all_rounds * 1000 / all_ms.max(1);
        for spot in now {
            let page = "http://127.0.0.1:8080/holes";
            let Ok(run) = Run::of(&mut spot.beside(c, &["client", "get", page])) else { continue };
            let rows = run.stdout.lines().filter_map(|line| line.split_once(' '));
            for (id, count) in rows.filter_map(|(id, n)| Some((id.parse().ok()?, n.parse().ok()?)))
            {
                let arrivals = Arrivals { count, first: 0, last: 0, longest_gap: u64::MAX };
                seen.entry((id, spot.replica.clone())).or_insert(arrivals);
            }
        }
        self.judge(&seen, &mut verdict);
        Ok(verdict)
    }

    fn judge(&self, seen: &BTreeMap<(u32, String), Arrivals>, verdict: &mut Verdict) {
        let mut open_ms = 0;
        for ((id, at), arrivals) in seen {
            // What others count may be of an earlier watch.
            let Some(way) = self.ways.get(id) else { continue };
            if way.may_reach.contains(at) {
                continue;
            }
            let Arrivals { count, first, last, .. } = arrivals;
            let (since, ms) = (first.saturating_sub(self.began), last - first);
            verdict.holes.push(format!(
                "{way} arrived {count} times at {at}, after {since} ms and for {ms} ms"
            ));
            verdict.hole_ms = verdict.hole_ms.max(ms);
            let until = last.saturating_sub(self.began);
            open_ms = open_ms.max(until);
        }
        verdict.closed_ms = verdict.closed_ms.saturating_sub(open_ms);
        for (id, way) in self.ways.iter().filter(|(_, way)| way.is_answered) {
            match seen.get(&(*id, way.from.clone())) {
                None => verdict.silent += 1,
                Some(arrivals) => {
                    let outage = (arrivals.longest_gap, way.to_string());
                    verdict.outage = verdict.outage.take().max(Some(outage));
                }
            }
        }
    }
}

impl Watcher {
    fn start(name: &str, mut command: Command) -> Result<Watcher> {
        command.env("PROBE_EVERY_MS", EVERY_MS).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("a watcher in {name}"))?;
        let orders = child.stdin.take().context("no stdin")?;
        let answers = BufReader::new(child.stdout.take().context("no stdout")?);
        Ok(Watcher { name: name.to_owned(), child, orders, answers })
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        let bytes = self.answers.read_line(&mut line)?;
        ensure!(bytes > 0, "the watcher in {} has ended", self.name);
        Ok(line.trim_end().to_owned())
    }

    /// Reads the report; gives the packets sent on each way and in how many milliseconds.
    fn report(&mut self, seen: &mut BTreeMap<(u32, String), Arrivals>) -> Result<(u64, u64)> {
        let (mut rounds, mut ms) = (0, 0);
        loop {
            let line = self.line()?;
            let words: Vec<&str> = line.split(' ').collect();
            let number = |at: usize| -> Result<u64> {
                let word = words.get(at).with_context(|| line.clone())?;
                word.parse().with_context(|| line.clone())
            };
            match words.first() {
                Some(&"end") => return Ok((rounds, ms)),
                Some(&"sent") => {
                    rounds = number(5)?;
                    ms = number(7)?;
                }
                Some(&"seen") => {
                    let arrivals = Arrivals {
                        count: number(2)?,
                        first: number(3)?,
                        last: number(4)?,
                        longest_gap: number(5)?,
                    };
                    let id = u32::try_from(number(1)?)?;
                    seen.insert((id, self.name.clone()), arrivals);
                }
                _ => bail!("the watcher in {} says {line}", self.name),
            }
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // It ends with its stdin; one that hangs must not outlive the test.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Verdict {
    /// One line for people.
    #[must_use]
    pub fn line(&self, fault: &str) -> String {
        let Verdict { ways, forbidden_packets, rate, hole_ms, silent, .. } = self;
        let (outage, way) = self.outage.clone().unwrap_or_default();
        let holes = self.holes.len();
        format!(
            "{fault}: {ways} ways, {rate} packets/s on each, {forbidden_packets} forbidden packets, \
             {holes} holes in {hole_ms} ms; longest outage {outage} ms ({way}), {silent} ways silent"
        )
    }

    /// Nothing arrived where it must not, on no way for longer than this; zero for not at all.
    ///
    /// # Errors
    /// When something arrived where it must not over a longer time, or the watch was too slow.
    pub fn has_holes_below(&self, limit_ms: u64) -> Result<()> {
        ensure!(self.rate >= 80, "only {} packets per second and way", self.rate);
        let is_closed = self.holes.is_empty() || limit_ms > 0 && self.hole_ms <= limit_ms;
        ensure!(is_closed, "holes over {} ms:\n{}", self.hole_ms, self.holes.join("\n"));
        Ok(())
    }
}
