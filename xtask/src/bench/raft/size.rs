//! What a cluster costs: at rest, and with a large state.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use jaco_lab::until;
use serde_json::json;

use super::Bench;
use super::failover::Cluster;
use super::jaco::Jaco;
use super::load::Writer;
use crate::bench::measure::{
    cpu_seconds, peak_rss_mb, reset_peak, rest, rss_mb, thread_seconds, timed,
};
use crate::bench::{Figure, Goal, Sink};
use crate::site::PROBE_IMAGE;

/// Members of the cluster at rest, and the replicas that run on it.
const RESTING: usize = 3;
const REPLICAS: usize = 30;

/// Entities of the large state: replicas for which no node fits.
const ENTITIES: usize = 100_000;

/// Clients that make the log long enough for a snapshot.
const CLIENTS: usize = 16;

/// Shortest time between two snapshots, as the daemon has it.
const BETWEEN: Duration = Duration::from_secs(31);

/// Longest time until the log was long enough.
const SNAPSHOT_LIMIT: Duration = Duration::from_secs(120);

/// The thread that encodes snapshots.
const THREAD: &str = "raft-snapshot";

/// Memory, CPU time and log entries of daemons that have nothing to do.
pub(super) fn at_rest(bench: &Bench, sink: &mut Sink) -> Result<()> {
    let Some(binary) = &bench.jaco else { return Ok(()) };
    let jaco = Jaco::start(binary, bench.hosts(RESTING)?)?;
    let web = json!({
        "image": PROBE_IMAGE, "pull_policy": "never", "deploy": { "replicas": REPLICAS },
    });
    jaco.apply("rest", json!({ "web": web }), true)?;
    jaco.settle()?;
    let cpu = || jaco.pids().into_iter().map(cpu_seconds).collect::<Result<Vec<_>>>();
    let (cpu_before, index) = (cpu()?, jaco.index()?);
    rest(bench.rest);
    let entries = (jaco.index()? - index) as f64;
    let used = cpu()?.into_iter().zip(cpu_before).map(|(after, before)| after - before);
    let used = used.fold(0.0, f64::max);
    let rss = jaco.pids().into_iter().map(rss_mb).collect::<Result<Vec<_>>>()?;
    jaco.call(0, &["delete", "rest", "--yes"])?;
    let of = "3 nodes, 30 replicas";
    for (name, value, unit, most) in [
        ("raft entries per idle minute", entries / bench.rest.as_secs_f64() * 60.0, "entries", 0.0),
        ("idle memory, largest", rss.into_iter().fold(0.0, f64::max), "MB", 40.0),
        ("idle cpu, largest", used / bench.rest.as_secs_f64() * 100.0, "% of a core", 1.0),
    ] {
        let (name, goal) = (format!("{name}, {of}").into(), Goal::Most(most));
        sink.put(&Figure { name, value, unit, peer: None, goal })?;
    }
    Ok(())
}

/// Size, time and memory of a snapshot of a large state, and of a start from it.
pub(super) fn snapshot(bench: &Bench, sink: &mut Sink) -> Result<()> {
    let Some(binary) = &bench.jaco else { return Ok(()) };
    let mut jaco = Jaco::start(binary, bench.hosts(1)?)?;
    jaco.apply_target()?;
    let parked = json!({
        "image": PROBE_IMAGE,
        "pull_policy": "never",
        "deploy": {
            "replicas": ENTITIES,
            "placement": { "constraints": ["node.labels.nowhere == yes"] },
        },
    });
    jaco.apply("parked", json!({ "web": parked }), false)?;
    jaco.settle()?;
    let pid = jaco.pids().first().copied().context("the daemon does not run")?;
    let directory = jaco.data_dir()?.join("raft");
    rest(BETWEEN);
    let (before, cpu) = (snapshots(&directory)?, thread_seconds(pid, THREAD)?);
    let plain = rss_mb(pid)?;
    reset_peak(pid)?;
    let file = write_until_snapshot(&jaco, &directory, &before)?;
    let encoding = thread_seconds(pid, THREAD)? - cpu;
    let (size, peak) = (fs::metadata(&file)?.len() as f64 / 1e6, peak_rss_mb(pid)?);
    // Last: so long an answer takes memory of its own.
    let rows = jaco.api(0)?.get("/v1/replicas")?.as_array().map_or(0, Vec::len);
    ensure!(rows == ENTITIES, "{rows} replicas instead of {ENTITIES}");
    jaco.kill(0)?;
    let (start, _) = timed(|| {
        jaco.restore(0)?;
        jaco.wait_until_healthy()
    })?;
    let of = "100,000 entities";
    for (name, value, unit) in [
        (format!("snapshot of {of}, size"), size, "MB"),
        (format!("snapshot of {of}, cpu time"), encoding, "s"),
        (format!("memory with {of}"), plain, "MB"),
        (format!("memory at most while a snapshot of {of} is taken"), peak, "MB"),
        (format!("start from a snapshot of {of} until healthy"), start.as_secs_f64(), "s"),
    ] {
        sink.put(&Figure { name: name.into(), value, unit, peer: None, goal: Goal::None })?;
    }
    Ok(())
}

/// Snapshot files of a store.
fn snapshots(directory: &Path) -> Result<BTreeSet<PathBuf>> {
    let entries = fs::read_dir(directory).with_context(|| format!("{}", directory.display()))?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    Ok(paths.filter(|path| path.extension().is_some_and(|end| end == "snap")).collect())
}

/// Writes until there is a new snapshot, and gives its file.
fn write_until_snapshot(
    jaco: &Jaco,
    directory: &Path,
    before: &BTreeSet<PathBuf>,
) -> Result<PathBuf> {
    let done = AtomicBool::new(false);
    let writers = jaco.writers(CLIENTS, false)?;
    let work = |mut writer: Box<dyn Writer>| {
        while !done.load(Ordering::Relaxed) {
            writer.write()?;
        }
        Ok::<_, anyhow::Error>(())
    };
    thread::scope(|scope| {
        let workers: Vec<_> =
            writers.into_iter().map(|writer| scope.spawn(|| work(writer))).collect();
        let file = until("a snapshot", SNAPSHOT_LIMIT, || {
            rest(Duration::from_millis(20));
            Ok(snapshots(directory)?.difference(before).next().cloned())
        });
        done.store(true, Ordering::Relaxed);
        for worker in workers {
            worker.join().map_err(|_| anyhow!("a client panicked"))??;
        }
        file
    })
}
