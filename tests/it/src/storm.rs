//! kill -9 of the daemon at random moments while a user changes two deployments.
//!
//! One thread is the user, one looks at the engine all the time, and the caller's thread kills.
//! What the user was told is compared with what there is; the seed makes the moments again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use jaco_lab::{Engine, until};
use serde_json::{Value, json};

use crate::container::Container;
use crate::node::{Caller, Node};
use crate::pause::pause;
use crate::random::Random;
use crate::run::Run;
use crate::stack::{Stack, probe};

/// Changes all the time.
const BUSY: &str = "busy";
/// Is applied once; any new or restarted container of it had no cause.
const STEADY: &str = "steady";
/// Replicas of the steady service.
const STEADY_REPLICAS: usize = 2;
/// Revisions that a deployment keeps in any case.
const KEPT: u64 = 10;
/// Longest life of a daemon, from its start on.
const LIFE_MS_MAX: u64 = 900;
/// Longest time from the last kill to a settled node.
const SETTLE: &str = "120s";
/// Longest time until replaced containers have been drained and are gone.
const LEAVE: Duration = Duration::from_secs(60);
/// Pause of the watch between two looks, and of the user between two changes.
const PAUSE: Duration = Duration::from_millis(20);

/// How long the storm lasts: it ends with the first bound that is reached.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Number of kills.
    pub kills: u32,
    /// Length.
    pub length: Duration,
    /// Where chance starts.
    pub seed: u64,
}

/// What a storm was like; a breach of a promise is an error instead.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// Where chance started.
    pub seed: u64,
    /// Kills.
    pub kills: u32,
    /// Kills before the daemon answered.
    pub early_kills: u32,
    /// Applies that were acknowledged and that were not.
    pub applies: (usize, usize),
    /// Scales that were acknowledged and that were not.
    pub scales: (usize, usize),
    /// Acknowledged applies that were looked for and found in the history.
    pub checked: usize,
    /// Containers that were seen, and looks at the engine.
    pub containers: usize,
    /// Looks at the engine.
    pub looks: usize,
    /// Length in seconds.
    pub seconds: f64,
}

impl Summary {
    /// The summary as one JSON document.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "seed": self.seed,
            "kills": self.kills,
            "kills_before_ready": self.early_kills,
            "applies_acknowledged": self.applies.0,
            "applies_unknown": self.applies.1,
            "scales_acknowledged": self.scales.0,
            "scales_unknown": self.scales.1,
            "acknowledged_applies_checked": self.checked,
            "acknowledged_applies_lost": 0,
            "containers_seen": self.containers,
            "engine_looks": self.looks,
            "containers_recreated_without_cause": 0,
            "duplicates_left": 0,
            "seconds": (self.seconds * 10.0).round() / 10.0,
        })
    }
}

/// Runs a storm on a fresh cluster and checks every promise.
///
/// # Errors
/// The first promise that was broken; the message holds the seed.
pub fn storm(node: &mut Node, bounds: Bounds) -> Result<Summary> {
    let seed = bounds.seed;
    run(node, bounds).with_context(|| format!("storm with seed {seed}"))
}

#[expect(clippy::disallowed_methods, reason = "a storm is bounded in real time")]
fn run(node: &mut Node, bounds: Bounds) -> Result<Summary> {
    let start = Instant::now();
    let steady = json!({ "deploy": { "replicas": STEADY_REPLICAS } });
    let steady = Stack::new(STEADY, json!({ "services": { "web": probe(steady) } }))?;
    node.ok(&["apply", &steady.path()])?;
    let untouched = started(node)?;
    let user = User::new(node.caller(), node.api())?;
    let (engine, done) = (node.engine(), AtomicBool::new(false));
    let mut random = Random::new(bounds.seed);
    let mut summary = Summary { seed: bounds.seed, ..Summary::default() };
    let (mut book, seen) = thread::scope(|scope| {
        let watch = scope.spawn(|| watch(&engine, &done));
        let user = scope.spawn(|| user.work(bounds.seed, &done));
        let mut killed = Ok(());
        while summary.kills < bounds.kills && start.elapsed() < bounds.length && killed.is_ok() {
            // A breach is told at once, not after hours.
            if watch.is_finished() || user.is_finished() {
                break;
            }
            killed = kill(node, &mut random, &mut summary);
        }
        done.store(true, Ordering::Relaxed);
        let seen = watch.join().map_err(|_| anyhow!("the watch panicked"))??;
        let book = user.join().map_err(|_| anyhow!("the user panicked"))??;
        killed.map(|()| (book, seen))
    })?;
    node.daemon().start_again()?;
    node.wait_until_ready()?;
    nothing_is_lost(node, &mut book)?;
    settled(node, &book)?;
    ensure!(started(node)? == untouched, "the steady deployment was touched");
    summary.applies = (book.applied.len(), book.unknown_applies);
    summary.scales = (book.scales, book.unknown_scales);
    summary.checked = book.found.len();
    (summary.containers, summary.looks) = seen;
    summary.seconds = start.elapsed().as_secs_f64();
    Ok(summary)
}

/// One life of the daemon: start, some time, kill.
fn kill(node: &mut Node, random: &mut Random, summary: &mut Summary) -> Result<()> {
    if node.daemon().pid().is_none() {
        node.daemon().spawn()?;
    }
    // Two lives in three get far enough to answer; the others end while they start.
    let wait = if random.below(3) == 0 { random.below(100) } else { random.below(LIFE_MS_MAX) };
    pause(Duration::from_millis(wait));
    summary.early_kills += u32::from(node.api().get("/v1/cluster").is_err());
    node.daemon().kill()?;
    summary.kills += 1;
    Ok(())
}

/// What the user was told.
#[derive(Debug, Default)]
struct Book {
    /// Mark of each acknowledged apply by its revision.
    applied: BTreeMap<u64, String>,
    /// Mark of the last attempt, acknowledged or not.
    last_mark: String,
    /// The last acknowledged number of replicas, unless a later attempt may have changed it.
    replicas: Option<u64>,
    unknown_applies: usize,
    scales: usize,
    unknown_scales: usize,
    /// Acknowledged revisions that were found in the history.
    found: BTreeSet<u64>,
}

impl Book {
    /// Notes an acknowledged apply, and checks that the latest ones before it are all there: each
    /// is looked for as long as the bounded history must hold it, over many lives of the daemon.
    fn note(&mut self, api: &Engine, revision: u64, mark: String) -> Result<()> {
        let earlier = self.applied.insert(revision, mark);
        ensure!(earlier.is_none(), "revision {revision} was given to two applies");
        let path = format!("/v1/deployments/{BUSY}/history");
        // The daemon may have been killed since it acknowledged.
        let Ok(history) = api.get(&path) else { return Ok(()) };
        self.compare(&revisions(&history)?)
    }

    /// Every acknowledged revision is kept, unless the history is too short for it.
    fn compare(&mut self, kept: &BTreeSet<u64>) -> Result<()> {
        let newest = kept.last().copied().context("the history is empty")?;
        let (&last, _) = self.applied.last_key_value().context("no apply")?;
        ensure!(newest >= last, "acknowledged revision {last} is lost: {kept:?}");
        for (&revision, _) in self.applied.range(newest.saturating_sub(KEPT - 1)..) {
            ensure!(kept.contains(&revision), "acknowledged revision {revision} is lost: {kept:?}");
            self.found.insert(revision);
        }
        Ok(())
    }
}

/// The numbers of a history.
fn revisions(history: &Value) -> Result<BTreeSet<u64>> {
    let rows = history.as_array().context("no history")?;
    rows.iter().map(|row| row["revision"].as_u64().context("no revision")).collect()
}

/// Somebody who changes a deployment as fast as the daemon lets him.
struct User {
    caller: Caller,
    api: Engine,
    stack: Stack,
}

impl User {
    fn new(caller: Caller, api: Engine) -> Result<User> {
        Ok(User { caller, api, stack: Stack::new(BUSY, busy("none"))? })
    }

    fn work(&self, seed: u64, done: &AtomicBool) -> Result<Book> {
        let mut random = Random::new(seed.wrapping_add(1));
        let mut book = Book::default();
        let mut n = 0_u32;
        while !done.load(Ordering::Relaxed) {
            if random.below(3) == 0 {
                self.scale(random.below(4) + 1, &mut book)?;
            } else {
                n += 1;
                self.apply(format!("mark-{n}"), &mut book)?;
            }
            pause(PAUSE * u32::try_from(random.below(20)).unwrap_or(1));
        }
        Ok(book)
    }

    fn apply(&self, mark: String, book: &mut Book) -> Result<()> {
        self.stack.write(busy(&mark))?;
        book.last_mark.clone_from(&mark);
        let args = ["apply", &self.stack.path(), "--detach", "-o", "json"];
        let run = Run::of(&mut self.caller.command(&args))?;
        if run.code != Some(0) {
            book.unknown_applies += 1;
            return may_fail(&run);
        }
        let revision = run.json()?["revision"].as_u64().context("no revision")?;
        book.note(&self.api, revision, mark)
    }

    fn scale(&self, replicas: u64, book: &mut Book) -> Result<()> {
        let target = format!("{BUSY}/web={replicas}");
        let run = Run::of(&mut self.caller.command(&["scale", &target, "--detach", "-o", "json"]))?;
        let acknowledged = run.code == Some(0);
        book.replicas = acknowledged.then_some(replicas);
        if acknowledged {
            book.scales += 1;
            return Ok(());
        }
        book.unknown_scales += 1;
        may_fail(&run)
    }
}

/// A call may fail because the daemon is away or not yet ready, and for no other reason.
fn may_fail(run: &Run) -> Result<()> {
    let error = run.error()?;
    let code = error["code"].as_str().unwrap_or_default();
    // The first apply may be lost, and then there is nothing to scale.
    let fine = ["unreachable", "no_leader", "docker_error", "deployment_not_found", "canceled"];
    ensure!(fine.contains(&code), "{}: {error}", run.words);
    Ok(())
}

fn busy(mark: &str) -> Value {
    let web = json!({
        "environment": { "MARK": mark },
        "stop_grace_period": "1s",
        "deploy": { "replicas": 2, "update_config": { "parallelism": 2, "monitor": "100ms" } },
    });
    json!({ "services": { "web": probe(web) } })
}

/// Looks at the engine until it is told to end: each instance is one container, ever.
fn watch(engine: &Engine, done: &AtomicBool) -> Result<(usize, usize)> {
    let mut ids: BTreeMap<(String, u64), String> = BTreeMap::new();
    let mut looks = 0;
    while !done.load(Ordering::Relaxed) {
        for deployment in [BUSY, STEADY] {
            for one in Container::of_deployment(engine, deployment)? {
                let instance = (one.replica.clone(), one.generation);
                let known = ids.entry(instance).or_insert_with(|| one.id.clone());
                ensure!(*known == one.id, "{} g{} was recreated", one.replica, one.generation);
            }
        }
        looks += 1;
        pause(PAUSE);
    }
    Ok((ids.len(), looks))
}

/// Ids and start times of the deployment that nobody changes.
fn started(node: &Node) -> Result<Vec<(Container, Value)>> {
    let containers = node.containers(STEADY)?;
    ensure!(containers.len() == STEADY_REPLICAS, "steady: {containers:#?}");
    let with_start = |one: Container| {
        let start = node.engine().inspect(&one.id)?["State"]["StartedAt"].clone();
        Ok((one, start))
    };
    containers.into_iter().map(with_start).collect()
}

/// Every acknowledged apply is in the history with what was applied.
fn nothing_is_lost(node: &Node, book: &mut Book) -> Result<()> {
    ensure!(!book.applied.is_empty(), "no apply was acknowledged");
    let kept = revisions(&node.ok(&["history", BUSY])?)?;
    book.compare(&kept)?;
    for (&revision, mark) in book.applied.iter().filter(|(revision, _)| kept.contains(revision)) {
        let number = revision.to_string();
        let stored = node.ok(&["get", "deployment", BUSY, "--revision", &number])?;
        let compose = stored["compose_yaml"].as_str().unwrap_or_default();
        let has_mark = compose.split_whitespace().any(|word| word.trim_matches('"') == mark);
        ensure!(has_mark, "revision {revision} should hold {mark}: {compose}");
    }
    Ok(())
}

/// The cluster comes to rest at what was wanted last, with exactly the wanted containers.
fn settled(node: &Node, book: &Book) -> Result<()> {
    node.ok(&["wait", BUSY, "--timeout", SETTLE])?;
    let status = node.ok(&["status", BUSY])?;
    let row = &status["deployments"][0];
    let (&last, mark) = book.applied.last_key_value().context("no apply")?;
    let revision = row["applied_revision"].as_u64().context("no revision")?;
    ensure!(revision >= last, "revision {revision} is older than the acknowledged {last}");
    let mark = if revision == last { mark } else { &book.last_mark };
    let wanted = row["wanted"].as_u64().context("no number")?;
    let scaled = book.replicas.unwrap_or(wanted);
    ensure!(wanted == scaled, "{scaled} replicas were acknowledged, {wanted} are wanted");

    let mut containers = Vec::new();
    // Active says that the wanted ones serve; those they replaced may still be leaving.
    until("exactly the wanted containers", LEAVE, || {
        containers = node.containers(BUSY)?;
        Ok((containers.len() as u64 == wanted).then_some(()))
    })
    .with_context(|| format!("{wanted} wanted: {:#?}", node.containers(BUSY)))?;
    let replicas: BTreeSet<&String> = containers.iter().map(|one| &one.replica).collect();
    ensure!(replicas.len() == containers.len(), "duplicates: {containers:#?}");
    for one in &containers {
        ensure!(one.is_ready(), "{one:?}");
        let env = node.engine().inspect(&one.id)?["Config"]["Env"].to_string();
        // Between the last acknowledged and the last attempt there may be lost answers.
        let right = revision > last || env.contains(&format!("MARK={mark}\""));
        ensure!(right, "{one:?} runs another revision than {revision}: {env}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_absent_daemon_excuses_a_failure() {
        let run = |code: &str| Run {
            words: String::new(),
            code: Some(1),
            stdout: String::new(),
            stderr: json!({ "error": { "code": code, "message": "" } }).to_string(),
        };
        assert!(may_fail(&run("unreachable")).is_ok());
        assert!(may_fail(&run("internal")).is_err());
        assert!(may_fail(&run("revision_conflict")).is_err());
    }
}
