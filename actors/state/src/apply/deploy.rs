//! `apply`, `rollback` and `delete`: whole deployments.

use super::node::invalid;
use super::revise::{Content, kept_revisions, revise};
use super::{Tx, being_deleted, claims, sharing, with_suggestion};
use jaco_model::command::{ApplyDeployment, Reply, Rollback};
use jaco_model::entity::{Deployment, RevisionRecord, RevisionStatus, Volume};
use jaco_model::spec::DeploymentSpec;
use jaco_model::{DeploymentName, ErrorCode, Fault, NodeName, Revision, name};
use std::sync::Arc;

pub(super) fn apply(tx: &mut Tx<'_>, wish: &ApplyDeployment) -> Result<Reply, Fault> {
    let name = &wish.spec.name;
    let deployment = admit(tx, wish)?;
    let current = tx.state.current(name).cloned();
    if let (Some(_), Some(current)) = (&deployment, &current)
        && *current.spec == wish.spec
        && current.images == wish.images
        && *current.documents == wish.documents
    {
        let previous = deployment.and_then(|deployment| deployment.previous);
        let revision = current.number;
        return Ok(Reply::Revised { revision, previous, changed: false, restored: None });
    }
    let revision = revise(
        tx,
        Content {
            spec: Arc::new(wish.spec.clone()),
            documents: Arc::new(wish.documents.clone()),
            images: wish.images.clone(),
            origin: Some(wish.origin.clone()),
            restored_from: None,
            replaced: RevisionStatus::Superseded,
        },
    );
    let facts = [("deployment", name.to_string()), ("revision", revision.to_string())];
    tx.audit("apply", &facts);
    audit_privileged(tx, wish, revision);
    let previous = current.map(|record| record.number);
    Ok(Reply::Revised { revision, previous, changed: true, restored: None })
}

/// Refuses what must not become a revision; returns the deployment if there is one.
fn admit(tx: &Tx<'_>, wish: &ApplyDeployment) -> Result<Option<Arc<Deployment>>, Fault> {
    let name = &wish.spec.name;
    if tx.state.cluster.is_none() {
        let message = "this node is in no cluster; run `jaco cluster init`";
        return Err(Fault::new(ErrorCode::ClusterUninitialized, message));
    }
    if !name::is_deployment_name(name.as_str()) {
        return Err(invalid(format!("\"{name}\" is no deployment name"), "name", "format"));
    }
    let deployment = tx.state.deployments.get(name).cloned();
    if deployment.as_ref().is_some_and(|deployment| deployment.deleting.is_some()) {
        return Err(being_deleted(name));
    }
    expect_revision(name, deployment.as_deref(), wish.expected_revision)?;
    for (key, service) in &wish.spec.services {
        if *key != service.name {
            let message = format!("service \"{key}\" calls itself \"{}\"", service.name);
            return Err(invalid(message, "name", "conflict"));
        }
        if !wish.images.contains_key(key) {
            return Err(invalid(format!("service \"{key}\" has no image"), "image", "required"));
        }
    }
    known_hosts(tx, &wish.spec)?;
    claims::check(tx.state, &wish.spec)?;
    sharing::check(tx.state, &wish.spec)?;
    Ok(deployment)
}

fn expect_revision(
    name: &DeploymentName,
    deployment: Option<&Deployment>,
    expected: Option<Revision>,
) -> Result<(), Fault> {
    let revision = deployment.map_or(Revision(0), |deployment| deployment.revision);
    match expected {
        Some(expected) if expected != revision => {
            let message = format!(
                "deployment \"{name}\" is at revision {revision}, not {expected}: it was changed"
            );
            Err(Fault::new(ErrorCode::RevisionConflict, message)
                .with("deployment", name.as_str())
                .with("revision", revision)
                .with("expected", expected))
        }
        Some(_) | None => Ok(()),
    }
}

fn known_hosts(tx: &Tx<'_>, spec: &DeploymentSpec) -> Result<(), Fault> {
    let hosts = spec.services.values().flat_map(|service| &service.placement.hosts);
    let is_member = |host: &NodeName| tx.state.nodes.values().any(|node| node.name == *host);
    for host in hosts {
        if !is_member(host) {
            let message = format!("\"{host}\" is not a member of the cluster");
            let fault = Fault::new(ErrorCode::UnknownHost, message).with("host", host.as_str());
            let members = tx.state.nodes.values().map(|node| node.name.as_str());
            return Err(with_suggestion(fault, host.as_str(), members));
        }
    }
    Ok(())
}

fn audit_privileged(tx: &mut Tx<'_>, wish: &ApplyDeployment, revision: Revision) {
    for (service, fields) in wish.privileged.iter().filter(|(_, fields)| !fields.is_empty()) {
        let facts = [
            ("deployment", wish.spec.name.to_string()),
            ("service", service.to_string()),
            ("revision", revision.to_string()),
            ("fields", fields.join(", ")),
        ];
        tx.audit("privileged_workload_admitted", &facts);
    }
}

pub(super) fn roll_back(tx: &mut Tx<'_>, rollback: &Rollback) -> Result<Reply, Fault> {
    let name = &rollback.deployment;
    let deployment = tx.live_deployment(name)?;
    expect_revision(name, Some(&deployment), rollback.expected_revision)?;
    let target = rollback_target(tx, &deployment, rollback.to)?;
    let failed = deployment.revision;
    if target.number == failed {
        let (previous, restored) = (deployment.previous, Some(failed));
        return Ok(Reply::Revised { revision: failed, previous, changed: false, restored });
    }
    claims::check(tx.state, &target.spec)?;
    sharing::check(tx.state, &target.spec)?;
    let replaced = match rollback.cause {
        Some(_) => RevisionStatus::RolledBack,
        None => RevisionStatus::Superseded,
    };
    let revision = revise(
        tx,
        Content {
            spec: target.spec.clone(),
            documents: target.documents.clone(),
            images: target.images.clone(),
            origin: None,
            restored_from: Some(target.number),
            replaced,
        },
    );
    let mut facts = vec![
        ("deployment", name.to_string()),
        ("revision", revision.to_string()),
        ("restored", target.number.to_string()),
    ];
    match &rollback.cause {
        None => tx.audit("rollback", &facts),
        Some(cause) => {
            facts.push(("failed_revision", failed.to_string()));
            facts.push(("code", cause.code.to_string()));
            tx.audit("rollout_rolled_back", &facts);
        }
    }
    let restored = Some(target.number);
    Ok(Reply::Revised { revision, previous: Some(failed), changed: true, restored })
}

/// The named revision, or the one before.
fn rollback_target(
    tx: &Tx<'_>,
    deployment: &Deployment,
    to: Option<Revision>,
) -> Result<Arc<RevisionRecord>, Fault> {
    let name = &deployment.name;
    let Some(number) = to.or_else(|| revision_before(tx, deployment)) else {
        let message = format!("deployment \"{name}\" has no earlier revision");
        return Err(
            Fault::new(ErrorCode::NoPreviousRevision, message).with("deployment", name.as_str())
        );
    };
    tx.state.revision(name, number).cloned().ok_or_else(|| {
        let kept: Vec<String> = kept_revisions(tx.state, name).map(|n| n.to_string()).collect();
        let kept = kept.join(", ");
        let message = format!("revision {number} of \"{name}\" is not kept; kept are {kept}");
        Fault::new(ErrorCode::RevisionNotFound, message).with("revision", number).with("kept", kept)
    })
}

/// The revision before, but neither one that was rolled back nor what runs already: after a failed
/// rollout was undone there is nothing to go back to.
fn revision_before(tx: &Tx<'_>, deployment: &Deployment) -> Option<Revision> {
    let current = tx.state.current(&deployment.name)?;
    let numbers: Vec<Revision> = kept_revisions(tx.state, &deployment.name).collect();
    let earlier = numbers.into_iter().rev().filter(|number| *number < current.number);
    let mut earlier = earlier.filter_map(|number| tx.state.revision(&deployment.name, number));
    let is_other = |record: &&Arc<RevisionRecord>| {
        record.status != RevisionStatus::RolledBack
            && (&record.spec, &record.images, &record.documents)
                != (&current.spec, &current.images, &current.documents)
    };
    earlier.find(is_other).map(|record| record.number)
}

pub(super) fn delete(
    tx: &mut Tx<'_>,
    name: &DeploymentName,
    volumes: bool,
) -> Result<Reply, Fault> {
    let Some(deployment) = tx.state.deployments.get(name) else {
        return Err(tx.unknown_deployment(name));
    };
    if deployment.deleting.is_none() {
        sharing::check_unused(tx.state, name)?;
    }
    let mut deployment = deployment.as_ref().clone();
    let wanted = Some(volumes || deployment.deleting == Some(true));
    if deployment.deleting == wanted {
        return Ok(Reply::Done);
    }
    deployment.deleting = wanted;
    deployment.updated_at = tx.now;
    tx.state.put(deployment);
    tx.touch(name);
    tx.audit("delete", &[("deployment", name.to_string()), ("volumes", volumes.to_string())]);
    release_volumes(tx, name);
    Ok(Reply::Done)
}

/// Marks the volumes of a deployment for removal once nothing can use them any more.
pub(super) fn release_volumes(tx: &mut Tx<'_>, name: &DeploymentName) {
    let wanted = tx.state.deployments.get(name).is_some_and(|d| d.deleting == Some(true));
    if !wanted || has_instances(tx, name) {
        return;
    }
    let of_deployment = tx.state.volumes.values().filter(|volume| volume.deployment == *name);
    let volumes: Vec<Arc<Volume>> = of_deployment.cloned().collect();
    for volume in volumes {
        tx.state.put(Volume { removing: true, ..volume.as_ref().clone() });
        tx.touch(name);
    }
}

fn has_instances(tx: &Tx<'_>, name: &DeploymentName) -> bool {
    let services = tx.state.services_with_replicas(name);
    services.into_iter().any(|service| {
        let key = (name.clone(), service);
        tx.state
            .replicas_of(&key)
            .any(|replica| tx.state.instances_of(&replica.id).next().is_some())
    })
}
