//! [`diff`]: what has to be written so that one ruleset becomes another.

use crate::ruleset::{Element, Ruleset};
use std::collections::{BTreeMap, BTreeSet};

/// What to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    Nothing,
    /// Elements of sets alone; rules and counters stay as they are.
    Elements(Delta),
    /// The whole table.
    Everything,
}

/// Elements that come and go, by set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    /// Elements to add.
    pub added: BTreeMap<String, BTreeSet<Element>>,
    /// Elements to delete.
    pub removed: BTreeMap<String, BTreeSet<Element>>,
}

/// The smallest change from one ruleset to another.
pub fn diff(installed: &Ruleset, wanted: &Ruleset) -> Change {
    if !has_same_structure(installed, wanted) {
        return Change::Everything;
    }
    let mut delta = Delta::default();
    for (name, wanted) in &wanted.sets {
        let Some(installed) = installed.sets.get(name) else { continue };
        let without = |a: &BTreeSet<Element>, b: &BTreeSet<Element>| -> BTreeSet<Element> {
            a.difference(b).cloned().collect()
        };
        let added = without(&wanted.elements, &installed.elements);
        let removed = without(&installed.elements, &wanted.elements);
        if !added.is_empty() {
            delta.added.insert(name.clone(), added);
        }
        if !removed.is_empty() {
            delta.removed.insert(name.clone(), removed);
        }
    }
    if delta.is_empty() { Change::Nothing } else { Change::Elements(delta) }
}

fn has_same_structure(a: &Ruleset, b: &Ruleset) -> bool {
    a.chains == b.chains
        && a.counters == b.counters
        && a.foreign == b.foreign
        && a.sets.len() == b.sets.len()
        && a.sets
            .iter()
            .all(|(name, set)| b.sets.get(name).is_some_and(|other| other.fields == set.fields))
}

impl Delta {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty()
    }

    /// Elements that it adds or deletes.
    pub fn len(&self) -> usize {
        let count = |of: &BTreeMap<String, BTreeSet<Element>>| of.values().map(BTreeSet::len).sum();
        let (added, removed): (usize, usize) = (count(&self.added), count(&self.removed));
        added + removed
    }

    /// The ruleset after the change; sets that are not there stay away.
    pub fn apply(&self, ruleset: &mut Ruleset) {
        for (name, elements) in &self.removed {
            if let Some(set) = ruleset.sets.get_mut(name) {
                set.elements.retain(|element| !elements.contains(element));
            }
        }
        for (name, elements) in &self.added {
            if let Some(set) = ruleset.sets.get_mut(name) {
                set.elements.extend(elements.iter().cloned());
            }
        }
    }
}
