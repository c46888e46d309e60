//! What users would notice during a change: a client that asks all the time, and a watch over the
//! number of ready containers.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use jaco_lab::{Engine, until};

use crate::container::Container;
use crate::node::{IMAGE, Node};
use crate::pause::pause;
use crate::run::Run;

/// Longest wait for answers to a client.
const LIMIT: Duration = Duration::from_secs(30);

/// Pause between two looks of the watch.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A container, foreign to the product, that asks a service by its name 50 times a second.
#[derive(Debug)]
pub struct Client<'a> {
    node: &'a Node,
    name: String,
}

impl<'a> Client<'a> {
    /// Starts the client on the deployment's default network.
    ///
    /// # Errors
    /// When the network is not there or the container does not start.
    pub fn start(node: &'a Node, deployment: &str, service: &str) -> Result<Client<'a>> {
        let filter = format!("name=jaco_{deployment}_");
        let networks = docker(node, &["network", "ls", "--quiet", "--filter", &filter])?;
        let network = networks.lines().next().context("the stack has no network")?;
        let name = format!("client-{deployment}");
        let peer = format!("PROBE_PEER=http://{service}:8080/");
        let run = ["run", "--detach", "--name", &name, "--network", network];
        let env = ["--env", &peer, "--env", "PROBE_EVERY_MS=20", IMAGE, "worker"];
        docker(node, &[&run[..], &env[..]].concat())?;
        Ok(Client { node, name })
    }

    /// Ends the client: how many answers it got, and every line about a request that failed.
    ///
    /// # Errors
    /// When its container cannot be read or removed.
    pub fn stop(self) -> Result<(usize, Vec<String>)> {
        let counted = self.counted()?;
        docker(self.node, &["rm", "--force", &self.name])?;
        Ok(counted)
    }

    /// Waits until the client has more than so many answers. Docker gives out a name before the
    /// container behind it is on the network, and a connection then takes a second more.
    ///
    /// # Errors
    /// When they do not come, or its container cannot be read.
    pub fn wait_for_more_than(&self, answers: usize) -> Result<()> {
        until("answers to the client", LIMIT, || Ok((self.counted()?.0 > answers).then_some(())))
    }

    fn counted(&self) -> Result<(usize, Vec<String>)> {
        let log = docker(self.node, &["logs", &self.name])?;
        let (good, bad): (Vec<&str>, Vec<&str>) = log
            .lines()
            .filter(|line| line.starts_with("tick "))
            .partition(|line| line.ends_with(" peer 200"));
        Ok((good.len(), bad.into_iter().map(str::to_owned).collect()))
    }
}

fn docker(node: &Node, args: &[&str]) -> Result<String> {
    Ok(Run::of(&mut node.host().docker(args))?.exits(0)?.stdout)
}

/// What the watch saw of a service.
#[derive(Debug, Clone, Copy)]
pub struct Watch {
    /// The lowest number of ready containers.
    pub lowest: usize,
    /// The highest number of running containers, ready or not.
    pub highest: usize,
    /// How often it looked.
    pub looks: usize,
}

impl Watch {
    /// Counts the containers of a service, straight from the engines, while `work` runs.
    ///
    /// A container counts as ready that was so at this look or the one before: between the looks
    /// at two engines a replica may move from the second to the first.
    ///
    /// # Errors
    /// Those of `work`, or when an engine does not answer.
    pub fn during<T>(
        engines: &[Engine],
        deployment: &str,
        service: &str,
        work: impl FnOnce() -> Result<T>,
    ) -> Result<(Watch, T)> {
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let watcher = scope.spawn(|| Watch::until(engines, deployment, service, &done));
            let worked = work();
            done.store(true, Ordering::Relaxed);
            let watch = watcher.join().map_err(|_| anyhow!("the watch panicked"))??;
            ensure!(watch.looks > 0, "the watch never looked");
            Ok((watch, worked?))
        })
    }

    fn until(
        engines: &[Engine],
        deployment: &str,
        service: &str,
        done: &AtomicBool,
    ) -> Result<Watch> {
        let mut watch = Watch { lowest: usize::MAX, highest: 0, looks: 0 };
        let mut before = BTreeSet::new();
        while !done.load(Ordering::Relaxed) {
            let mut all = Vec::new();
            for engine in engines {
                all.extend(Container::of_deployment(engine, deployment)?);
            }
            all.retain(|container| container.service == service);
            let ready = all.iter().filter(|one| one.is_ready()).map(|one| one.id.clone());
            let ready: BTreeSet<String> = ready.collect();
            if engines.len() == 1 {
                before.clear();
            }
            watch.lowest = watch.lowest.min(ready.union(&before).count());
            let running = all.iter().filter(|container| container.state == "running").count();
            watch.highest = watch.highest.max(running);
            watch.looks += 1;
            before = ready;
            pause(LOOK_EVERY);
        }
        Ok(watch)
    }
}
