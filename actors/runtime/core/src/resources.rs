//! Networks and volumes of this node: made before the first container that needs them, once.

use crate::orders::{Orders, Subject};
use crate::{Effect, EngineFault, NetworkPlan, ObservedVolume, VolumePlan};
use jaco_kit_core::OpId;
use std::collections::{BTreeMap, BTreeSet};

/// What the engine is known to have, by engine name.
#[derive(Debug, Default)]
pub(crate) struct Resources {
    networks: BTreeMap<String, Standing>,
    volumes: BTreeMap<String, Standing>,
}

/// Where one network or volume stands. One that is not listed does not exist as far as we know.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Standing {
    Making(OpId),
    Present,
    Failed(EngineFault),
    Removing(OpId),
    /// It could not be removed, and nobody tries before the next look at the engine.
    Stuck,
}

/// Whether something may be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Availability {
    /// It exists.
    Ready,
    /// It is being made or removed.
    Pending,
    /// The last attempt failed. The next question starts another one.
    Failed(EngineFault),
}

impl Resources {
    /// Forgets everything but the names: the engine may have changed its mind.
    pub(crate) fn forget(&mut self) {
        self.networks.clear();
        self.volumes.clear();
    }

    /// Takes what the engine has; what is being made or removed at the moment stays so.
    pub(crate) fn observe(&mut self, networks: &[String], volumes: &[ObservedVolume]) {
        let settled =
            |standing: &Standing| matches!(standing, Standing::Making(_) | Standing::Removing(_));
        self.networks.retain(|_, standing| settled(standing));
        self.volumes.retain(|_, standing| settled(standing));
        for name in networks {
            self.networks.entry(name.clone()).or_insert(Standing::Present);
        }
        for volume in volumes {
            self.volumes.entry(volume.name.clone()).or_insert(Standing::Present);
        }
    }

    /// Forgets that these exist: a container could not be made with them.
    pub(crate) fn doubt<'a>(&mut self, names: impl Iterator<Item = &'a String>) {
        for name in names {
            for map in [&mut self.networks, &mut self.volumes] {
                if map.get(name) == Some(&Standing::Present) {
                    map.remove(name);
                }
            }
        }
    }

    /// Sees to a network.
    pub(crate) fn network(&mut self, plan: &NetworkPlan, orders: &mut Orders) -> Availability {
        ensure(&mut self.networks, &plan.name, || {
            orders.issue(Subject::Network(plan.name.clone()), |op| Effect::EnsureNetwork {
                op,
                plan: plan.clone(),
            })
        })
    }

    /// Sees to a volume.
    pub(crate) fn volume(&mut self, plan: &VolumePlan, orders: &mut Orders) -> Availability {
        ensure(&mut self.volumes, &plan.name, || {
            orders.issue(Subject::Volume(plan.name.clone()), |op| Effect::EnsureVolume {
                op,
                plan: plan.clone(),
            })
        })
    }

    /// Whether a volume exists.
    pub(crate) fn has_volume(&self, name: &str) -> bool {
        matches!(self.volumes.get(name), Some(Standing::Present | Standing::Stuck))
    }

    /// Removes every network that is not needed any more. One that cannot be removed is tried
    /// again after the next look at the engine.
    pub(crate) fn drop_networks(&mut self, needed: &BTreeSet<String>, orders: &mut Orders) {
        for (name, standing) in &mut self.networks {
            if *standing == Standing::Present && !needed.contains(name) {
                *standing =
                    Standing::Removing(orders.issue(Subject::Network(name.clone()), |op| {
                        Effect::RemoveNetwork { op, name: name.clone() }
                    }));
            }
        }
    }

    /// Removes a volume unless that is under way or was tried just now.
    pub(crate) fn drop_volume(&mut self, name: &str, orders: &mut Orders) {
        if self.volumes.get(name) == Some(&Standing::Present) {
            let op = orders.issue(Subject::Volume(name.to_owned()), |op| Effect::RemoveVolume {
                op,
                name: name.to_owned(),
            });
            self.volumes.insert(name.to_owned(), Standing::Removing(op));
        }
    }

    /// Whether a volume is known to be gone: not there, and not about to be either.
    pub(crate) fn lacks_volume(&self, name: &str) -> bool {
        !self.volumes.contains_key(name)
    }

    /// Takes the outcome for a network.
    pub(crate) fn network_finished(&mut self, name: &str, op: OpId, result: Outcome) {
        finished(&mut self.networks, name, op, result);
    }

    /// Takes the outcome for a volume.
    pub(crate) fn volume_finished(&mut self, name: &str, op: OpId, result: Outcome) {
        finished(&mut self.volumes, name, op, result);
    }
}

type Outcome = Result<(), EngineFault>;

fn ensure(
    map: &mut BTreeMap<String, Standing>,
    name: &str,
    make: impl FnOnce() -> OpId,
) -> Availability {
    match map.get(name).cloned() {
        None => {
            map.insert(name.to_owned(), Standing::Making(make()));
            Availability::Pending
        }
        Some(Standing::Present | Standing::Stuck) => Availability::Ready,
        Some(Standing::Making(_) | Standing::Removing(_)) => Availability::Pending,
        Some(Standing::Failed(fault)) => {
            map.remove(name);
            Availability::Failed(fault)
        }
    }
}

fn finished(map: &mut BTreeMap<String, Standing>, name: &str, op: OpId, result: Outcome) {
    let next = match (map.get(name), result) {
        (Some(Standing::Making(of)), Ok(())) if *of == op => Some(Standing::Present),
        (Some(Standing::Making(of)), Err(fault)) if *of == op => Some(Standing::Failed(fault)),
        (Some(Standing::Removing(of)), Ok(())) if *of == op => None,
        (Some(Standing::Removing(of)), Err(_)) if *of == op => Some(Standing::Stuck),
        _ => return,
    };
    match next {
        Some(standing) => map.insert(name.to_owned(), standing),
        None => map.remove(name),
    };
}
