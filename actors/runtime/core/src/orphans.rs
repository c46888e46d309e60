//! Containers of this cluster that no instance of this node owns: stopped and removed, volumes
//! stay.

use crate::orders::{Orders, Subject};
use crate::{ContainerFacts, Effect, EngineFault, Settings};
use jaco_kit_core::{Backoff, Mono, OpId};
use jaco_model::{InstanceId, Millis};
use std::collections::{BTreeMap, BTreeSet};

/// Time between the stop signal and the kill, for a container whose spec is gone.
const GRACE: Millis = Millis::secs(10);

/// Containers on their way out.
#[derive(Debug, Default)]
pub(crate) struct Orphans(BTreeMap<String, Orphan>);

#[derive(Debug)]
struct Orphan {
    instance: Option<InstanceId>,
    step: Step,
    retry: Backoff,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Begin,
    Stop(OpId),
    Stopped,
    Remove(OpId),
    Retry(Mono),
}

impl Orphans {
    /// Forgets all: the next look at the engine finds those that are left.
    pub(crate) fn forget(&mut self) {
        self.0.clear();
    }

    /// Takes in those found now, and forgets those that are gone without our doing.
    pub(crate) fn found<'a>(
        &mut self,
        containers: impl Iterator<Item = &'a ContainerFacts>,
        settings: &Settings,
        seed: u64,
    ) {
        for facts in containers {
            self.0.entry(facts.id.clone()).or_insert_with(|| Orphan {
                instance: facts.instance.clone(),
                step: Step::Begin,
                retry: Backoff::new(settings.retry.0, settings.retry.1, seed),
            });
        }
    }

    /// The instance names that orphans still hold.
    pub(crate) fn names(&self) -> BTreeSet<InstanceId> {
        self.0.values().filter_map(|orphan| orphan.instance.clone()).collect()
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes the next step with each.
    pub(crate) fn advance(&mut self, now: Mono, orders: &mut Orders) {
        for (id, orphan) in &mut self.0 {
            let container = id.clone();
            let subject = Subject::Orphan(id.clone());
            orphan.step = match orphan.step {
                Step::Begin => Step::Stop(orders.issue(subject, |op| Effect::Stop {
                    op,
                    container,
                    grace: GRACE,
                })),
                Step::Stopped => {
                    Step::Remove(orders.issue(subject, |op| Effect::Remove { op, container }))
                }
                Step::Retry(at) if now >= at => {
                    Step::Stop(orders.issue(subject, |op| Effect::Stop {
                        op,
                        container,
                        grace: GRACE,
                    }))
                }
                step => step,
            };
        }
    }

    /// Takes the outcome of a step. `true` when the container is gone.
    pub(crate) fn finished(
        &mut self,
        now: Mono,
        id: &str,
        op: OpId,
        result: &Result<(), EngineFault>,
    ) -> bool {
        let Some(orphan) = self.0.get_mut(id) else { return false };
        orphan.step = match (orphan.step, result) {
            (Step::Stop(of), Ok(())) if of == op => Step::Stopped,
            (Step::Remove(of), Ok(())) if of == op => {
                self.0.remove(id);
                return true;
            }
            (Step::Stop(of) | Step::Remove(of), Err(_)) if of == op => {
                Step::Retry(now.plus(orphan.retry.next_delay()))
            }
            (step, _) => step,
        };
        false
    }

    /// When the next attempt is due.
    pub(crate) fn deadline(&self) -> Option<Mono> {
        let retry = |orphan: &Orphan| match orphan.step {
            Step::Retry(at) => Some(at),
            Step::Begin | Step::Stop(_) | Step::Stopped | Step::Remove(_) => None,
        };
        self.0.values().filter_map(retry).min()
    }
}
