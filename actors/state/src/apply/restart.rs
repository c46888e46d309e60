//! `restart`: new instances with the same spec, or the same containers once more.

use super::scale::unknown_service;
use super::{Tx, with_suggestion};
use jaco_model::command::{Reply, RestartTarget};
use jaco_model::entity::{Desired, Replica, Slot};
use jaco_model::{DeploymentName, ErrorCode, Fault, NodeId, ReplicaId, ServiceName};
use std::collections::BTreeSet;
use std::sync::Arc;

pub(super) fn restart(
    tx: &mut Tx<'_>,
    target: &RestartTarget,
    in_place: bool,
) -> Result<Reply, Fault> {
    let replicas = matching(tx, target)?;
    let mut instances = Vec::new();
    for replica in &replicas {
        let running = tx.state.instances_of(&replica.id).filter(|i| i.desired == Desired::Run);
        let running: Vec<_> = running.cloned().collect();
        instances.extend(running.iter().map(|instance| instance.id.clone()));
        if in_place {
            for instance in running {
                let state = instance.status.state;
                let mut instance = instance.as_ref().clone();
                instance.in_place = instance.in_place.saturating_add(1);
                tx.put_instance(instance, Some(state));
            }
            continue;
        }
        ask_again(tx, replica);
    }
    if !replicas.is_empty() {
        let mut facts = facts(target);
        facts.push(("in_place", in_place.to_string()));
        tx.audit("restart", &facts);
    }
    Ok(Reply::Restarted { instances })
}

/// Wants every instance on `node` replaced, which the scheduler then does elsewhere.
pub(super) fn replace_on(tx: &mut Tx<'_>, node: &NodeId) {
    let running = tx.state.instances_on(node).filter(|i| i.desired == Desired::Run);
    let replicas: BTreeSet<(ReplicaId, u64)> =
        running.map(|i| (i.id.replica.clone(), i.restart_nonce)).collect();
    for (id, nonce) in replicas {
        let replica = tx.state.replicas.get(&id).cloned();
        // One that is to be replaced already is not asked for twice.
        let Some(replica) = replica.filter(|of| of.restart_nonce == nonce) else { continue };
        // A global service has nowhere else to go: its instance ends with the node.
        if matches!(replica.slot, Slot::Index(_)) {
            ask_again(tx, &replica);
        }
    }
}

fn ask_again(tx: &mut Tx<'_>, replica: &Replica) {
    let restart_nonce = replica.restart_nonce.saturating_add(1);
    tx.touch(&replica.deployment);
    tx.state.put(Replica { restart_nonce, ..replica.clone() });
}

fn facts(target: &RestartTarget) -> Vec<(&'static str, String)> {
    match target {
        RestartTarget::Deployment { deployment } => vec![("deployment", deployment.to_string())],
        RestartTarget::Service { deployment, service } => {
            vec![("deployment", deployment.to_string()), ("service", service.to_string())]
        }
        RestartTarget::Replica { replica } => vec![("replica", replica.to_string())],
    }
}

/// The slots a target names. Services on their way out are left alone.
fn matching(tx: &Tx<'_>, target: &RestartTarget) -> Result<Vec<Arc<Replica>>, Fault> {
    match target {
        RestartTarget::Deployment { deployment } => {
            tx.live_deployment(deployment)?;
            let spec = tx.state.current(deployment).map(|record| record.spec.clone());
            let services = spec.iter().flat_map(|spec| spec.services.keys());
            Ok(services.flat_map(|service| slots(tx, deployment, service)).collect())
        }
        RestartTarget::Service { deployment, service } => {
            tx.live_deployment(deployment)?;
            known_service(tx, deployment, service)?;
            Ok(slots(tx, deployment, service))
        }
        RestartTarget::Replica { replica } => {
            let Some(replica) = tx.state.replicas.get(replica) else {
                return Err(unknown_replica(tx, replica));
            };
            tx.live_deployment(&replica.deployment)?;
            known_service(tx, &replica.deployment, &replica.service)?;
            Ok(vec![replica.clone()])
        }
    }
}

fn slots(tx: &Tx<'_>, deployment: &DeploymentName, service: &ServiceName) -> Vec<Arc<Replica>> {
    tx.state.replicas_of(&(deployment.clone(), service.clone())).cloned().collect()
}

fn known_service(
    tx: &Tx<'_>,
    deployment: &DeploymentName,
    service: &ServiceName,
) -> Result<(), Fault> {
    let spec = tx.state.current(deployment).map(|record| record.spec.as_ref());
    match spec.is_some_and(|spec| spec.services.contains_key(service)) {
        true => Ok(()),
        false => Err(unknown_service(spec, service)),
    }
}

fn unknown_replica(tx: &Tx<'_>, replica: &ReplicaId) -> Fault {
    let fault = Fault::new(ErrorCode::NotFound, format!("there is no replica \"{replica}\""))
        .with("kind", "replica")
        .with("name", replica.as_str());
    with_suggestion(fault, replica.as_str(), tx.state.replicas.keys().map(ReplicaId::as_str))
}
