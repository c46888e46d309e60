//! The invariants of the state, as one function that tests and the simulator run after each step.

mod address;

use crate::{ServiceKey, State};
use imbl::{OrdMap, OrdSet};
use jaco_model::entity::{Desired, Instance, InstanceStatus, Replica, Slot};
use jaco_model::{InstanceId, NodeId, ReplicaId};

/// An invariant that does not hold: a bug in `apply`, never a user's mistake.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invariant {number}: {message}")]
pub struct Violation {
    /// Its number in `docs/invariants.md`; 0 for the inner consistency of this crate.
    pub number: u8,
    /// What is wrong with which entity.
    pub message: String,
}

/// Number of what holds only inside this crate.
const INNER: u8 = 0;
const STATE_HASH: u8 = 6;
const ONCE_PER_REQUEST: u8 = 11;
const ADDRESSES: u8 = 14;
const GENERATIONS: u8 = 16;
const SUPERSEDED: u8 = 17;
const AUDITED: u8 = 23;
const CLUSTER_TIME: u8 = 25;

fn ensure(holds: bool, number: u8, message: impl FnOnce() -> String) -> Result<(), Violation> {
    match holds {
        true => Ok(()),
        false => Err(Violation { number, message: message() }),
    }
}

impl State {
    /// Checks every invariant of the state. Cost grows with the size of the state.
    pub fn check(&self) -> Result<(), Violation> {
        self.check_indexes()?;
        self.replicas.values().try_for_each(|replica| self.check_replica(replica))?;
        self.instances.values().try_for_each(|instance| self.check_instance(instance))?;
        self.check_deployments()?;
        self.check_addresses()?;
        self.check_bounds()?;
        ensure(self.sum == self.recomputed_sum(), STATE_HASH, || {
            "the kept hash is not that of the entities".to_owned()
        })
    }

    fn check_indexes(&self) -> Result<(), Violation> {
        let mut by_service: OrdMap<ServiceKey, OrdSet<ReplicaId>> = OrdMap::new();
        for replica in self.replicas.values() {
            let key = (replica.deployment.clone(), replica.service.clone());
            by_service.entry(key).or_default().insert(replica.id.clone());
        }
        let mut by_node: OrdMap<NodeId, OrdSet<InstanceId>> = OrdMap::new();
        for instance in self.instances.values() {
            by_node.entry(instance.node.clone()).or_default().insert(instance.id.clone());
        }
        let by_age: OrdSet<_> = self.requests.values().map(|r| (r.at, r.id)).collect();
        let bytes: u64 = self.audit.values().map(|line| line.size()).sum();
        for (holds, index) in [
            (by_service == self.replicas_by_service, "slots by service"),
            (by_node == self.instances_by_node, "instances by node"),
            (bytes == self.audit_bytes, "bytes of the audit log"),
        ] {
            ensure(holds, INNER, || format!("index of {index} is wrong"))?;
        }
        ensure(by_age == self.requests_by_age, ONCE_PER_REQUEST, || {
            "index of answers by age is wrong".to_owned()
        })
    }

    fn check_replica(&self, replica: &Replica) -> Result<(), Violation> {
        let id = &replica.id;
        let wanted: Vec<_> =
            self.instances_of(id).filter(|instance| instance.desired == Desired::Run).collect();
        ensure(wanted.len() <= 2, GENERATIONS, || format!("{id} has {} instances", wanted.len()))?;
        let key = (replica.deployment.clone(), replica.service.clone());
        if let Slot::Index(index) = replica.slot {
            let next = self.counters.get(&key).copied().unwrap_or(0);
            ensure(index < next, GENERATIONS, || format!("index of {id} can be given out again"))?;
        }
        let known = self.deployments.contains_key(&replica.deployment);
        ensure(known, INNER, || format!("{id} belongs to no deployment"))?;
        let n_past = replica.past.len();
        ensure(n_past <= Replica::PAST_KEPT, INNER, || format!("{id} keeps {n_past} ended"))?;
        let past_gone = replica.past.iter().all(|old| !self.instances.contains_key(&old.id));
        ensure(past_gone, SUPERSEDED, || format!("{id} has an instance that is also ended"))
    }

    fn check_instance(&self, instance: &Instance) -> Result<(), Violation> {
        let id = &instance.id;
        let replica = self.replicas.get(&id.replica);
        let newest = replica.map(|replica| replica.generation);
        ensure(newest.is_some(), INNER, || format!("{id} has no slot"))?;
        ensure(newest >= Some(id.generation), GENERATIONS, || {
            format!("{id} is of a generation that was not given out")
        })?;
        let same = replica.is_some_and(|replica| {
            replica.deployment == instance.deployment
                && replica.service == instance.service
                && replica.slot == instance.slot
        });
        ensure(same, INNER, || format!("{id} is in another service than its slot"))?;
        ensure(self.spec_of(instance).is_some(), INNER, || {
            format!("{id} runs revision {}, which is not kept", instance.revision)
        })?;
        ensure(self.nodes.contains_key(&instance.node), INNER, || format!("{id} has no node"))?;
        let n_steps = instance.status.history.len();
        ensure(n_steps <= InstanceStatus::HISTORY_KEPT, INNER, || {
            format!("{id} keeps {n_steps} transitions")
        })
    }

    fn check_deployments(&self) -> Result<(), Violation> {
        for (name, deployment) in &self.deployments {
            let current = self.current(name).is_some();
            ensure(current, INNER, || format!("current revision of {name} is not kept"))?;
            let previous = deployment.previous.is_none_or(|n| self.revision(name, n).is_some());
            ensure(previous, INNER, || format!("previous revision of {name} is not kept"))?;
        }
        for (name, number) in self.revisions.keys() {
            let deployment = self.deployments.get(name);
            ensure(deployment.is_some_and(|d| d.revision >= *number), INNER, || {
                format!("revision {number} of {name} is beyond the current one")
            })?;
        }
        for (name, service) in self.rollouts.keys() {
            let current = self.current(name);
            let known = current.is_some_and(|r| r.spec.services.contains_key(service));
            ensure(known, INNER, || format!("rollout of {name}/{service}, which is no service"))?;
        }
        Ok(())
    }

    fn check_bounds(&self) -> Result<(), Violation> {
        ensure(self.requests.len() <= 65_536, ONCE_PER_REQUEST, || "too many answers".to_owned())?;
        let audited = self.audit.iter().all(|(number, line)| *number == line.number);
        ensure(audited, AUDITED, || "an audit line has another number than its key".to_owned())?;
        let Some(cluster) = &self.cluster else { return Ok(()) };
        let newest = self.audit.values().map(|line| line.event.ts).max();
        ensure(newest.is_none_or(|ts| ts <= cluster.cluster_time), CLUSTER_TIME, || {
            "an audit line is younger than the cluster's clock".to_owned()
        })
    }
}
