//! `jaco-sim`: seeds on the command line, as `cargo xtask sim` calls it.

#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool's output is its product"
)]

use argh::FromArgs;
use jaco_sim::{Bug, Detail, Outcome, Sweep, replay, run, sweep};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Duration;

/// Run clusters under virtual time with faults, and check that every promise holds.
#[derive(Debug, FromArgs)]
struct Args {
    /// how many seeds (default 1000)
    #[argh(option, default = "1000")]
    seeds: u64,
    /// the first seed (default 1)
    #[argh(option, default = "1")]
    first: u64,
    /// only this one
    #[argh(option)]
    seed: Option<u64>,
    /// a mistake put in on purpose; needs the feature seeded-bugs
    #[argh(option)]
    bug: Option<String>,
    /// print everything that happens
    #[argh(switch)]
    trace: bool,
    /// run each seed twice and compare
    #[argh(switch)]
    twice: bool,
    /// go on after a failure
    #[argh(switch)]
    keep_going: bool,
}

fn main() -> ExitCode {
    let args: Args = argh::from_env();
    let bug = match args.bug.as_deref().map(|name| (name, Bug::from_name(name))) {
        Some((name, None)) => {
            let known: Vec<&str> = Bug::all().map(Bug::name).collect();
            eprintln!("error: no bug is called {name}; known here: {}", known.join(", "));
            return ExitCode::FAILURE;
        }
        Some((_, bug)) => bug,
        None => None,
    };
    match args.seed {
        Some(seed) => one(seed, bug, args.trace),
        None => many(&args, bug),
    }
}

fn one(seed: u64, bug: Option<Bug>, trace: bool) -> ExitCode {
    let outcome = run(seed, bug, if trace { Detail::All } else { Detail::Tail });
    match &outcome.failure {
        Some(failure) => {
            if !trace {
                println!("{}", failure.lines.join("\n"));
            }
            println!("seed {seed}: {}", failure.what);
            ExitCode::FAILURE
        }
        None => {
            println!(
                "seed {seed}: well after {} ms, {} events, {} entries, {} operations, hash {:x}",
                outcome.length_ms,
                outcome.events,
                outcome.entries,
                outcome.operations,
                outcome.hash
            );
            ExitCode::SUCCESS
        }
    }
}

/// Sums over all seeds so far.
#[derive(Debug, Default)]
struct Sums {
    seeds: u64,
    events: u64,
    entries: u64,
    operations: u64,
    virtual_ms: u64,
    stranded: u64,
    shown: Duration,
}

fn many(args: &Args, bug: Option<Bug>) -> ExitCode {
    let watch = Watch::start();
    let sums = Mutex::new(Sums::default());
    let each = |outcome: &Outcome| {
        let Ok(mut sums) = sums.lock() else { return };
        sums.seeds += 1;
        sums.events += outcome.events;
        sums.entries += outcome.entries;
        sums.operations += outcome.operations;
        sums.virtual_ms += outcome.length_ms;
        sums.stranded += outcome.stranded;
        if let Some(failure) = &outcome.failure {
            println!("seed {}: {}", outcome.seed, failure.what);
        }
        if watch.passed() >= sums.shown + Duration::from_secs(5) {
            sums.shown = watch.passed();
            println!("{} seeds, {:.1} a second", sums.seeds, rate(&sums, watch.passed()));
        }
    };
    let of = Sweep {
        first: args.first,
        seeds: args.seeds,
        bug,
        twice: args.twice,
        keep_going: args.keep_going,
    };
    let failures = sweep(of, each);
    if let Some(first) = failures.first() {
        println!("\n{}", replay(first.seed, bug));
    }
    let Ok(sums) = sums.lock() else { return ExitCode::FAILURE };
    println!(
        "{} seeds, {} failed; {} events, {} entries, {} operations in {} virtual hours; {} members stranded; {:.0} s, {:.1} seeds a second",
        sums.seeds,
        failures.len(),
        sums.events,
        sums.entries,
        sums.operations,
        sums.virtual_ms / 3_600_000,
        sums.stranded,
        watch.passed().as_secs_f64(),
        rate(&sums, watch.passed())
    );
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn rate(sums: &Sums, passed: Duration) -> f64 {
    sums.seeds as f64 / passed.as_secs_f64().max(0.001)
}

/// Real time, for the progress line alone.
struct Watch(std::time::Instant);

impl Watch {
    #[expect(clippy::disallowed_methods, reason = "how fast the simulator is, not what it does")]
    fn start() -> Watch {
        Watch(std::time::Instant::now())
    }

    fn passed(&self) -> Duration {
        self.0.elapsed()
    }
}
