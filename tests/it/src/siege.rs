//! kill -9 of daemons of a cluster, one, two or all at a time, while users write through all of
//! them.
//!
//! It goes in rounds: some kills under load, then all daemons run again and every write is looked
//! for. A deployment that nobody changes runs on all nodes meanwhile.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use jaco_lab::until;
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::container::Container;
use crate::node::Node;
use crate::pause::pause;
use crate::random::Random;
use crate::stack::{Stack, probe};
use crate::storm::Bounds;
use crate::writers::while_written;

/// Users who write all the time.
const USERS: u64 = 3;

/// Most kills of one round.
const KILLS_MAX: u64 = 6;

/// Longest time between two kills, and until a killed daemon is started again.
const LIFE_MS_MAX: u64 = 2_500;
const AWAY_MS_MAX: u64 = 1_500;

/// How long users write after the last kill of a round.
const AFTER: Duration = Duration::from_millis(1_500);

/// Longest time until members show the same.
const EQUAL_LIMIT: Duration = Duration::from_secs(30);

/// The deployment that nobody changes.
const STEADY: &str = "steady";

/// What a siege was like; a breach of a promise is an error instead.
#[derive(Debug, Clone, Default)]
pub struct Toll {
    /// Where chance started.
    pub seed: u64,
    /// Members.
    pub members: usize,
    /// Times that one or more daemons were killed.
    pub kills: u32,
    /// Times that all were killed at once, among those.
    pub kills_of_all: u32,
    /// Daemons that were killed.
    pub daemons: u32,
    /// Leaders that were killed.
    pub leaders: u32,
    /// Rounds.
    pub rounds: u32,
    /// Writes that were acknowledged, all of which were found, once.
    pub acknowledged: usize,
    /// Writes of which nobody was told what came of them.
    pub unknown: usize,
    /// Longest time until all members followed one leader and had applied the same, in seconds.
    pub slowest: f64,
    /// Length in seconds.
    pub seconds: f64,
}

impl Toll {
    /// The toll as one JSON document.
    #[must_use]
    pub fn json(&self) -> Value {
        let tenths = |seconds: f64| (seconds * 10.0).round() / 10.0;
        json!({
            "seed": self.seed,
            "members": self.members,
            "kills": self.kills,
            "kills_of_all_at_once": self.kills_of_all,
            "daemons_killed": self.daemons,
            "leaders_killed": self.leaders,
            "rounds": self.rounds,
            "writes_acknowledged": self.acknowledged,
            "writes_unknown": self.unknown,
            "acknowledged_writes_lost": 0,
            "writes_doubled": 0,
            "containers_touched": 0,
            "slowest_recovery_seconds": tenths(self.slowest),
            "seconds": tenths(self.seconds),
        })
    }
}

/// Runs a siege of a healthy cluster in which nothing else runs, and checks every promise;
/// `tell` hears of each round.
///
/// # Errors
/// The first promise that was broken; the message holds the seed.
pub fn siege(cluster: &mut Cluster, bounds: Bounds, tell: impl FnMut(&Toll)) -> Result<Toll> {
    let seed = bounds.seed;
    run(cluster, bounds, tell).with_context(|| format!("siege with seed {seed}"))
}

#[expect(clippy::disallowed_methods, reason = "a siege is bounded in real time")]
fn run(cluster: &mut Cluster, bounds: Bounds, mut tell: impl FnMut(&Toll)) -> Result<Toll> {
    let start = Instant::now();
    let members: Vec<usize> = (0..cluster.nodes().len()).collect();
    let web = probe(json!({ "deploy": { "replicas": members.len() } }));
    let steady = Stack::new(STEADY, json!({ "services": { "web": web } }))?;
    cluster.node(0).ok(&["apply", &steady.path()])?;
    let untouched = started(cluster)?;
    let mut random = Random::new(bounds.seed);
    let mut toll = Toll { seed: bounds.seed, members: members.len(), ..Toll::default() };
    while toll.kills < bounds.kills && start.elapsed() < bounds.length {
        toll.rounds += 1;
        let kills = (bounds.kills - toll.kills).min(at_most(&mut random, KILLS_MAX));
        let seed = bounds.seed.wrapping_mul(1 << 20).wrapping_add(toll.rounds.into());
        let sockets = cluster.sockets();
        let (ledger, ()) = while_written(&sockets, USERS, seed, || {
            (0..kills).try_for_each(|_| kill(cluster, &mut random, &mut toll))?;
            members.iter().try_for_each(|node| cluster.node_mut(*node).start_if_away())?;
            pause(AFTER);
            Ok(())
        })?;
        let calm = Instant::now();
        // Not healthy: a member that comes and goes is trusted again only after minutes.
        cluster.level(&members)?;
        toll.slowest = toll.slowest.max((calm.elapsed() + AFTER).as_secs_f64());
        equal(cluster)?;
        let asked = pick(&mut random, members.len());
        ledger.settle(cluster, asked)?;
        toll.acknowledged += ledger.acknowledged();
        toll.unknown += ledger.unknown();
        ensure!(started(cluster)? == untouched, "containers were touched in round {}", toll.rounds);
        toll.seconds = start.elapsed().as_secs_f64();
        tell(&toll);
    }
    ensure!(toll.acknowledged > 0, "no write was acknowledged");
    Ok(toll)
}

/// Kills one, two or all daemons, and lets them come back after a while, or with the next kill.
fn kill(cluster: &mut Cluster, random: &mut Random, toll: &mut Toll) -> Result<()> {
    pause(Duration::from_millis(random.below(LIFE_MS_MAX)));
    let count = cluster.nodes().len();
    let victims: BTreeSet<usize> = match random.below(10) {
        0 => (0..count).collect(),
        1 => [pick(random, count), pick(random, count)].into(),
        2 | 3 => cluster.agreed_leader(&(0..count).collect::<Vec<_>>()).into_iter().collect(),
        _ => [pick(random, count)].into(),
    };
    // With some away nobody is agreed on, and another one may be away already.
    let victims = if victims.is_empty() { [pick(random, count)].into() } else { victims };
    for node in &victims {
        cluster.node_mut(*node).start_if_away()?;
    }
    toll.leaders += u32::from(victims.iter().any(|node| leads(cluster, *node)));
    for node in &victims {
        cluster.node_mut(*node).daemon().kill()?;
        toll.daemons += 1;
    }
    toll.kills += 1;
    toll.kills_of_all += u32::from(victims.len() == count);
    // One in three stays away until somebody needs it.
    if random.below(3) > 0 {
        pause(Duration::from_millis(random.below(AWAY_MS_MAX)));
        victims.iter().try_for_each(|node| cluster.node_mut(*node).start_if_away())?;
    }
    Ok(())
}

fn leads(cluster: &Cluster, node: usize) -> bool {
    let node = cluster.node(node);
    node.view().is_ok_and(|view| view["leader"] == node.name())
}

/// A number from 1 to `most`.
fn at_most(random: &mut Random, most: u64) -> u32 {
    u32::try_from(random.below(most) + 1).unwrap_or(1)
}

fn pick(random: &mut Random, count: usize) -> usize {
    usize::try_from(random.below(u64::try_from(count).unwrap_or(1))).unwrap_or_default()
}

/// All members show the same deployments, once they have applied the same.
fn equal(cluster: &Cluster) -> Result<()> {
    let show = |node: &Node| node.api().get("/v1/deployments");
    until("members that show the same", EQUAL_LIMIT, || {
        let shown = cluster.nodes().iter().map(show).collect::<Result<Vec<_>>>()?;
        Ok(shown.iter().all(|one| *one == shown[0]).then_some(()))
    })
}

/// Ids and start times of the deployment that nobody changes.
fn started(cluster: &Cluster) -> Result<Vec<(usize, Container, Value)>> {
    let containers = cluster.containers(STEADY)?;
    ensure!(containers.len() == cluster.nodes().len(), "steady: {containers:#?}");
    let with_start = |(node, one): (usize, Container)| {
        let start = cluster.node(node).engine().inspect(&one.id)?["State"]["StartedAt"].clone();
        Ok((node, one, start))
    };
    containers.into_iter().map(with_start).collect()
}
