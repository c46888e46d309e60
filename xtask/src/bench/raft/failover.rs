//! How long nobody can write after the leader was killed.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use jaco_lab::until;

use crate::bench::measure::{rest, stopwatch};

/// Longest time without a leader that is waited for.
const LIMIT: Duration = Duration::from_secs(60);

/// Pause after a refused write.
const PAUSE: Duration = Duration::from_millis(5);

/// Longest time until a killed member is back and all is well.
const RETURN_LIMIT: Duration = Duration::from_secs(120);

/// Pause between two looks at a cluster that recovers.
const LOOK: Duration = Duration::from_millis(100);

/// A cluster whose leader can be killed; members are counted from 0.
pub(super) trait Cluster: Sync {
    /// Number of members.
    fn size(&self) -> usize;
    /// Which member leads, and all members are there and healthy; `None` until it is so.
    fn healthy_leader(&self) -> Option<usize>;
    /// Kills a member's daemon with SIGKILL.
    fn kill(&mut self, member: usize) -> Result<()>;
    /// Tries to make one durable change at a member.
    fn write(&self, member: usize) -> Result<()>;
    /// Starts a killed member again.
    fn restore(&mut self, member: usize) -> Result<()>;
}

/// Kills the leader so many times; how long it took each time until another member accepted a
/// write. The cluster is whole again before each kill.
///
/// # Errors
/// When a cluster does not recover in time.
pub(super) fn failovers(cluster: &mut impl Cluster, times: u32) -> Result<Vec<Duration>> {
    let mut lost = Vec::new();
    for time in 1..=times {
        let took = failover(cluster).with_context(|| format!("loss {time} of {times}"))?;
        eprintln!("loss {time} of {times}: {:.3} s", took.as_secs_f64());
        lost.push(took);
    }
    Ok(lost)
}

fn failover(cluster: &mut impl Cluster) -> Result<Duration> {
    let leader = until("a healthy cluster", RETURN_LIMIT, || {
        let leader = cluster.healthy_leader();
        if leader.is_none() {
            rest(LOOK);
        }
        Ok(leader)
    })?;
    let survivors: Vec<usize> = (0..cluster.size()).filter(|member| *member != leader).collect();
    ensure!(!survivors.is_empty(), "a cluster of one");
    // Connections and caches of the survivors are warm.
    survivors.iter().try_for_each(|member| cluster.write(*member))?;
    let since = stopwatch();
    cluster.kill(leader)?;
    let first = first_write(cluster, &survivors, &since);
    cluster.restore(leader)?;
    first
}

/// Asks all survivors at once, and again after each refusal, until the first accepts.
fn first_write(
    cluster: &impl Cluster,
    survivors: &[usize],
    since: &(impl Fn() -> Duration + Sync),
) -> Result<Duration> {
    let (first, last_error) = (Mutex::new(None), Mutex::new(None));
    let done = AtomicBool::new(false);
    let ask = |member: usize| {
        while !done.load(Ordering::Relaxed) && since() < LIMIT {
            match cluster.write(member) {
                Ok(()) => {
                    done.store(true, Ordering::Relaxed);
                    let now = since();
                    if let Ok(mut first) = first.lock() {
                        *first = Some(first.map_or(now, |earlier: Duration| earlier.min(now)));
                    }
                }
                Err(error) => {
                    if let Ok(mut last) = last_error.lock() {
                        *last = Some(error);
                    }
                    rest(PAUSE);
                }
            }
        }
    };
    thread::scope(|scope| survivors.iter().for_each(|one| drop(scope.spawn(|| ask(*one)))));
    let first = first.into_inner().map_err(|_| anyhow!("a client panicked"))?;
    first.with_context(|| {
        let last = last_error.into_inner().ok().flatten();
        format!("no write within {} s: {last:?}", LIMIT.as_secs())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    /// Three members; after a kill the first `refusals` writes fail.
    #[derive(Default)]
    struct Fake {
        killed: Vec<usize>,
        restored: usize,
        refuse: AtomicUsize,
    }

    impl Cluster for Fake {
        fn size(&self) -> usize {
            3
        }
        fn healthy_leader(&self) -> Option<usize> {
            (self.killed.len() == self.restored).then_some(self.restored % 3)
        }
        fn kill(&mut self, member: usize) -> Result<()> {
            self.killed.push(member);
            self.refuse.store(3, Ordering::SeqCst);
            Ok(())
        }
        fn write(&self, member: usize) -> Result<()> {
            ensure!(self.healthy_leader() != Some(member) || self.killed.len() == self.restored);
            let left = self.refuse.load(Ordering::SeqCst);
            self.refuse.store(left.saturating_sub(1), Ordering::SeqCst);
            ensure!(left == 0, "no leader");
            Ok(())
        }
        fn restore(&mut self, _member: usize) -> Result<()> {
            self.restored += 1;
            Ok(())
        }
    }

    #[test]
    fn each_time_the_leader_is_killed_and_comes_back() {
        let mut fake = Fake::default();
        let lost = failovers(&mut fake, 4).unwrap();
        assert_eq!(lost.len(), 4);
        assert!(lost.iter().all(|lost| *lost >= PAUSE), "{lost:?}");
        assert_eq!(fake.killed, [0, 1, 2, 0]);
    }
}
