//! Making the next revision of a deployment, and forgetting old ones.

use super::spec_hash::spec_hash;
use super::{Tx, address};
use crate::State;
use jaco_model::entity::{
    Deployment, Documents, ImagePin, Origin, RevisionRecord, RevisionStatus, Rollout, ScaleOverride,
};
use jaco_model::spec::{DeploymentSpec, ServiceMode};
use jaco_model::{DeploymentName, Revision, ServiceName};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a new revision holds, wherever it comes from.
pub(super) struct Content {
    pub(super) spec: Arc<DeploymentSpec>,
    pub(super) documents: Arc<Documents>,
    pub(super) images: BTreeMap<ServiceName, ImagePin>,
    /// `None` keeps that of the deployment.
    pub(super) origin: Option<Origin>,
    pub(super) restored_from: Option<Revision>,
    /// How the revision that is replaced ends, if it was the active one.
    pub(super) replaced: RevisionStatus,
}

/// Writes the next revision and makes it the current one. Everything was checked before.
pub(super) fn revise(tx: &mut Tx<'_>, content: Content) -> Revision {
    let name = content.spec.name.clone();
    let deployment = tx.state.deployments.get(&name).cloned();
    let current = tx.state.current(&name).cloned();
    let number = Revision(deployment.as_ref().map_or(1, |d| d.revision.0.saturating_add(1)));
    let hash_key = tx.state.cluster.as_ref().map(|cluster| cluster.hash_key.clone());
    let hashes = hashes(&hash_key.unwrap_or_default(), &content);
    let record = RevisionRecord {
        number,
        summary: summary(current.as_deref(), &content, &hashes),
        spec: content.spec,
        documents: content.documents,
        images: content.images,
        hashes,
        applied_at: tx.now,
        identity: tx.identity.clone(),
        status: RevisionStatus::Active,
        restored_from: content.restored_from,
    };
    let scale = deployment.as_ref().map(|d| kept_scale(&d.scale, &record.spec)).unwrap_or_default();
    let origin = content.origin.or_else(|| deployment.as_ref().map(|d| d.origin.clone()));
    tx.state.put(Deployment {
        name: name.clone(),
        revision: number,
        previous: current.as_ref().map(|record| record.number),
        scale,
        deleting: None,
        origin: origin.unwrap_or_default(),
        updated_at: tx.now,
    });
    if let Some(current) = current {
        end_revision(tx, &current, content.replaced);
    }
    inherit_counters(tx, &record.spec);
    drop_rollouts(tx, &record.spec);
    tx.state.put(record);
    address::refresh(tx, &name);
    prune_history(tx.state, &name);
    tx.touch(&name);
    number
}

/// The hash of every service's container under this content.
fn hashes(key: &str, content: &Content) -> BTreeMap<ServiceName, String> {
    let services = content.spec.services.iter();
    let hash = |service, image| spec_hash(key, &content.spec, service, image);
    services
        .filter_map(|(name, service)| {
            Some((name.clone(), hash(service, content.images.get(name)?)))
        })
        .collect()
}

/// Overrides of services that are still there with the same number in the file.
fn kept_scale(
    scale: &BTreeMap<ServiceName, ScaleOverride>,
    spec: &DeploymentSpec,
) -> BTreeMap<ServiceName, ScaleOverride> {
    let is_kept = |name: &ServiceName, over: &ScaleOverride| {
        let mode = spec.services.get(name).map(|service| service.mode);
        mode == Some(ServiceMode::Replicated { replicas: over.file })
    };
    scale.iter().filter(|(name, over)| is_kept(name, over)).map(|(n, o)| (n.clone(), *o)).collect()
}

fn end_revision(tx: &mut Tx<'_>, record: &RevisionRecord, status: RevisionStatus) {
    let was_running = record.status == RevisionStatus::Active;
    if was_running || status == RevisionStatus::RolledBack {
        tx.state.put(RevisionRecord { status, ..record.clone() });
    }
}

/// Another service, gone by now, may have used the same replica ids: `a-b` + `c` and `a` + `b-c`.
/// Its numbers are not given out again.
fn inherit_counters(tx: &mut Tx<'_>, spec: &DeploymentSpec) {
    for service in spec.services.keys() {
        let key = (spec.name.clone(), service.clone());
        let prefix = format!("{}-{}", key.0, key.1);
        let same_ids = tx.state.counters.iter().filter(|((deployment, service), _)| {
            prefix.strip_prefix(deployment.as_str()).and_then(|rest| rest.strip_prefix('-'))
                == Some(service.as_str())
        });
        let next = same_ids.map(|(_, next)| *next).max().unwrap_or(0);
        if next > tx.state.counters.get(&key).copied().unwrap_or(0) {
            tx.state.put_counter(key, next);
        }
    }
}

/// A removed service's rollout goes with the revision that removes it.
fn drop_rollouts(tx: &mut Tx<'_>, spec: &DeploymentSpec) {
    let first = (spec.name.clone(), ServiceName::new(""));
    let range = tx.state.rollouts.range(first..).take_while(|(key, _)| key.0 == spec.name);
    let gone = range.filter(|(key, _)| !spec.services.contains_key(&key.1));
    let gone: Vec<_> = gone.map(|(key, _)| key.clone()).collect();
    for key in gone {
        tx.state.take::<Rollout>(&key);
    }
}

/// Forgets revisions beyond the limit, except the current one, the one before, and those that some
/// instance still runs.
pub(super) fn prune_history(state: &mut State, name: &DeploymentName) {
    let (Some(deployment), Some(cluster)) = (state.deployments.get(name), &state.cluster) else {
        return;
    };
    let history = state.current(name).and_then(|record| record.spec.history);
    let limit = history.unwrap_or(cluster.history_limit).max(1) as usize;
    let numbers: Vec<Revision> = kept_revisions(state, name).collect();
    let n_surplus = numbers.len().saturating_sub(limit);
    if n_surplus == 0 {
        return;
    }
    let mut needed: BTreeSet<Revision> = running_revisions(state, name);
    needed.insert(deployment.revision);
    needed.extend(deployment.previous);
    for number in numbers.into_iter().take(n_surplus).filter(|number| !needed.contains(number)) {
        state.take::<RevisionRecord>(&(name.clone(), number));
    }
}

/// Numbers of the kept revisions, oldest first.
pub(super) fn kept_revisions<'a>(
    state: &'a State,
    name: &'a DeploymentName,
) -> impl Iterator<Item = Revision> + use<'a> {
    let range = state.revisions.range((name.clone(), Revision(0))..);
    range.map(|(key, _)| key).take_while(move |key| key.0 == *name).map(|key| key.1)
}

fn running_revisions(state: &State, name: &DeploymentName) -> BTreeSet<Revision> {
    let mut running = BTreeSet::new();
    for service in state.services_with_replicas(name) {
        for replica in state.replicas_of(&(name.clone(), service)) {
            running.extend(state.instances_of(&replica.id).map(|instance| instance.revision));
        }
    }
    running
}

/// What changed, in a few words: `add db; change web; remove cache`.
fn summary(
    current: Option<&RevisionRecord>,
    content: &Content,
    hashes: &BTreeMap<ServiceName, String>,
) -> String {
    if let Some(from) = content.restored_from {
        return format!("restore revision {from}");
    }
    let Some(current) = current else { return "create".to_owned() };
    let (old, new) = (&current.spec.services, &content.spec.services);
    let names = |verb: &str, names: Vec<&ServiceName>| {
        let names: Vec<&str> = names.into_iter().map(ServiceName::as_str).collect();
        (!names.is_empty()).then(|| format!("{verb} {}", names.join(", ")))
    };
    let both = || new.keys().filter(|name| old.contains_key(*name));
    let is_replaced = |name: &&ServiceName| current.hashes.get(*name) != hashes.get(*name);
    let is_adjusted = |name: &&ServiceName| !is_replaced(name) && old.get(*name) != new.get(*name);
    let parts = [
        names("add", new.keys().filter(|name| !old.contains_key(*name)).collect()),
        names("change", both().filter(is_replaced).collect()),
        names("adjust", both().filter(is_adjusted).collect()),
        names("remove", old.keys().filter(|name| !new.contains_key(*name)).collect()),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() {
        return "no service changed".to_owned();
    }
    parts.join("; ")
}
