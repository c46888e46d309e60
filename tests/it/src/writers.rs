//! Users who write through any member all the time, and a book of what they were told.
//!
//! A write gives a deployment without replicas another mark, so each one that took effect is a
//! revision of its own: one that is lost is missing, one that took effect twice is there twice. A
//! write that fails is tried again at another member under the same key. A deployment takes fewer
//! writes than its history keeps.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use jaco_lab::{Engine, until};
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::http::{Answer, Call, call};
use crate::node::IMAGE;
use crate::pause::pause;
use crate::random::Random;

/// Writes to one deployment, fewer than the ten revisions that a history keeps.
const BATCH: u32 = 8;

/// How long a write is tried.
const TRY_FOR: Duration = Duration::from_secs(20);

/// Pause after a refusal, and after a write.
const PAUSE: Duration = Duration::from_millis(20);

/// Refusals of a member that cannot write now; any other is a breach.
const PASSING: [&str; 8] = [
    "no_leader",
    "quorum_lost",
    "node_unreachable",
    "too_many_requests",
    "cluster_uninitialized",
    "node_fenced",
    "storage_failed",
    // The daemon has not reached its engine yet.
    "docker_error",
];

/// What users have written and were told.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    batches: Vec<Batch>,
}

/// Writes to one deployment, in order.
#[derive(Debug, Clone)]
struct Batch {
    deployment: String,
    writes: Vec<Write>,
}

/// One write.
#[derive(Debug, Clone)]
struct Write {
    mark: String,
    /// The revision that was acknowledged; `None` when it is not known what came of it.
    revision: Option<u64>,
}

/// Lets so many users write through these daemons while `work` runs. Equal seeds give equal
/// choices.
///
/// # Errors
/// Those of `work`, or a refusal that no lost node explains.
pub fn while_written<T>(
    sockets: &[PathBuf],
    users: u64,
    seed: u64,
    work: impl FnOnce() -> Result<T>,
) -> Result<(Ledger, T)> {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let user = |user| User {
            sockets,
            name: format!("load-{seed:x}-{user}"),
            random: Random::new(seed.wrapping_mul(31).wrapping_add(user)),
        };
        let done = &done;
        let start = |n| {
            let user = user(n);
            scope.spawn(move || user.work(done))
        };
        let users: Vec<_> = (0..users).map(start).collect();
        let worked = work();
        done.store(true, Ordering::Relaxed);
        let mut ledger = Ledger::default();
        for user in users {
            ledger.batches.extend(user.join().map_err(|_| anyhow!("a user panicked"))??);
        }
        Ok((ledger, worked?))
    })
}

struct User<'a> {
    sockets: &'a [PathBuf],
    name: String,
    random: Random,
}

impl User<'_> {
    fn work(mut self, done: &AtomicBool) -> Result<Vec<Batch>> {
        let mut batches = Vec::new();
        for n in 0_u32.. {
            let mut batch = Batch { deployment: format!("{}-{n}", self.name), writes: Vec::new() };
            for mark in 0..BATCH {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                let mark = format!("mark-{mark}");
                let revision = self.write(&batch.deployment, &mark)?;
                batch.writes.push(Write { mark, revision });
                pause(PAUSE);
            }
            if batch.writes.is_empty() {
                break;
            }
            batches.push(batch);
        }
        Ok(batches)
    }

    /// One write, until some member accepts it; gives its revision.
    #[expect(clippy::disallowed_methods, reason = "users give up in real time")]
    fn write(&mut self, deployment: &str, mark: &str) -> Result<Option<u64>> {
        let web = json!({ "image": IMAGE, "pull_policy": "never", "scale": 0,
            "environment": { "MARK": mark } });
        // JSON is YAML.
        let compose = json!({ "name": deployment, "services": { "web": web } }).to_string();
        let documents = json!({ "name": deployment, "compose": compose });
        let body = json!({ "documents": documents, "resolve_image": "never" }).to_string();
        let halves = [self.random.below(u64::MAX), self.random.below(u64::MAX)].map(u128::from);
        let key = Some(halves[0] << 64 | halves[1]);
        let start = Instant::now();
        while start.elapsed() < TRY_FOR {
            let socket = self.socket();
            let request = Call { method: "POST", path: "/v1/deployments", key, body: &body };
            // A daemon that is away, or ends meanwhile, says nothing.
            if let Ok(answer) = call(socket, request) {
                match answer.status {
                    200 => {
                        let revision = answer.body["revision"].as_u64();
                        return revision.context("no revision").map(Some);
                    }
                    _ => may_pass(&answer).with_context(|| format!("{deployment} {mark}"))?,
                }
            }
            pause(PAUSE);
        }
        Ok(None)
    }

    fn socket(&mut self) -> &Path {
        let count = u64::try_from(self.sockets.len()).unwrap_or(u64::MAX);
        let index = usize::try_from(self.random.below(count)).unwrap_or_default();
        &self.sockets[index]
    }
}

/// A refusal may come of a lost node or a missing leader, and of nothing else.
fn may_pass(answer: &Answer) -> Result<()> {
    ensure!(PASSING.contains(&answer.code()), "{} {}", answer.status, answer.body);
    Ok(())
}

impl Ledger {
    /// Acknowledged writes.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        self.writes().filter(|write| write.revision.is_some()).count()
    }

    /// Writes of which it is not known what came of them.
    #[must_use]
    pub fn unknown(&self) -> usize {
        self.writes().filter(|write| write.revision.is_none()).count()
    }

    fn writes(&self) -> impl Iterator<Item = &Write> {
        self.batches.iter().flat_map(|batch| &batch.writes)
    }

    /// Checks that each acknowledged write is there exactly once and where it was said to be, and
    /// that no other is there twice; then removes what was written.
    ///
    /// # Errors
    /// The first breach.
    pub fn settle(&self, cluster: &Cluster, member: usize) -> Result<()> {
        let node = cluster.node(member);
        let api = node.api();
        // From here on this member shows everything that was acknowledged. The command line tries
        // again when a connection ends that was cut before.
        node.ok(&["status", "--consistent"])?;
        for batch in &self.batches {
            batch
                .check(&api)
                .with_context(|| format!("{} at {}", batch.deployment, node.name()))?;
        }
        self.batches.iter().try_for_each(|batch| batch.remove(&node.socket()))
    }
}

impl Batch {
    fn check(&self, api: &Engine) -> Result<()> {
        let path = format!("/v1/deployments/{}", self.deployment);
        let history = match api.get(&format!("{path}/history")) {
            Ok(history) => history,
            Err(error) if self.writes.iter().any(|write| write.revision.is_some()) => {
                return Err(error.context("acknowledged writes are lost"));
            }
            Err(_) => return Ok(()),
        };
        let rows = history.as_array().context("no history")?.iter();
        let mut found = Vec::new();
        for revision in rows.map(|row| row["revision"].as_u64().context("no revision")) {
            let revision = revision?;
            let stored = api.get(&format!("{path}?revision={revision}"))?;
            found.push((revision, mark_of(&stored)?));
        }
        self.compare(&found)
    }

    /// Deletes the deployment, which may not be there when no write was acknowledged.
    fn remove(&self, socket: &Path) -> Result<()> {
        let path = format!("/v1/deployments/{}", self.deployment);
        let request = Call { method: "DELETE", path: &path, key: None, body: "" };
        until("a deployment to be deleted", TRY_FOR, || {
            let answer = call(socket, request)?;
            if answer.status < 300 || answer.code() == "deployment_not_found" {
                return Ok(Some(()));
            }
            may_pass(&answer)?;
            pause(PAUSE);
            Ok(None)
        })
    }

    fn compare(&self, found: &[(u64, String)]) -> Result<()> {
        let marks: BTreeSet<&String> = found.iter().map(|(_, mark)| mark).collect();
        ensure!(marks.len() == found.len(), "a write took effect twice: {found:?}");
        let mut last = 0;
        for Write { mark, revision } in &self.writes {
            let Some(revision) = *revision else { continue };
            ensure!(revision > last, "revision {revision} was acknowledged after {last}");
            last = revision;
            let stored = found.iter().find(|(number, _)| *number == revision);
            match stored {
                Some((_, stored)) if stored == mark => {}
                other => {
                    bail!("{mark} should be revision {revision}, which is {other:?}: {found:?}")
                }
            }
        }
        let known = |mark: &String| self.writes.iter().any(|write| write.mark == *mark);
        ensure!(found.iter().all(|(_, mark)| known(mark)), "nobody wrote that: {found:?}");
        Ok(())
    }
}

/// The mark of a stored revision.
fn mark_of(stored: &Value) -> Result<String> {
    let compose = stored["compose_yaml"].as_str().context("no compose_yaml")?;
    let words = compose.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
    let mark = words.into_iter().find(|word| word.starts_with("mark-"));
    Ok(mark.with_context(|| format!("no mark in {compose}"))?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(revisions: &[Option<u64>]) -> Batch {
        let write = |(n, revision): (usize, &Option<u64>)| Write {
            mark: format!("mark-{n}"),
            revision: *revision,
        };
        let writes = revisions.iter().enumerate().map(write).collect();
        Batch { deployment: "a".into(), writes }
    }

    fn found(marks: &[(u64, u64)]) -> Vec<(u64, String)> {
        marks.iter().map(|(revision, n)| (*revision, format!("mark-{n}"))).collect()
    }

    #[test]
    fn lost_doubled_and_foreign_writes_are_seen() {
        let batch = batch(&[Some(1), None, Some(2)]);
        for right in [&[(1, 0), (2, 2)][..], &[(1, 0), (2, 2), (3, 1)]] {
            batch.compare(&found(right)).unwrap();
        }
        for wrong in
            [&[(1, 0)][..], &[(1, 2), (2, 0)], &[(1, 0), (2, 2), (3, 0)], &[(1, 0), (2, 2), (3, 7)]]
        {
            assert!(batch.compare(&found(wrong)).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn only_lost_nodes_excuse_a_refusal() {
        let answer =
            |code: &str| Answer { status: 503, body: json!({ "error": { "code": code } }) };
        assert!(may_pass(&answer("no_leader")).is_ok());
        assert!(may_pass(&answer("internal")).is_err());
        assert!(may_pass(&answer("request_id_conflict")).is_err());
    }

    #[test]
    fn a_mark_is_found_in_any_quoting() {
        for text in ["MARK: mark-3", "{\"MARK\":\"mark-3\"}", "MARK=mark-3\n"] {
            assert_eq!(mark_of(&json!({ "compose_yaml": text })).unwrap(), "mark-3");
        }
    }
}
