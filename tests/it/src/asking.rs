//! Containers that ask for names all the time, and what they were told when.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::Ipv4Addr;
use std::process::{Child, Stdio};

use anyhow::{Context, Result};
use tempfile::NamedTempFile;

use crate::cluster::Cluster;
use crate::ground::{Ground, Spot};

/// Period of each question, in milliseconds.
const EVERY_MS: &str = "50";

/// Names that one container asks for.
#[derive(Debug)]
pub struct Asking {
    /// The replica that asks.
    pub replica: String,
    child: Child,
    told: NamedTempFile,
}

/// From when on a name was answered so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Milliseconds since 1970.
    pub since: u64,
    /// The name.
    pub name: String,
    /// The code of RFC 1035; `None` for silence.
    pub code: Option<u8>,
    /// The addresses.
    pub addresses: BTreeSet<Ipv4Addr>,
}

impl Asking {
    /// A container begins to ask its gateway.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(c: &Cluster, ground: &Ground, from: &Spot, names: &[String]) -> Result<Asking> {
        let bridge = ground.bridges.iter().find(|bridge| bridge.holds(from));
        let server = format!("{}:53", bridge.context("no gateway")?.gateway);
        let names = names.iter().map(String::as_str);
        let args: Vec<&str> = ["watch", "names", &server].into_iter().chain(names).collect();
        let told = NamedTempFile::new()?;
        let mut command = from.beside(c, &args);
        command.env("PROBE_EVERY_MS", EVERY_MS).stdin(Stdio::null()).stdout(told.reopen()?);
        let child = command.spawn().context("a container that asks")?;
        Ok(Asking { replica: from.replica.clone(), child, told })
    }

    /// All that was told, a line for each change.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn answers(&self) -> Result<Vec<Answer>> {
        let text = fs::read_to_string(self.told.path())?;
        Ok(text.lines().filter_map(answer).collect())
    }

    /// What was told last of each name.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn last(&self) -> Result<BTreeMap<String, Answer>> {
        Ok(self.answers()?.into_iter().map(|answer| (answer.name.clone(), answer)).collect())
    }

    /// Until when a name was answered with an address of these, of those answers that were given
    /// after `since`; `now` if it still is.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn told_until(&self, of: &BTreeSet<Ipv4Addr>, since: u64, now: u64) -> Result<Option<u64>> {
        let mut open: BTreeSet<String> = BTreeSet::new();
        let mut until = None;
        for answer in self.answers()? {
            if open.remove(&answer.name) && answer.since > since {
                until = until.max(Some(answer.since));
            }
            if !answer.addresses.is_disjoint(of) {
                open.insert(answer.name);
            }
        }
        Ok(if open.is_empty() { until } else { Some(now) })
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        // It asks for ever; nobody is left to tell when it cannot be ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads `<ms> <name> silence` and `<ms> <name> <code> <address>...`.
fn answer(line: &str) -> Option<Answer> {
    let mut words = line.split_whitespace();
    let (since, name) = (words.next()?.parse().ok()?, words.next()?.to_owned());
    let code = words.next()?.parse().ok();
    let addresses = words.filter_map(|word| word.parse().ok()).collect();
    Some(Answer { since, name, code, addresses })
}
