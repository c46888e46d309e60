//! Which addresses were in use, as far as the present core was told: none is given out twice, or
//! again within a minute.

use crate::engine::FakeEngine;
use jaco_runtime_core::ContainerPlan;
use std::collections::{BTreeMap, BTreeSet};

/// How long an address rests, in milliseconds.
const REST: u64 = 60_000;

/// Addresses of containers that the present core knows or knew.
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// By container.
    held: BTreeMap<String, BTreeSet<String>>,
    /// When a container that had it was missed first.
    left: BTreeMap<String, u64>,
}

impl Record {
    /// Looks which containers are there.
    pub(crate) fn update(&mut self, now: u64, engine: &FakeEngine, told: &BTreeSet<String>) {
        for id in told {
            if let Some(container) = engine.containers.get(id) {
                let addresses = container.facts.fixed_addresses.values().cloned().collect();
                self.held.insert(id.clone(), addresses);
            }
        }
        let gone = |id: &&String| !engine.containers.contains_key(*id);
        let gone: Vec<String> = self.held.keys().filter(gone).cloned().collect();
        for id in gone {
            let addresses = self.held.remove(&id).unwrap_or_default();
            self.left.extend(addresses.into_iter().map(|address| (address, now)));
        }
    }

    /// What must hold for the addresses of a container that is to be made.
    pub(crate) fn judge_addresses<'a>(
        &self,
        now: u64,
        engine: &FakeEngine,
        plan: &ContainerPlan,
        others: impl Iterator<Item = &'a ContainerPlan>,
    ) {
        let addresses = |plan: &ContainerPlan| {
            let chosen = plan.endpoints.iter().filter_map(|endpoint| endpoint.address);
            chosen.map(|address| address.to_string()).collect::<BTreeSet<String>>()
        };
        let mine = addresses(plan);
        for other in others.filter(|other| other.instance != plan.instance) {
            let both = addresses(other);
            assert!(mine.is_disjoint(&both), "{} and {}", plan.instance, other.instance);
        }
        for (id, theirs) in &self.held {
            let owner = &engine.containers[id].facts.instance;
            let other = owner.as_ref() != Some(&plan.instance);
            assert!(!other || mine.is_disjoint(theirs), "{} and {id}: {mine:?}", plan.instance);
        }
        for address in mine {
            let left = self.left.get(&address);
            assert!(left.is_none_or(|at| *at + REST <= now), "{address} has not rested: {left:?}");
        }
    }
}
