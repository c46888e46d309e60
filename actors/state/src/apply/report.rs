//! What a node says about its instances and volumes.
//!
//! Reports are idempotent: saying the same again changes nothing, and the end of an instance that
//! is gone already is no news.

use super::deploy::release_volumes;
use super::revise::prune_history;
use super::{Tx, address, node::unknown_node};
use jaco_model::command::{InstanceReport, Reply, VolumeReport};
use jaco_model::entity::{Instance, InstanceState, InstanceStatus, Replica, Transition, Volume};
use jaco_model::{ErrorCode, Fault, NodeId};

pub(super) fn report(
    tx: &mut Tx<'_>,
    node: &NodeId,
    instances: &[InstanceReport],
    volumes: &[VolumeReport],
) -> Reply {
    if !tx.state.nodes.contains_key(node) {
        tx.drop_part(unknown_node(node));
        return Reply::Done;
    }
    for report in instances {
        if let Err(fault) = report_instance(tx, node, report) {
            tx.drop_part(fault);
        }
    }
    for report in volumes {
        if let Err(fault) = report_volume(tx, node, report) {
            tx.drop_part(fault);
        }
    }
    Reply::Done
}

fn report_instance(tx: &mut Tx<'_>, node: &NodeId, report: &InstanceReport) -> Result<(), Fault> {
    let id = &report.id;
    let Some(instance) = tx.state.instances.get(id).cloned() else {
        if report.state == InstanceState::Stopped {
            return Ok(());
        }
        let fault = Fault::new(ErrorCode::NotFound, format!("there is no instance {id}"));
        return Err(fault.with("kind", "instance").with("name", id));
    };
    if instance.node != *node {
        let message = format!("{id} does not run on node {node}, which reported it");
        return Err(Fault::new(ErrorCode::Forbidden, message));
    }
    let from = instance.status.state;
    if from != report.state && !from.may_become(report.state) {
        let (from, to) = (from.as_str(), report.state.as_str());
        let message = format!("{id} cannot go from {from} to {to}");
        return Err(Fault::new(ErrorCode::Internal, message).with("reason", "transition"));
    }
    let instance =
        Instance { status: next_status(&instance.status, report), ..(*instance).clone() };
    if report.state == InstanceState::Stopped {
        end_instance(tx, instance, from);
    } else {
        tx.put_instance(instance, Some(from));
    }
    Ok(())
}

fn next_status(old: &InstanceStatus, report: &InstanceReport) -> InstanceStatus {
    let mut status = InstanceStatus {
        state: report.state,
        fault: report.fault.clone(),
        container_id: report.container_id.clone(),
        addresses: report.addresses.clone(),
        restarts: report.restarts,
        exit_code: report.exit_code,
        in_place_done: old.in_place_done.max(report.in_place_done),
        since: old.since,
        started_at: report.started_at,
        last_health_at: report.last_health_at,
        history: old.history.clone(),
    };
    if old.state != report.state {
        let fault = report.fault.clone();
        let (ts, from, to) = (report.at, old.state, report.state);
        status.since = ts;
        status.history.push(Transition { ts, from, to, fault });
        let n_surplus = status.history.len().saturating_sub(InstanceStatus::HISTORY_KEPT);
        status.history.drain(..n_surplus);
    }
    status
}

/// Moves an instance whose container is gone into its slot's past. That also holds for one that
/// should run: the slot is then empty, and the scheduler fills it with the next generation.
pub(super) fn end_instance(tx: &mut Tx<'_>, instance: Instance, from: InstanceState) {
    let (id, deployment) = (instance.id.clone(), instance.deployment.clone());
    let (scopes, node) = (tx.state.scopes_of(&instance), instance.node.clone());
    tx.state.take::<Instance>(&id);
    address::vacate(tx, &scopes, &node);
    if let Some(replica) = tx.state.replicas.get(&id.replica) {
        let mut replica = replica.as_ref().clone();
        replica.past.push(instance);
        let n_surplus = replica.past.len().saturating_sub(Replica::PAST_KEPT);
        replica.past.drain(..n_surplus);
        tx.state.put(replica);
    }
    let to = InstanceState::Stopped;
    tx.events.push(jaco_model::event::Event::InstanceChanged { id, from: Some(from), to });
    tx.touch(&deployment);
    prune_history(tx.state, &deployment);
    release_volumes(tx, &deployment);
}

fn report_volume(tx: &mut Tx<'_>, node: &NodeId, report: &VolumeReport) -> Result<(), Fault> {
    let key = (report.name.clone(), node.clone());
    let Some(held) = tx.state.volumes.get(&key) else {
        if report.present {
            tx.state.put(Volume {
                name: report.name.clone(),
                node: node.clone(),
                deployment: report.deployment.clone(),
                key: report.key.clone(),
                driver: report.driver.clone(),
                created_at: tx.now,
                removing: false,
            });
            tx.touch(&report.deployment);
            release_volumes(tx, &report.deployment);
        }
        return Ok(());
    };
    if held.deployment == report.deployment && held.key == report.key {
        if !report.present {
            tx.state.take::<Volume>(&key);
            tx.touch(&report.deployment);
        }
        return Ok(());
    }
    take_over(tx, held.as_ref().clone(), report)
}

/// A deployment may use the volume of one that is gone, under a name its user chose.
fn take_over(tx: &mut Tx<'_>, held: Volume, report: &VolumeReport) -> Result<(), Fault> {
    if !report.present || held.removing || tx.state.deployments.contains_key(&held.deployment) {
        let message = format!("volume {} belongs to deployment {}", held.name, held.deployment);
        let fault = Fault::new(ErrorCode::NameCollision, message);
        return Err(fault.with("name", held.name).with("owner", held.deployment));
    }
    let (deployment, key) = (report.deployment.clone(), report.key.clone());
    tx.touch(&deployment);
    tx.state.put(Volume { deployment, key, ..held });
    Ok(())
}
