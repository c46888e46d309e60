//! kill -9 of the daemon at random moments; `cargo xtask soak` runs the same for longer.

use std::env;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use jaco_it::{Bounds, storm, with_node};

/// Kills of the bounded test.
const KILLS: u32 = 40;

/// A number from the environment, which `cargo xtask soak` sets.
fn number(name: &str) -> Result<Option<u64>> {
    let text = env::var(name).ok();
    text.map(|text| text.parse().with_context(|| format!("{name}={text}"))).transpose()
}

#[test]
fn kills_lose_and_duplicate_nothing() -> Result<()> {
    let fresh = SystemTime::UNIX_EPOCH.elapsed()?.as_millis();
    let seed = number("JACO_SOAK_SEED")?.unwrap_or(u64::try_from(fresh)?);
    let kills = number("JACO_SOAK_KILLS")?.map(u32::try_from).transpose()?.unwrap_or(KILLS);
    let minutes = number("JACO_SOAK_MINUTES")?.unwrap_or(60);
    eprintln!("seed {seed}");
    let bounds = Bounds { kills, length: Duration::from_secs(60 * minutes), seed };
    with_node("storm", |cluster| {
        let summary = storm(cluster, bounds)?;
        println!("{:#}", summary.json());
        Ok(())
    })
}
