//! kill -9 of the daemon at random moments; `cargo xtask soak` runs the same for longer.

use std::env;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use jaco_it::{Bounds, siege, storm, with_cluster, with_node};

/// Kills of the bounded tests.
const KILLS: u32 = 40;
const KILLS_IN_CLUSTER: u32 = 6;

/// A number from the environment, which `cargo xtask soak` sets.
fn number(name: &str) -> Result<Option<u64>> {
    let text = env::var(name).ok();
    text.map(|text| text.parse().with_context(|| format!("{name}={text}"))).transpose()
}

/// What the environment says, and otherwise so many kills from a fresh seed.
fn bounds(kills: u32) -> Result<Bounds> {
    let fresh = SystemTime::UNIX_EPOCH.elapsed()?.as_millis();
    let seed = number("JACO_SOAK_SEED")?.unwrap_or(u64::try_from(fresh)?);
    let kills = number("JACO_SOAK_KILLS")?.map(u32::try_from).transpose()?.unwrap_or(kills);
    let minutes = number("JACO_SOAK_MINUTES")?.unwrap_or(60);
    Ok(Bounds { kills, length: Duration::from_secs(60 * minutes), seed })
}

#[test]
fn kills_lose_and_duplicate_nothing() -> Result<()> {
    let bounds = bounds(KILLS)?;
    eprintln!("seed {}", bounds.seed);
    with_node("storm", |cluster| {
        let summary = storm(cluster, bounds)?;
        println!("{:#}", summary.json());
        Ok(())
    })
}

#[test]
fn kills_of_members_lose_and_double_no_write() -> Result<()> {
    let bounds = bounds(KILLS_IN_CLUSTER)?;
    eprintln!("seed {}", bounds.seed);
    with_cluster("siege", 3, 3, |cluster| {
        let toll = siege(cluster, bounds, |_| {})?;
        println!("{:#}", toll.json());
        Ok(())
    })
}
