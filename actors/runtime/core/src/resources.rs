//! Networks and volumes of this node: made before the first container that needs them, once.

use crate::orders::{Orders, Subject};
use crate::{
    BridgePlan, Effect, EngineFault, NetworkPlan, ObservedNetwork, ObservedVolume, VolumePlan,
};
use ipnet::Ipv4Net;
use jaco_kit_core::OpId;
use std::collections::{BTreeMap, BTreeSet};

/// What the engine is known to have, by engine name.
#[derive(Debug, Default)]
pub(crate) struct Resources {
    networks: BTreeMap<String, Standing<Shape>>,
    volumes: BTreeMap<String, Standing<()>>,
    /// Networks that were given up for others of the same name since somebody asked.
    replaced: BTreeSet<String>,
}

/// What of a network cannot be changed, as far as it matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Shape {
    subnet: Option<Ipv4Net>,
    revision: Option<String>,
}

impl Shape {
    fn planned(plan: &NetworkPlan) -> Shape {
        let bridge = plan.bridge.as_ref();
        let revision = bridge.map(|bridge| bridge.revision.clone());
        Shape { subnet: bridge.map(|bridge| bridge.subnet), revision }
    }

    fn observed(seen: &ObservedNetwork) -> Shape {
        let revision = seen.labels.get(BridgePlan::REVISION_LABEL).cloned();
        Shape { subnet: seen.subnet.parse().ok(), revision }
    }
}

/// Where one network or volume stands. One that is not listed does not exist as far as we know.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Standing<S> {
    Making(OpId, S),
    Present(S),
    Failed(EngineFault),
    Removing(OpId, S),
    /// It could not be removed, and nobody tries before the next look at the engine.
    Stuck(S),
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
    pub(crate) fn observe(&mut self, networks: &[ObservedNetwork], volumes: &[ObservedVolume]) {
        self.networks.retain(|_, standing| standing.is_changing());
        self.volumes.retain(|_, standing| standing.is_changing());
        for seen in networks {
            let present = Standing::Present(Shape::observed(seen));
            self.networks.entry(seen.name.clone()).or_insert(present);
        }
        for volume in volumes {
            self.volumes.entry(volume.name.clone()).or_insert(Standing::Present(()));
        }
    }

    /// Forgets that these exist: a container could not be made with them.
    pub(crate) fn doubt<'a>(&mut self, names: impl Iterator<Item = &'a String>) {
        for name in names {
            if matches!(self.networks.get(name), Some(Standing::Present(_))) {
                self.networks.remove(name);
            }
            if matches!(self.volumes.get(name), Some(Standing::Present(()))) {
                self.volumes.remove(name);
            }
        }
    }

    /// Sees to a network. One with other options is made anew once nobody is in it; until then it
    /// serves, unless its addresses are not those of the plan and `strict` forbids that.
    pub(crate) fn network(
        &mut self,
        plan: &NetworkPlan,
        attached: &BTreeSet<String>,
        strict: bool,
        orders: &mut Orders,
    ) -> Availability {
        let wanted = Shape::planned(plan);
        let present = match self.networks.get(&plan.name) {
            Some(Standing::Present(shape)) => Some((shape.clone(), true)),
            Some(Standing::Stuck(shape)) => Some((shape.clone(), false)),
            _ => None,
        };
        let subject = Subject::Network(plan.name.clone());
        if let Some((shape, removable)) = present {
            if wanted.revision.is_none() || shape.revision == wanted.revision {
                return Availability::Ready;
            }
            if removable && !attached.contains(&plan.name) {
                let name = plan.name.clone();
                let op = orders.issue(subject, |op| Effect::RemoveNetwork { op, name });
                self.networks.insert(plan.name.clone(), Standing::Removing(op, shape));
                self.replaced.insert(plan.name.clone());
                return Availability::Pending;
            }
            if strict && shape.subnet != wanted.subnet {
                return Availability::Failed(outdated(&plan.name));
            }
            return Availability::Ready;
        }
        ensure(&mut self.networks, &plan.name, wanted, || {
            orders.issue(subject, |op| Effect::EnsureNetwork { op, plan: plan.clone() })
        })
    }

    /// Whether a network is being removed, or has other options and can be now.
    pub(crate) fn goes(&self, plan: &NetworkPlan, attached: &BTreeSet<String>) -> bool {
        match self.networks.get(&plan.name) {
            Some(Standing::Removing(..)) => true,
            Some(Standing::Present(shape)) => {
                let wanted = Shape::planned(plan).revision;
                let outdated = wanted.is_some() && shape.revision != wanted;
                outdated && !attached.contains(&plan.name)
            }
            Some(Standing::Making(..) | Standing::Failed(_) | Standing::Stuck(_)) | None => false,
        }
    }

    /// The networks that were given up since the last time, to which stopped containers are bound.
    pub(crate) fn take_replaced(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.replaced)
    }

    /// The addresses of a network that exists and whose addresses are known.
    pub(crate) fn subnet(&self, name: &str) -> Option<Ipv4Net> {
        match self.networks.get(name)? {
            Standing::Present(shape) | Standing::Stuck(shape) => shape.subnet,
            Standing::Making(..) | Standing::Failed(_) | Standing::Removing(..) => None,
        }
    }

    /// Engine names of the networks that were made with a subnet of the address plan.
    pub(crate) fn planned_networks(&self) -> BTreeSet<String> {
        let is_planned = |standing: &Standing<Shape>| match standing {
            Standing::Present(shape) | Standing::Stuck(shape) => shape.revision.is_some(),
            Standing::Making(..) | Standing::Failed(_) | Standing::Removing(..) => false,
        };
        let planned = self.networks.iter().filter(|(_, standing)| is_planned(standing));
        planned.map(|(name, _)| name.clone()).collect()
    }

    /// Sees to a volume.
    pub(crate) fn volume(&mut self, plan: &VolumePlan, orders: &mut Orders) -> Availability {
        ensure(&mut self.volumes, &plan.name, (), || {
            orders.issue(Subject::Volume(plan.name.clone()), |op| Effect::EnsureVolume {
                op,
                plan: plan.clone(),
            })
        })
    }

    /// Whether a volume exists.
    pub(crate) fn has_volume(&self, name: &str) -> bool {
        matches!(self.volumes.get(name), Some(Standing::Present(()) | Standing::Stuck(())))
    }

    /// Removes every network that is not needed any more. One that cannot be removed is tried
    /// again after the next look at the engine.
    pub(crate) fn drop_networks(&mut self, needed: &BTreeSet<String>, orders: &mut Orders) {
        for (name, standing) in &mut self.networks {
            let Standing::Present(shape) = standing else { continue };
            if !needed.contains(name) {
                let shape = std::mem::take(shape);
                let subject = Subject::Network(name.clone());
                let op =
                    orders.issue(subject, |op| Effect::RemoveNetwork { op, name: name.clone() });
                *standing = Standing::Removing(op, shape);
            }
        }
    }

    /// Removes a volume unless that is under way or was tried just now.
    pub(crate) fn drop_volume(&mut self, name: &str, orders: &mut Orders) {
        if self.volumes.get(name) == Some(&Standing::Present(())) {
            let op = orders.issue(Subject::Volume(name.to_owned()), |op| Effect::RemoveVolume {
                op,
                name: name.to_owned(),
            });
            self.volumes.insert(name.to_owned(), Standing::Removing(op, ()));
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

/// Why a container waits for a network that has to be replaced.
fn outdated(name: &str) -> EngineFault {
    EngineFault {
        op: "create network",
        reason: format!(
            "network {name} was made with other addresses and is replaced once no container is \
             in it"
        ),
        retry: true,
    }
}

impl<S> Standing<S> {
    fn is_changing(&self) -> bool {
        matches!(self, Standing::Making(..) | Standing::Removing(..))
    }
}

fn ensure<S>(
    map: &mut BTreeMap<String, Standing<S>>,
    name: &str,
    shape: S,
    make: impl FnOnce() -> OpId,
) -> Availability {
    match map.get(name) {
        None => {
            map.insert(name.to_owned(), Standing::Making(make(), shape));
            Availability::Pending
        }
        Some(Standing::Present(_) | Standing::Stuck(_)) => Availability::Ready,
        Some(Standing::Making(..) | Standing::Removing(..)) => Availability::Pending,
        Some(Standing::Failed(fault)) => {
            let fault = fault.clone();
            map.remove(name);
            Availability::Failed(fault)
        }
    }
}

fn finished<S: Clone>(
    map: &mut BTreeMap<String, Standing<S>>,
    name: &str,
    op: OpId,
    result: Outcome,
) {
    let next = match (map.get(name), result) {
        (Some(Standing::Making(of, shape)), Ok(())) if *of == op => {
            Some(Standing::Present(shape.clone()))
        }
        (Some(Standing::Making(of, _)), Err(fault)) if *of == op => Some(Standing::Failed(fault)),
        (Some(Standing::Removing(of, _)), Ok(())) if *of == op => None,
        (Some(Standing::Removing(of, shape)), Err(_)) if *of == op => {
            Some(Standing::Stuck(shape.clone()))
        }
        _ => return,
    };
    match next {
        Some(standing) => map.insert(name.to_owned(), standing),
        None => map.remove(name),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "jaco_shop_front";

    fn plan(subnet: &str, revision: &str) -> NetworkPlan {
        let subnet: Ipv4Net = subnet.parse().unwrap();
        let (gateway, options) = (subnet.network(), BTreeMap::new());
        let revision = revision.to_owned();
        let bridge = Some(BridgePlan { subnet, gateway, options, revision });
        let (name, labels) = (NAME.to_owned(), BTreeMap::new());
        NetworkPlan { name, labels, internal: false, bridge }
    }

    /// What the engine has.
    fn seen(subnet: &str, revision: Option<&str>) -> Resources {
        let label = |text: &str| (BridgePlan::REVISION_LABEL.to_owned(), text.to_owned());
        let labels = revision.map(label).into_iter().collect();
        let (name, subnet) = (NAME.to_owned(), subnet.to_owned());
        let mut resources = Resources::default();
        resources.observe(&[ObservedNetwork { name, labels, subnet }], &[]);
        resources
    }

    /// The answer, and the order if one was given.
    fn ask(
        resources: &mut Resources,
        plan: &NetworkPlan,
        is_attached: bool,
        strict: bool,
    ) -> (Availability, Option<Effect>) {
        let attached = is_attached.then(|| NAME.to_owned()).into_iter().collect();
        let mut orders = Orders::default();
        let answer = resources.network(plan, &attached, strict, &mut orders);
        (answer, orders.take().pop())
    }

    fn is_refused(answer: &(Availability, Option<Effect>)) -> bool {
        matches!(answer, (Availability::Failed(fault), None) if fault.reason.contains(NAME))
    }

    #[test]
    fn a_network_as_planned_or_without_a_plan_is_used() {
        let planned = plan("10.80.32.0/26", "r1");
        let mut resources = seen("10.80.32.0/26", Some("r1"));
        let answer = ask(&mut resources, &planned, false, true);
        assert!(matches!(answer, (Availability::Ready, None)), "{answer:?}");
        let unplanned = NetworkPlan { bridge: None, ..planned };
        let answer = ask(&mut seen("172.18.0.0/16", None), &unplanned, false, true);
        assert!(matches!(answer, (Availability::Ready, None)), "{answer:?}");
    }

    #[test]
    fn an_old_network_is_replaced_when_nobody_is_in_it() {
        for (subnet, revision) in [("10.80.32.0/26", Some("r0")), ("172.18.0.0/16", None)] {
            let planned = plan("10.80.32.0/26", "r1");
            let mut resources = seen(subnet, revision);
            let answer = ask(&mut resources, &planned, false, true);
            let (Availability::Pending, Some(Effect::RemoveNetwork { op, .. })) = answer else {
                panic!("{answer:?}")
            };
            resources.network_finished(NAME, op, Ok(()));
            let answer = ask(&mut resources, &planned, false, true);
            let (Availability::Pending, Some(Effect::EnsureNetwork { op, .. })) = answer else {
                panic!("{answer:?}")
            };
            assert_eq!(resources.subnet(NAME), None);
            resources.network_finished(NAME, op, Ok(()));
            assert_eq!(resources.subnet(NAME), planned.bridge.as_ref().map(|b| b.subnet));
            let answer = ask(&mut resources, &planned, false, true);
            assert!(matches!(answer, (Availability::Ready, None)), "{answer:?}");
        }
    }

    #[test]
    fn an_old_network_with_somebody_in_it_serves_unless_its_addresses_are_wrong() {
        let planned = plan("10.80.32.0/26", "r1");
        let answer = ask(&mut seen("10.80.32.0/26", Some("r0")), &planned, true, true);
        assert!(matches!(answer, (Availability::Ready, None)), "{answer:?}");
        let answer = ask(&mut seen("172.18.0.0/16", None), &planned, true, false);
        assert!(matches!(answer, (Availability::Ready, None)), "{answer:?}");
        assert!(is_refused(&ask(&mut seen("172.18.0.0/16", None), &planned, true, true)));
    }

    #[test]
    fn one_that_somebody_else_is_in_is_left_until_the_next_look() {
        let planned = plan("10.80.32.0/26", "r1");
        let mut resources = seen("172.18.0.0/16", None);
        let answer = ask(&mut resources, &planned, false, true);
        let (_, Some(Effect::RemoveNetwork { op, .. })) = answer else { panic!("{answer:?}") };
        let (op_name, reason) = ("remove network", "active endpoints".to_owned());
        let fault = EngineFault { op: op_name, reason, retry: true };
        resources.network_finished(NAME, op, Err(fault));
        assert!(is_refused(&ask(&mut resources, &planned, false, true)));
        assert!(matches!(ask(&mut resources, &planned, false, false), (Availability::Ready, None)));
    }
}
