//! `cargo xtask demo`: the main job, from a compose file to running containers and back.

mod cluster;
mod door;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use argh::FromArgs;
use serde_json::Value;

use crate::site::{Binaries, PROBE_IMAGE, Site, example};

/// Build, start a host with an engine of its own, run an example stack, change it without a gap,
/// and remove everything. With three hosts: form a cluster, lose its leader, go on, and serve a
/// route with a certificate on every node.
#[derive(Debug, FromArgs)]
#[argh(subcommand, name = "demo")]
pub(crate) struct Demo {
    /// number of hosts, 1 or 3 (default 1)
    #[argh(option, default = "1")]
    nodes: u8,
}

/// The service that the demo changes.
const SERVICE: &str = "web";

impl Demo {
    pub(crate) fn run(self) -> Result<ExitCode> {
        ensure!([1, cluster::HOSTS].contains(&self.nodes), "--nodes is 1 or {}", cluster::HOSTS);
        println!("==> install what is missing and build");
        jaco_lab::ensure_tools()?;
        let binaries = Binaries::build(false)?;
        let (site, outcome) = if self.nodes == 1 {
            println!("==> start a host with its own Docker Engine, and a daemon on it");
            let site = Site::up("demo", &binaries)?;
            let outcome = tour(&site);
            (site, outcome)
        } else {
            println!(
                "==> start {} hosts, each with its own Docker Engine and a daemon",
                self.nodes
            );
            let mut site = Site::with_authority("demo", self.nodes, &binaries)?;
            let outcome = cluster::tour(&mut site);
            (site, outcome)
        };
        println!("==> clean up");
        let cleaned = site.down();
        outcome.and(cleaned)?;
        println!("The demo is over; nothing is left on this machine.");
        Ok(ExitCode::SUCCESS)
    }
}

/// The whole life of a stack.
fn tour(site: &Site) -> Result<()> {
    let hello = example("hello")?;
    let path = hello.to_str().context("the path of the examples is not UTF-8")?;
    site.show(&["cluster", "status"])?;
    println!("==> apply {path}");
    site.show(&["apply", path])?;
    site.show(&["status", "hello"])?;
    println!("==> answers from the containers");
    answers(site)?;

    println!("==> change the greeting while a client asks 20 times a second");
    site.show(&["plan", path, "--env", "GREETING=goodbye"])?;
    let client = Client::start(site)?;
    let lowest = watch(site, || site.show(&["apply", path, "--env", "GREETING=goodbye"]))?;
    let (answered, failed) = client.stop()?;
    answers(site)?;
    println!("client: {answered} answers, {failed} failures; never fewer than {lowest} ready");
    ensure!(lowest >= 3, "a replica was missing during the replacement: {lowest} of 3");
    ensure!(answered > 0 && failed == 0, "{failed} requests failed during the replacement");

    site.show(&["history", "hello"])?;
    site.show(&["logs", "hello/web", "--tail", "1"])?;
    site.show(&["delete", "hello", "--volumes", "--yes"])
}

/// Asks every replica of the service for its page.
fn answers(site: &Site) -> Result<()> {
    // The old replicas may still be on their way out.
    for replica in replicas(site)?.iter().filter(|replica| replica["state"] == "running") {
        let address = replica["ips"].as_object().and_then(|ips| ips.values().next());
        let address = address.and_then(Value::as_str).context("a replica without address")?;
        let page = site.get(&format!("http://{address}:8080/env?name=GREETING"))?;
        println!("{}: {}", replica["id"].as_str().unwrap_or("?"), page.trim());
    }
    Ok(())
}

fn replicas(site: &Site) -> Result<Vec<Value>> {
    let list = site.json(&["ps", &format!("hello/{SERVICE}")])?;
    Ok(list.as_array().cloned().unwrap_or_default())
}

/// The lowest number of ready replicas that was seen while `work` ran.
fn watch(site: &Site, work: impl FnOnce() -> Result<()>) -> Result<usize> {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let watcher = scope.spawn(|| -> Result<usize> {
            let mut lowest = usize::MAX;
            while !done.load(Ordering::Relaxed) {
                let list = replicas(site)?;
                lowest = lowest.min(list.iter().filter(|r| r["state"] == "running").count());
                thread::park_timeout(Duration::from_millis(100));
            }
            Ok(lowest)
        });
        let worked = work();
        done.store(true, Ordering::Relaxed);
        let lowest = watcher.join().map_err(|_| anyhow::anyhow!("the watcher panicked"))?;
        worked.and(lowest)
    })
}

/// A container on the stack's network that asks the service by name all the time.
struct Client<'a> {
    site: &'a Site,
}

/// Name of the client's container.
const CLIENT: &str = "demo-client";

impl Client<'_> {
    fn start(site: &Site) -> Result<Client<'_>> {
        let network = site.docker(&["network", "ls", "--quiet", "--filter", "name=jaco_hello_"])?;
        let network = network.lines().next().context("the stack has no network")?;
        let peer = format!("PROBE_PEER=http://{SERVICE}:8080/");
        let run = ["run", "--detach", "--name", CLIENT, "--network", network];
        let env = ["--env", &peer, "--env", "PROBE_EVERY_MS=50", PROBE_IMAGE, "worker"];
        site.docker(&[&run[..], &env[..]].concat())?;
        Ok(Client { site })
    }

    /// Ends the client; the numbers of answers and of failures.
    fn stop(self) -> Result<(usize, usize)> {
        let log = self.site.docker(&["logs", CLIENT])?;
        self.site.docker(&["rm", "--force", CLIENT])?;
        let ticks: Vec<&str> = log.lines().filter(|line| line.starts_with("tick ")).collect();
        let answered = ticks.iter().filter(|line| line.ends_with(" peer 200")).count();
        ticks.iter().filter(|l| !l.ends_with(" peer 200")).take(5).for_each(|l| println!("{l}"));
        Ok((answered, ticks.len() - answered))
    }
}
