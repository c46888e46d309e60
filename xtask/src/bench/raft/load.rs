//! Closed-loop load: so many clients, each of which writes again as soon as it was answered.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};

use crate::bench::measure::{percentile, rest, timed};

/// Time before anything counts: connections are made, caches filled.
const WARM_UP: Duration = Duration::from_secs(1);

/// Somebody who writes to a cluster over a connection of his own.
pub(super) trait Writer: Send {
    /// Makes one durable change; returns when it was acknowledged.
    fn write(&mut self) -> Result<()>;
}

/// How long each acknowledged write took, and in which time all of them were made.
#[derive(Debug, Clone, Default)]
pub(super) struct Samples {
    took: Vec<Duration>,
    length: Duration,
}

impl Samples {
    /// Acknowledged writes per second.
    pub(super) fn rate(&self) -> f64 {
        self.took.len() as f64 / self.length.as_secs_f64()
    }

    /// The time within which `part` (0 to 1) of the writes were acknowledged.
    pub(super) fn percentile(&mut self, part: f64) -> Duration {
        percentile(&mut self.took, part)
    }

    /// Adds those of another run.
    pub(super) fn add(&mut self, other: Samples) {
        self.took.extend(other.took);
        self.length += other.length;
    }
}

/// Lets the writers write for `length` after a warm-up.
///
/// # Errors
/// The first write that fails: a load on a healthy cluster has none.
pub(super) fn load(writers: Vec<Box<dyn Writer>>, length: Duration) -> Result<Samples> {
    let (counts, done) = (AtomicBool::new(false), AtomicBool::new(false));
    let took = thread::scope(|scope| {
        let workers: Vec<_> = writers
            .into_iter()
            .map(|writer| scope.spawn(|| work(writer, &counts, &done)))
            .collect();
        rest(WARM_UP);
        counts.store(true, Ordering::Relaxed);
        rest(length);
        done.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for worker in workers {
            all.extend(worker.join().map_err(|_| anyhow!("a client panicked"))??);
        }
        Ok::<_, anyhow::Error>(all)
    })?;
    ensure!(!took.is_empty(), "no write was acknowledged");
    Ok(Samples { took, length })
}

fn work(
    mut writer: Box<dyn Writer>,
    counts: &AtomicBool,
    done: &AtomicBool,
) -> Result<Vec<Duration>> {
    let mut samples = Vec::new();
    while !done.load(Ordering::Relaxed) {
        let is_counted = counts.load(Ordering::Relaxed);
        let (took, ()) = timed(|| writer.write())?;
        if is_counted {
            samples.push(took);
        }
    }
    Ok(samples)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fails;

    impl Writer for Fails {
        fn write(&mut self) -> Result<()> {
            Err(anyhow!("refused"))
        }
    }

    #[test]
    fn a_write_that_fails_fails_the_load() {
        let error = load(vec![Box::new(Fails)], Duration::ZERO).unwrap_err();
        assert_eq!(error.to_string(), "refused");
    }

    #[test]
    fn runs_add_up() {
        let second = Duration::from_secs(1);
        let mut all = Samples { took: vec![second; 3], length: second };
        all.add(Samples { took: vec![second], length: second });
        assert!((all.rate() - 2.0).abs() < 1e-9);
        assert_eq!(all.percentile(0.5), second);
    }
}
