//! `cargo xtask bench house`: one node, at rest and at work.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use argh::FromArgs;
use jaco_lab::{Artifact, Engine, build_binary, until};
use serde_json::json;

use super::measure::{self, cpu_seconds, ms, percentile, rss_mb, timed};
use super::{Figure, Goal, Sink};
use crate::site::{Binaries, PROBE_IMAGE, Site};

/// One node: start, rest, apply, proposals, size.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "house")]
pub(crate) struct House {
    /// also write the lines to this file
    #[argh(option)]
    json: Option<PathBuf>,
    /// seconds of rest (default 60)
    #[argh(option, default = "60")]
    rest: u64,
}

/// Replicas of the figures with 30 replicas.
const REPLICAS: usize = 30;

impl House {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let mut sink = Sink::new(self.json)?;
        let jaco = build_binary(Artifact { package: "jaco", is_static: true, is_release: true })?;
        sink.put(&size(&jaco)?)?;
        sink.put(&cli_start(&jaco)?)?;
        let probe = Binaries::build(false)?.probe;
        let site = Site::up("bench", &Binaries { jaco, probe })?;
        let outcome = on_a_node(&site, &mut sink, Duration::from_secs(self.rest));
        let cleaned = site.down();
        outcome.and(cleaned)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn on_a_node(site: &Site, sink: &mut Sink, rest: Duration) -> Result<()> {
    sink.put(&apply(site)?)?;
    for figure in at_rest(site, rest)? {
        sink.put(&figure)?;
    }
    // Last: the answers kept for retries of so many changes take memory for a while.
    for figure in proposals(site)? {
        sink.put(&figure)?;
    }
    Ok(())
}

fn size(jaco: &PathBuf) -> Result<Figure> {
    let bytes = fs::metadata(jaco)?.len();
    Ok(Figure {
        name: "binary size".into(),
        value: bytes as f64 / 1e6,
        unit: "MB",
        peer: None,
        goal: Goal::Most(25.0),
    })
}

/// From exec to the first byte and the end; Docker's own client beside it.
fn cli_start(jaco: &PathBuf) -> Result<Figure> {
    let median = |mut command: Command| -> Result<f64> {
        command.stdout(Stdio::null()).stdin(Stdio::null());
        let mut samples = Vec::new();
        for _ in 0..50 {
            let (took, status) = timed(|| Ok(command.status()?))?;
            ensure!(status.success(), "{command:?}: {status}");
            samples.push(took);
        }
        Ok(ms(percentile(&mut samples, 0.5)))
    };
    let mut ours = Command::new(jaco);
    ours.arg("version");
    let mut docker = Command::new("docker");
    docker.arg("--version");
    Ok(Figure {
        name: "cli start, median".into(),
        value: median(ours)?,
        unit: "ms",
        peer: Some(("docker --version", median(docker)?)),
        goal: Goal::Most(20.0),
    })
}

/// From the call to 30 running containers, beside 30 plain `docker run` at once on one engine.
fn apply(site: &Site) -> Result<Figure> {
    let peer = docker_runs(site)?;
    let dir = site.host().data_dir().join("bench");
    fs::create_dir_all(&dir)?;
    let compose = json!({
        "name": "bench",
        "services": { "web": { "image": PROBE_IMAGE, "deploy": { "replicas": REPLICAS } } },
    });
    // JSON is YAML.
    fs::write(dir.join("compose.yaml"), compose.to_string())?;
    let path = dir.to_str().context("the lab's path is not UTF-8")?;
    let (ours, ()) = timed(|| {
        site.jaco(&["apply", path, "--detach"])?;
        wait_for_containers(site, "jaco.deployment=bench")
    })?;
    site.jaco(&["wait", "bench"])?;
    Ok(Figure {
        name: "apply to 30 running containers".into(),
        value: ours.as_secs_f64(),
        unit: "s",
        peer: Some(("30 concurrent docker run", peer.as_secs_f64())),
        goal: Goal::MostOfPeer(1.0),
    })
}

fn docker_runs(site: &Site) -> Result<Duration> {
    site.docker(&["network", "create", "bench-peer"])?;
    let (took, ()) = timed(|| {
        let runs: Vec<_> = (0..REPLICAS)
            .map(|_| {
                let args = ["run", "--detach", "--network", "bench-peer", "--label", "bench=peer"];
                let mut run = site.host().docker(args);
                run.arg(PROBE_IMAGE).stdout(Stdio::null()).spawn()
            })
            .collect::<Result<_, _>>()?;
        for mut run in runs {
            let status = run.wait()?;
            ensure!(status.success(), "docker run: {status}");
        }
        wait_for_containers(site, "bench=peer")
    })?;
    let ids = site.docker(&["ps", "--quiet", "--filter", "label=bench=peer"])?;
    let ids: Vec<&str> = ids.lines().collect();
    site.docker(&[&["rm", "--force"][..], &ids].concat())?;
    site.docker(&["network", "rm", "bench-peer"])?;
    Ok(took)
}

/// Asks the engine itself: starting its command line all the time would slow down what is measured.
fn wait_for_containers(site: &Site, label: &str) -> Result<()> {
    let engine = site.host().engine();
    let path = format!("/containers/json?filters=%7B%22label%22%3A%5B%22{label}%22%5D%7D");
    until("30 running containers", Duration::from_secs(180), || {
        let running = engine.get(&path)?.as_array().map_or(0, Vec::len);
        if running < REPLICAS {
            measure::rest(Duration::from_millis(50));
        }
        Ok((running >= REPLICAS).then_some(()))
    })
}

/// Memory, CPU time and log entries of a daemon that has nothing to do.
fn at_rest(site: &Site, rest: Duration) -> Result<Vec<Figure>> {
    let pid = site.daemon().pid().context("the daemon does not run")?;
    let index = || -> Result<f64> {
        let status = site.json(&["cluster", "status"])?;
        status["raft_index"].as_f64().context("no raft_index")
    };
    let (cpu, entries) = (cpu_seconds(pid)?, index()?);
    measure::rest(rest);
    let minutes = rest.as_secs_f64() / 60.0;
    let cpu = cpu_seconds(pid)? - cpu;
    Ok(vec![
        Figure {
            name: "idle memory with 30 replicas".into(),
            value: rss_mb(pid)?,
            unit: "MB",
            peer: None,
            goal: Goal::Most(40.0),
        },
        Figure {
            name: "idle cpu with 30 replicas".into(),
            value: cpu / rest.as_secs_f64() * 100.0,
            unit: "% of a core",
            peer: None,
            goal: Goal::Most(1.0),
        },
        Figure {
            name: "raft entries per idle minute with 30 replicas".into(),
            value: (index()? - entries) / minutes,
            unit: "entries",
            peer: None,
            goal: Goal::Most(0.0),
        },
    ])
}

/// Bytes of one raw append: about what one proposal of this benchmark writes.
const RECORD: usize = 512;
/// Length of each proposal run.
const RUN: Duration = Duration::from_secs(5);

/// Durable changes through the API, one client and 64, beside raw appends with fdatasync.
fn proposals(site: &Site) -> Result<Vec<Figure>> {
    let dir = site.host().data_dir().join("tiny");
    fs::create_dir_all(&dir)?;
    let compose = format!("name: tiny\nservices: {{a: {{image: {PROBE_IMAGE}, scale: 0}}}}\n");
    fs::write(dir.join("compose.yaml"), compose)?;
    site.jaco(&["apply", dir.to_str().context("the lab's path is not UTF-8")?])?;
    let mut raw = raw_appends(&site.host().data_dir().join("raw"))?;
    let raw_rate = raw.len() as f64 / RUN.as_secs_f64();
    let raw_p99 = ms(percentile(&mut raw, 0.99));
    let mut one = changes(site, 1)?;
    let many = changes(site, 64)?;
    site.jaco(&["delete", "tiny"])?;
    Ok(vec![
        Figure {
            name: "durable changes per second, 64 clients".into(),
            value: many.len() as f64 / RUN.as_secs_f64(),
            unit: "1/s",
            peer: Some(("raw fdatasync appends, sequential", raw_rate)),
            goal: Goal::LeastOfPeer(0.5),
        },
        Figure {
            name: "durable change p99, one client".into(),
            value: ms(percentile(&mut one, 0.99)),
            unit: "ms",
            peer: Some(("raw fdatasync append p99", raw_p99)),
            goal: Goal::MostOfPeer(10.0),
        },
    ])
}

fn raw_appends(path: &PathBuf) -> Result<Vec<Duration>> {
    let mut file = File::create(path)?;
    let record = [7; RECORD];
    let mut samples = Vec::new();
    let (_, ()) = timed(|| {
        let mut spent = Duration::ZERO;
        while spent < RUN {
            let (took, ()) =
                timed(|| Ok(file.write_all(&record).and_then(|()| file.sync_data())?))?;
            spent += took;
            samples.push(took);
        }
        Ok(())
    })?;
    fs::remove_file(path)?;
    Ok(samples)
}

/// How long each of the changes took that so many clients made one after another.
fn changes(site: &Site, clients: usize) -> Result<Vec<Duration>> {
    let api = Engine::new(site.daemon().socket());
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..clients)
            .map(|_| {
                scope.spawn(|| -> Result<Vec<Duration>> {
                    let mut samples = Vec::new();
                    let body = json!({ "services": { "a": 0 } });
                    while !done.load(Ordering::Relaxed) {
                        let (took, _) = timed(|| api.post("/v1/deployments/tiny/scale", &body))?;
                        samples.push(took);
                    }
                    Ok(samples)
                })
            })
            .collect();
        measure::rest(RUN);
        done.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for worker in workers {
            let samples = worker.join().map_err(|_| anyhow::anyhow!("a client panicked"))?;
            all.extend(samples?);
        }
        Ok(all)
    })
}
