//! The scheduler's decisions. The pass looked at an older state, so every step is judged anew; one
//! that no longer fits is dropped alone and the next pass decides again.

use super::revise::kept_revisions;
use super::{Tx, address, instance_id, next_generation};
use jaco_model::command::{Reply, Step};
use jaco_model::entity::{
    Deployment, Desired, Instance, InstanceStatus, NodeStatus, Replica, RevisionRecord,
    RevisionStatus, Rollout, RolloutState, Slot,
};
use jaco_model::spec::ServiceMode;
use jaco_model::{
    DeploymentName, ErrorCode, Fault, Generation, InstanceId, NodeId, ReplicaId, Revision,
    ServiceName, name,
};

/// Instances of one slot that may be wanted at once: the old one and its replacement.
const RUN_INSTANCES_MAX: usize = 2;

pub(super) fn schedule(tx: &mut Tx<'_>, steps: &[Step]) -> Reply {
    for step in steps {
        if let Err(fault) = take(tx, step) {
            tx.drop_part(fault);
        }
    }
    Reply::Done
}

fn take(tx: &mut Tx<'_>, step: &Step) -> Result<(), Fault> {
    match step {
        Step::AddReplica { replica, deployment, service, slot } => {
            add_replica(tx, replica, deployment, service, slot)
        }
        Step::Place { replica, generation, node, revision } => {
            place(tx, replica, *generation, node, *revision)
        }
        Step::Retire { instance } => retire(tx, instance),
        Step::RemoveReplica { replica } => remove_replica(tx, replica),
        Step::Explain { replica, waiting } => explain(tx, replica, waiting.as_ref()),
        Step::SetRollout { rollout } => set_rollout(tx, rollout),
        Step::SettleRevision { deployment, revision, status } => {
            settle_revision(tx, deployment, *revision, *status)
        }
        Step::Purge { deployment } => purge(tx, deployment),
        Step::ReleaseBlock { scope, node } => address::release(tx, scope, node),
    }
}

/// The step's subject changed since the scheduler looked.
fn stale(message: String) -> Fault {
    Fault::new(ErrorCode::Conflict, message).with("operation", "schedule")
}

fn absent(kind: &str, name: impl std::fmt::Display) -> Fault {
    Fault::new(ErrorCode::NotFound, format!("there is no {kind} {name}"))
        .with("kind", kind)
        .with("name", name)
}

fn add_replica(
    tx: &mut Tx<'_>,
    id: &ReplicaId,
    deployment: &DeploymentName,
    service: &ServiceName,
    slot: &Slot,
) -> Result<(), Fault> {
    tx.live_deployment(deployment)?;
    let key = (deployment.clone(), service.clone());
    let spec = tx.state.current(deployment).and_then(|record| record.spec.services.get(service));
    let mode = spec.map(|spec| spec.mode).ok_or_else(|| absent("service", service))?;
    let (expected_id, generation) = match (mode, slot) {
        (ServiceMode::Replicated { .. }, Slot::Index(index)) => {
            let next = tx.state.counters.get(&key).copied().unwrap_or(0);
            if *index != next {
                return Err(stale(format!("the next index of {service} is {next}, not {index}")));
            }
            (name::replica_id(deployment, service, *index), Generation(0))
        }
        (ServiceMode::Global, Slot::Node(host)) => {
            if !tx.state.nodes.values().any(|node| node.name == *host) {
                return Err(absent("node", host));
            }
            let floor = tx.state.floors.get(&key).copied().unwrap_or_default();
            (name::global_replica_id(deployment, service, host), floor)
        }
        (ServiceMode::Replicated { .. }, Slot::Node(_)) | (ServiceMode::Global, Slot::Index(_)) => {
            return Err(stale(format!("service {service} has another mode now")));
        }
    };
    if *id != expected_id || tx.state.replicas.contains_key(id) {
        return Err(stale(format!("{id} is not a free slot of {service}")));
    }
    if let Slot::Index(index) = slot {
        let next = index.checked_add(1).ok_or_else(|| stale("indexes have run out".to_owned()))?;
        tx.state.put_counter(key, next);
    }
    tx.state.put(Replica {
        id: id.clone(),
        deployment: deployment.clone(),
        service: service.clone(),
        slot: slot.clone(),
        generation,
        restart_nonce: 0,
        waiting: None,
        past: Vec::new(),
    });
    tx.touch(deployment);
    Ok(())
}

fn place(
    tx: &mut Tx<'_>,
    id: &ReplicaId,
    generation: Generation,
    node: &NodeId,
    revision: Revision,
) -> Result<(), Fault> {
    let replica = tx.state.replicas.get(id).cloned().ok_or_else(|| absent("replica", id))?;
    tx.live_deployment(&replica.deployment)?;
    if next_generation(replica.generation) != Some(generation) {
        let newest = replica.generation.0;
        return Err(stale(format!(
            "{id} is at generation {newest}, {} cannot follow",
            generation.0
        )));
    }
    let member = tx.state.nodes.get(node).ok_or_else(|| absent("node", node))?;
    if member.status != NodeStatus::Ready || !member.schedulable {
        return Err(stale(format!("node {} takes no work now", member.name)));
    }
    let running = tx.state.instances_of(id).filter(|i| i.desired == Desired::Run).count();
    if running >= RUN_INSTANCES_MAX {
        return Err(stale(format!("{id} already has {running} instances")));
    }
    let record = tx.state.revision(&replica.deployment, revision);
    let record = record.ok_or_else(|| absent("revision", revision))?;
    let service = &replica.service;
    let (Some(hash), Some(image)) = (record.hashes.get(service), record.images.get(service)) else {
        return Err(stale(format!("revision {revision} has no service {service}")));
    };
    let spec = record.spec.services.get(service);
    let scopes = spec.map(|spec| record.spec.scopes_of(spec)).unwrap_or_default();
    let (hash, image) = (hash.clone(), image.clone());
    let blocks = match address::reserve(tx, &scopes, node) {
        Ok(blocks) => blocks,
        Err(fault) => {
            explain(tx, id, Some(&fault))?;
            return Err(fault);
        }
    };
    address::occupy(tx, blocks, &scopes, node);
    let instance = Instance {
        id: instance_id(id, generation),
        deployment: replica.deployment.clone(),
        service: service.clone(),
        slot: replica.slot.clone(),
        node: node.clone(),
        revision,
        spec_hash: hash,
        image,
        restart_nonce: replica.restart_nonce,
        in_place: 0,
        desired: Desired::Run,
        created_at: tx.now,
        status: InstanceStatus::placed(tx.now),
    };
    let mut replica = replica.as_ref().clone();
    replica.generation = generation;
    replica.waiting = None;
    tx.touch(&replica.deployment);
    tx.state.put(replica);
    tx.put_instance(instance, None);
    Ok(())
}

fn retire(tx: &mut Tx<'_>, id: &InstanceId) -> Result<(), Fault> {
    let instance = tx.state.instances.get(id).ok_or_else(|| absent("instance", id))?;
    let state = instance.status.state;
    let instance = Instance { desired: Desired::Stop, ..instance.as_ref().clone() };
    tx.put_instance(instance, Some(state));
    Ok(())
}

fn remove_replica(tx: &mut Tx<'_>, id: &ReplicaId) -> Result<(), Fault> {
    if !tx.state.replicas.contains_key(id) {
        return Err(absent("replica", id));
    }
    if tx.state.instances_of(id).next().is_some() {
        return Err(stale(format!("{id} still has an instance")));
    }
    let Some(replica) = tx.state.take::<Replica>(id) else { return Ok(()) };
    if matches!(replica.slot, Slot::Node(_)) {
        let key = (replica.deployment.clone(), replica.service.clone());
        tx.state.raise_floor(key, replica.generation);
    }
    tx.touch(&replica.deployment);
    Ok(())
}

fn explain(tx: &mut Tx<'_>, id: &ReplicaId, waiting: Option<&Fault>) -> Result<(), Fault> {
    let replica = tx.state.replicas.get(id).ok_or_else(|| absent("replica", id))?;
    let replica = Replica { waiting: waiting.cloned(), ..replica.as_ref().clone() };
    let deployment = replica.deployment.clone();
    if tx.state.put(replica) {
        tx.touch(&deployment);
    }
    Ok(())
}

fn set_rollout(tx: &mut Tx<'_>, rollout: &Rollout) -> Result<(), Fault> {
    let name = &rollout.deployment;
    tx.live_deployment(name)?;
    if tx.state.revision(name, rollout.to).is_none() {
        return Err(absent("revision", rollout.to));
    }
    let current = tx.state.current(name);
    if !current.is_some_and(|record| record.spec.services.contains_key(&rollout.service)) {
        return Err(absent("service", &rollout.service));
    }
    let key = (name.clone(), rollout.service.clone());
    let was_paused = tx
        .state
        .rollouts
        .get(&key)
        .is_some_and(|old| old.state == RolloutState::Paused && old.to == rollout.to);
    if !tx.state.put(rollout.clone()) {
        return Ok(());
    }
    tx.touch(name);
    if rollout.state == RolloutState::Paused && !was_paused {
        let mut facts = vec![
            ("deployment", name.to_string()),
            ("service", rollout.service.to_string()),
            ("revision", rollout.to.to_string()),
        ];
        facts.extend(rollout.reason.as_ref().map(|reason| ("code", reason.code.to_string())));
        tx.audit("rollout_paused", &facts);
    }
    Ok(())
}

fn settle_revision(
    tx: &mut Tx<'_>,
    name: &DeploymentName,
    number: Revision,
    status: RevisionStatus,
) -> Result<(), Fault> {
    let deployment: &Deployment =
        tx.state.deployments.get(name).ok_or_else(|| absent("deployment", name))?;
    let is_current = deployment.revision == number;
    let fits = match status {
        RevisionStatus::Active => is_current,
        RevisionStatus::Superseded => !is_current,
        RevisionStatus::Failed | RevisionStatus::RolledBack => true,
    };
    if !fits {
        return Err(stale(format!("revision {number} cannot end as {}", status.as_str())));
    }
    let record = tx.state.revision(name, number).ok_or_else(|| absent("revision", number))?;
    let record = RevisionRecord { status, ..record.as_ref().clone() };
    if tx.state.put(record) {
        tx.touch(name);
    }
    Ok(())
}

fn purge(tx: &mut Tx<'_>, name: &DeploymentName) -> Result<(), Fault> {
    let deployment = tx.state.deployments.get(name).ok_or_else(|| absent("deployment", name))?;
    if deployment.deleting.is_none() {
        return Err(stale(format!("deployment {name} is not being deleted")));
    }
    if !tx.state.services_with_replicas(name).is_empty() {
        return Err(stale(format!("deployment {name} still has replicas")));
    }
    let numbers: Vec<Revision> = kept_revisions(tx.state, name).collect();
    for number in numbers {
        tx.state.take::<RevisionRecord>(&(name.clone(), number));
    }
    let first = (name.clone(), ServiceName::new(""));
    let rollouts = tx.state.rollouts.range(first..).take_while(|(key, _)| key.0 == *name);
    let rollouts: Vec<_> = rollouts.map(|(key, _)| key.clone()).collect();
    for key in rollouts {
        tx.state.take::<Rollout>(&key);
    }
    tx.state.take::<Deployment>(name);
    address::release_deployment(tx, name);
    tx.touch(name);
    Ok(())
}
