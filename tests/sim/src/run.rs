//! One seed from begin to end.

use crate::admin::Admin;
use crate::ask::Asks;
use crate::authority::Authority;
use crate::bug::Bug;
use crate::check::Ledger;
use crate::client::Clients;
use crate::found;
use crate::phase::Phase;
use crate::plan::{Plan, Weather};
use crate::queue::Queue;
use crate::random::Random;
use crate::trace::{Detail, Trace};
use crate::world::World;
use jaco_model::ClusterId;
use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

/// How one seed ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Which one.
    pub seed: u64,
    /// Hash of everything that happened: equal for two runs of one seed.
    pub hash: u64,
    /// How much happened.
    pub events: u64,
    /// Virtual time in milliseconds.
    pub length_ms: u64,
    /// Entries in the log at the end.
    pub entries: u64,
    /// Operations of clients whose outcome is known.
    pub operations: u64,
    /// Members that had to join again because they were away while all others got new raft ids.
    pub stranded: u64,
    /// What went wrong.
    pub failure: Option<Failure>,
}

/// A broken promise.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Which one and how.
    pub what: String,
    /// The last lines of the trace, if they were kept.
    pub lines: Vec<String>,
}

thread_local! {
    /// What the last panic of this thread said.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs one seed.
pub fn run(seed: u64, bug: Option<Bug>, detail: Detail) -> Outcome {
    keep_panics_quiet();
    seed_state_bug(bug);
    let mut world = match world(seed, bug, detail) {
        Ok(world) => world,
        Err(what) => return failed(seed, what),
    };
    let ended = catch_unwind(AssertUnwindSafe(|| world.run()));
    if let Err(panic) = ended {
        let told = PANIC.with(|told| told.borrow_mut().take());
        let what = told.unwrap_or_else(|| words(panic.as_ref()));
        world.violate(format!("panic: {what}"));
    }
    let World { trace, violation, now, ledger, clients, stranded, .. } = world;
    let (hash, events) = (trace.hash(), trace.count());
    let lines = trace.into_lines();
    Outcome {
        seed,
        hash,
        events,
        length_ms: now / 1_000,
        entries: ledger.newest.applied_index,
        operations: clients.history.len() as u64,
        stranded,
        failure: violation.map(|what| Failure { what, lines }),
    }
}

/// Runs one seed twice and demands that both runs are the same.
pub fn run_twice(seed: u64, bug: Option<Bug>) -> Outcome {
    let (first, second) = (run(seed, bug, Detail::Hash), run(seed, bug, Detail::Hash));
    if first.hash == second.hash || first.failure.is_some() {
        return first;
    }
    let what = format!("two runs differ: {:x} and {:x}", first.hash, second.hash);
    Outcome { failure: Some(Failure { what, lines: Vec::new() }), ..first }
}

fn failed(seed: u64, what: String) -> Outcome {
    let failure = Some(Failure { what, lines: Vec::new() });
    Outcome {
        seed,
        hash: 0,
        events: 0,
        length_ms: 0,
        entries: 0,
        operations: 0,
        stranded: 0,
        failure,
    }
}

fn world(seed: u64, bug: Option<Bug>, detail: Detail) -> Result<World, String> {
    let mut random = Random::new(seed);
    let plan = Plan::draw(&mut random.fork(), bug);
    let mut world = World {
        now: 0,
        queue: Queue::new(),
        hosts: found::hosts(&plan, &mut random),
        trace: Trace::new(detail),
        cluster: ClusterId::from("00112233-4455-4677-8899-aabbccddeeff"),
        weather: Weather::fair(),
        cuts: BTreeSet::new(),
        ledger: Ledger::default(),
        asks: Asks::default(),
        clients: Clients::new(random.fork()),
        admin: Admin::default(),
        authority: Authority::default(),
        phase: Phase::Setup,
        chaos_ends: 0,
        stable_since: 0,
        last_members: Vec::new(),
        stranded: 0,
        violation: None,
        random,
        plan,
    };
    world.trace.note(0, &[seed], || format!("{:?}", world.plan));
    world.found()?;
    world.begin();
    Ok(world)
}

#[cfg(feature = "seeded-bugs")]
fn seed_state_bug(bug: Option<Bug>) {
    jaco_state::seed_bug(match bug {
        Some(Bug::TokenTwice) => Some(jaco_state::SeededBug::TokenTwice),
        Some(Bug::ForgetfulApply) => Some(jaco_state::SeededBug::ForgetfulApply),
        _ => None,
    });
}

#[cfg(not(feature = "seeded-bugs"))]
fn seed_state_bug(_: Option<Bug>) {}

/// A panic is a finding like any other; what it says is kept for the report.
fn keep_panics_quiet() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let is_ours = info.location().is_some_and(|at| !at.file().contains("/tests/"));
            PANIC.with(|told| *told.borrow_mut() = Some(info.to_string()));
            if !is_ours {
                usual(info);
            }
        }));
    });
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no words").to_owned()
}
