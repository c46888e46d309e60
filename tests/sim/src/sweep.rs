//! Many seeds on all processors, and what people are told about them.

use crate::bug::Bug;
use crate::run::{Outcome, run, run_twice};
use crate::trace::Detail;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// What to run.
#[derive(Clone, Copy, Debug)]
pub struct Sweep {
    /// The first seed.
    pub first: u64,
    /// How many.
    pub seeds: u64,
    /// A mistake put in on purpose.
    pub bug: Option<Bug>,
    /// Whether each seed runs twice, to see that both runs are the same.
    pub twice: bool,
    /// Whether to go on after a failure.
    pub keep_going: bool,
}

/// Runs them, tells `each` of every end in the order in which they come, and returns the failures
/// by seed.
pub fn sweep(of: Sweep, each: impl Fn(&Outcome) + Sync) -> Vec<Outcome> {
    let next = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let failures = Mutex::new(Vec::new());
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= of.seeds {
                        return;
                    }
                    let seed = of.first.wrapping_add(at);
                    let outcome = if of.twice {
                        run_twice(seed, of.bug)
                    } else {
                        run(seed, of.bug, Detail::Hash)
                    };
                    each(&outcome);
                    if outcome.failure.is_some() {
                        stop.store(!of.keep_going, Ordering::Relaxed);
                        failures.lock().unwrap_or_else(PoisonError::into_inner).push(outcome);
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    failures.sort_by_key(|outcome| outcome.seed);
    failures
}

/// Runs a failed seed again with its trace, and says how to do the same.
pub fn replay(seed: u64, bug: Option<Bug>) -> String {
    let outcome = run(seed, bug, Detail::Tail);
    let Some(failure) = outcome.failure else {
        return format!("seed {seed} does not fail when it is run again");
    };
    let with_bug = bug.map(|bug| format!(" --bug {}", bug.name())).unwrap_or_default();
    format!(
        "{}\n\nseed {seed} failed after {} ms and {} events: {}\nreplay: cargo xtask sim --seed {seed}{with_bug} --trace\n",
        failure.lines.join("\n"),
        outcome.length_ms,
        outcome.events,
        failure.what,
    )
}
