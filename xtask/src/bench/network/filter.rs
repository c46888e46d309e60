//! The packet filter: time of a change, and cost of a packet, by the number of scopes.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use jaco_firewall::{Driver, DriverHandle, remove_table};
use jaco_firewall_core::{Change, Effect, Input, Policy, Ruleset, Written, diff, ruleset};
use jaco_kit_core::OpId;

use super::flows::{Kind, Path};
use super::median;
use super::policy::scopes;
use crate::bench::measure::{ms, percentile, timed};
use crate::bench::space::Space;
use crate::bench::{Figure, Goal, Sink};

/// The most scopes that are measured.
const MANY: u32 = 2_000;
/// Numbers of scopes that packets are sent under.
const COUNTS: [u32; 3] = [1, 100, MANY];
/// Costs of packets are flat when they grow by no more than this: the noise of such a machine.
const FLAT: f64 = 1.1;
/// Changes of one scope each.
const CHANGES: u32 = 50;
/// Longest answer of the kernel.
const PATIENCE: Duration = Duration::from_secs(30);

/// Measures both.
pub(super) fn measure(rounds: u32, sink: &mut Sink) -> Result<()> {
    installs(sink)?;
    packets(rounds, sink)
}

/// A driver and its answers, without the core, which would wait for more changes before it writes.
struct Filter {
    driver: DriverHandle,
    answers: Receiver<Input>,
}

impl Filter {
    /// For the namespace of this thread.
    fn new() -> Result<Filter> {
        let (tell, answers) = channel();
        let driver = Driver::spawn(move |input| drop(tell.send(input)))?;
        Ok(Filter { driver, answers })
    }

    fn write(&self, ruleset: &Arc<Ruleset>) -> Result<Written> {
        self.answer(Effect::Write { op: OpId(1), ruleset: ruleset.clone() })
    }

    fn answer(&self, effect: Effect) -> Result<Written> {
        self.driver.run(effect);
        loop {
            match self.answers.recv_timeout(PATIENCE)? {
                Input::Written { result, .. } => return result.map_err(|f| anyhow!("{f:?}")),
                Input::Drifted { .. } => {}
                other => bail!("unexpected: {other:?}"),
            }
        }
    }

    /// From the policy to the acknowledgement of the kernel.
    fn change(&self, from: &Ruleset, to: &Policy, at: Written) -> Result<(Ruleset, Written)> {
        let wanted = ruleset(to);
        let Change::Elements(delta) = diff(from, &wanted) else {
            bail!("more than elements would change")
        };
        let change = Effect::WriteElements { op: OpId(2), delta, generation: at.generation };
        let written = self.answer(change)?;
        Ok((wanted, written))
    }
}

/// Times of writes among many scopes.
fn installs(sink: &mut Sink) -> Result<()> {
    let (mut changes, mut full) = Space::new()?.run(|| {
        let filter = Filter::new()?;
        let (few, more) = (scopes(MANY), scopes(MANY + 1));
        let mut full = Vec::new();
        for _ in 0..5 {
            full.push(timed(|| filter.write(&Arc::new(ruleset(&few))))?.0);
        }
        let mut installed = ruleset(&few);
        let mut at = filter.write(&Arc::new(installed.clone()))?;
        let mut changes = Vec::new();
        for number in 0..CHANGES {
            let wanted = if number % 2 == 0 { &more } else { &few };
            let (took, (now, written)) = timed(|| filter.change(&installed, wanted, at))?;
            (installed, at) = (now, written);
            changes.push(took);
        }
        Ok((changes, full))
    })?;
    let mut put = |name: &'static str, value: Duration, goal| {
        sink.put(&Figure { name: name.into(), value: ms(value), unit: "ms", peer: None, goal })
    };
    let change = "filter: one scope more or less among 2,000, policy to acknowledgement";
    put(change, percentile(&mut changes, 0.5), Goal::Most(20.0))?;
    put("filter: the same, slowest of 50", percentile(&mut changes, 1.0), Goal::None)?;
    let whole = "filter: the whole table with 2,000 scopes, policy to acknowledgement";
    put(whole, percentile(&mut full, 0.5), Goal::None)
}

/// What a packet costs under each number of scopes, and without a table.
#[derive(Default)]
struct Costs {
    bare: Vec<f64>,
    by_count: [Vec<f64>; COUNTS.len()],
}

/// Costs of packets, in turn without a table and with each number of scopes.
fn packets(rounds: u32, sink: &mut Sink) -> Result<()> {
    let path = Path::new()?;
    let tables = COUNTS.map(|count| Arc::new(ruleset(&scopes(count))));
    let mut costs = Kind::ALL.map(|_| Costs::default());
    for round in 0..=rounds {
        path.hub.run(|| Ok(remove_table()?))?;
        // The first round finds neighbours and warms caches.
        let counts = round > 0;
        for (kind, costs) in Kind::ALL.into_iter().zip(&mut costs) {
            let cost = path.cost(kind)?;
            costs.bare.extend(counts.then_some(cost));
        }
        for (at, table) in tables.iter().enumerate() {
            let table = table.clone();
            path.hub.run(move || Filter::new()?.write(&table))?;
            for (kind, costs) in Kind::ALL.into_iter().zip(&mut costs) {
                let cost = path.cost(kind)?;
                costs.by_count[at].extend(counts.then_some(cost));
            }
        }
    }
    for (kind, costs) in Kind::ALL.into_iter().zip(&mut costs) {
        tell(kind, costs, sink)?;
    }
    Ok(())
}

fn tell(kind: Kind, costs: &mut Costs, sink: &mut Sink) -> Result<()> {
    let bare = median(&mut costs.bare);
    let [one, ..] = &mut costs.by_count;
    let one = median(one);
    for (count, samples) in COUNTS.into_iter().zip(&mut costs.by_count) {
        let (peer, goal) = match count {
            1 => (("no table", bare), Goal::None),
            _ => (("1 scope", one), Goal::MostOfPeer(FLAT)),
        };
        let name = format!("filter: {}, scopes: {count}", kind.name()).into();
        let value = median(samples);
        sink.put(&Figure { name, value, unit: "ns", peer: Some(peer), goal })?;
    }
    Ok(())
}
