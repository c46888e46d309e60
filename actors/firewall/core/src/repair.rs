//! Repairs, and how often they are reported.

use crate::effect::Report;
use crate::ruleset::{Chain, Ruleset};
use crate::text::element_text;
use jaco_kit_core::Mono;
use std::time::Duration;

/// Differences that a summary names.
const NAMED: usize = 4;

/// What somebody else did to the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Damage {
    /// When it was noticed.
    pub(crate) since: Mono,
    /// What differed.
    pub(crate) difference: String,
    /// Who did it.
    pub(crate) by: Option<String>,
}

/// Repairs that nobody was told of yet.
#[derive(Debug, Default)]
pub(crate) struct Repairs {
    count: u32,
    last: Option<(Damage, Duration)>,
    told: Option<Mono>,
}

impl Repairs {
    /// The table is right again.
    pub(crate) fn done(&mut self, now: Mono, damage: Damage) {
        let took = now.since(damage.since);
        self.count = self.count.saturating_add(1);
        self.last = Some((damage, took));
    }

    /// When the next report is due.
    pub(crate) fn due(&self, every: Duration) -> Option<Mono> {
        self.last.as_ref()?;
        Some(self.told.map_or(Mono(0), |told| told.plus(every)))
    }

    /// The report, if it is due.
    pub(crate) fn report(&mut self, now: Mono, every: Duration) -> Option<Report> {
        if self.due(every)? > now {
            return None;
        }
        let (damage, took) = self.last.take()?;
        let count = std::mem::take(&mut self.count);
        self.told = Some(now);
        let Damage { difference, by, .. } = damage;
        Some(Report::Reconciled { difference, by, took, count })
    }
}

/// What is different, in few words.
pub(crate) fn difference(wanted: &Ruleset, found: Option<&Ruleset>) -> String {
    let Some(found) = found else { return "the table is gone".to_owned() };
    let mut all = Vec::new();
    for (name, chain) in &wanted.chains {
        match found.chains.get(name) {
            None => all.push(format!("chain {name} is gone")),
            Some(other) => compare_chains(name, chain, other, &mut all),
        }
    }
    let strange = found.chains.keys().filter(|name| !wanted.chains.contains_key(*name));
    all.extend(strange.map(|name| format!("chain {name} is not ours")));
    for (name, set) in &wanted.sets {
        let Some(other) = found.sets.get(name) else {
            all.push(format!("set {name} is gone"));
            continue;
        };
        if set.fields != other.fields {
            all.push(format!("set {name} has other fields"));
        }
        let lost = set.elements.difference(&other.elements);
        all.extend(lost.map(|e| format!("set {name} lacks {}", element_text(set, e))));
        let extra = other.elements.difference(&set.elements);
        all.extend(extra.map(|e| format!("set {name} also has {}", element_text(set, e))));
    }
    let strange = found.sets.keys().filter(|name| !wanted.sets.contains_key(*name));
    all.extend(strange.map(|name| format!("set {name} is not ours")));
    if wanted.counters != found.counters {
        all.push("other counters".to_owned());
    }
    all.extend(found.foreign.iter().cloned());
    let more = all.len().saturating_sub(NAMED);
    all.truncate(NAMED);
    let named = all.join("; ");
    if more > 0 { format!("{named}; and {more} more") } else { named }
}

fn compare_chains(name: &str, wanted: &Chain, found: &Chain, all: &mut Vec<String>) {
    if (wanted.kind, wanted.hook, wanted.priority) != (found.kind, found.hook, found.priority) {
        all.push(format!("chain {name} hangs at {found} instead of {wanted}"));
    }
    let lost = wanted.rules.iter().filter(|rule| !found.rules.contains(rule));
    all.extend(lost.map(|rule| format!("chain {name} lacks: {rule}")));
    let extra = found.rules.iter().filter(|rule| !wanted.rules.contains(rule));
    all.extend(extra.map(|rule| format!("chain {name} also has: {rule}")));
    let is_same_set = all.is_empty() && wanted.rules != found.rules;
    if is_same_set {
        all.push(format!("chain {name} has its rules in another order"));
    }
}
