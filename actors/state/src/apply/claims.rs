//! What a deployment may not take from others: names in the engine, names of replicas, ports,
//! domains.
//!
//! Names are derived by joining words with `-` and `_`, which the words may contain themselves, so
//! two different things can come out with one name. Such pairs are refused here, once, instead of
//! being told apart everywhere.

use super::domains;
use super::node::invalid;
use crate::{ServiceKey, State};
use jaco_model::entity::{RevisionRecord, Volume};
use jaco_model::spec::{
    DeploymentSpec, PortMode, PortSpec, Protocol, ServiceMode, ServiceSpec, VolumeSpec,
};
use jaco_model::{DeploymentName, ErrorCode, Fault, Revision, name};
use std::collections::BTreeSet;

/// Checks `spec` against every other deployment, also against revisions that still run.
pub(super) fn check(state: &State, spec: &DeploymentSpec) -> Result<(), Fault> {
    let others = live_specs(state, &spec.name);
    for other in &others {
        networks(spec, other)?;
        volumes(spec, other)?;
        replicas(state, spec, other)?;
        ports(spec, other)?;
    }
    routes(state, spec)?;
    own_volumes(spec)?;
    own_ports(spec)?;
    replicas(state, spec, spec)?;
    held_volumes(state, spec)
}

/// The current revisions of all other deployments, and those that some instance still runs.
pub(super) fn live_specs<'a>(state: &'a State, except: &DeploymentName) -> Vec<&'a DeploymentSpec> {
    let current = state.deployments.values().map(|d| (d.name.clone(), d.revision));
    let running = state.instances.values().map(|i| (i.deployment.clone(), i.revision));
    let live: BTreeSet<(DeploymentName, Revision)> = current.chain(running).collect();
    let others = live.into_iter().filter(|(name, _)| name != except);
    let spec = |record: &'a std::sync::Arc<RevisionRecord>| record.spec.as_ref();
    others.filter_map(|key| state.revisions.get(&key).map(spec)).collect()
}

/// Only what routes now counts: an earlier revision whose containers still run gets no requests.
fn routes(state: &State, spec: &DeploymentSpec) -> Result<(), Fault> {
    let held = state.current(&spec.name).map(|record| record.spec.routes.as_slice());
    let others = state.deployments.keys().filter(|name| **name != spec.name);
    for other in others.filter_map(|name| state.current(name)) {
        domains::check(spec, held.unwrap_or_default(), &other.spec)?;
    }
    Ok(())
}

fn collision(name: &str, owner: impl std::fmt::Display) -> Fault {
    let message = format!("the name \"{name}\" is already used by {owner}");
    Fault::new(ErrorCode::NameCollision, message).with("name", name).with("owner", owner)
}

fn networks(spec: &DeploymentSpec, other: &DeploymentSpec) -> Result<(), Fault> {
    let theirs: BTreeSet<String> = network_names(other).collect();
    match network_names(spec).find(|name| theirs.contains(name)) {
        Some(name) => Err(collision(&name, &other.name)),
        None => Ok(()),
    }
}

fn network_names(spec: &DeploymentSpec) -> impl Iterator<Item = String> {
    let own = spec.networks.iter().filter(|(_, network)| network.external.is_none());
    own.map(|(key, _)| name::network_name(&spec.name, key))
}

fn volumes(spec: &DeploymentSpec, other: &DeploymentSpec) -> Result<(), Fault> {
    for ours in spec.volumes.values().filter(|volume| !volume.external) {
        let mut theirs = other.volumes.values().filter(|volume| !volume.external);
        if theirs.any(|theirs| volumes_meet(ours, theirs)) {
            return Err(collision(&ours.name, &other.name));
        }
    }
    Ok(())
}

fn own_volumes(spec: &DeploymentSpec) -> Result<(), Fault> {
    let own: Vec<_> = spec.volumes.iter().filter(|(_, volume)| !volume.external).collect();
    for (i, (key, volume)) in own.iter().enumerate() {
        if own[..i].iter().any(|(_, other)| volumes_meet(volume, other)) {
            return Err(collision(&volume.name, format!("another volume than \"{key}\"")));
        }
    }
    Ok(())
}

fn volumes_meet(a: &VolumeSpec, b: &VolumeSpec) -> bool {
    a.name == b.name || is_indexed_name(a, &b.name) || is_indexed_name(b, &a.name)
}

/// Whether `name` is that of one replica's own volume of `volume`.
fn is_indexed_name(volume: &VolumeSpec, name: &str) -> bool {
    let index = name.strip_prefix(volume.name.as_str()).and_then(|rest| rest.strip_prefix('_'));
    volume.per_replica && index.is_some_and(is_index)
}

fn is_index(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// Volumes that nodes hold: not those of others, not with another driver, not half removed.
fn held_volumes(state: &State, spec: &DeploymentSpec) -> Result<(), Fault> {
    for (key, volume) in spec.volumes.iter().filter(|(_, volume)| !volume.external) {
        let same_name =
            |held: &&Volume| held.name == volume.name || is_indexed_name(volume, &held.name);
        let all_held = state.volumes.values().map(|held| held.as_ref());
        for held in all_held.filter(same_name) {
            held_volume(state, spec, (key, volume), held)?;
        }
    }
    Ok(())
}

fn held_volume(
    state: &State,
    spec: &DeploymentSpec,
    (key, volume): (&str, &VolumeSpec),
    held: &Volume,
) -> Result<(), Fault> {
    if held.removing {
        let message =
            format!("volume \"{}\" is being removed; try again when it is gone", held.name);
        return Err(Fault::new(ErrorCode::Conflict, message).with("operation", "delete"));
    }
    if held.deployment == spec.name && held.key == key {
        return same_volume(state, spec, (key, volume), held);
    }
    // A name the user chose may be taken over from a deployment that is gone; a derived one came
    // out equal by accident.
    let derived = volume.name == name::volume_name(&spec.name, key);
    if derived || state.deployments.contains_key(&held.deployment) {
        return Err(collision(&held.name, &held.deployment));
    }
    Ok(())
}

/// A volume that exists keeps its driver and options: the engine would not change them.
fn same_volume(
    state: &State,
    spec: &DeploymentSpec,
    (key, volume): (&str, &VolumeSpec),
    held: &Volume,
) -> Result<(), Fault> {
    // The engine adds the tag to the name of a plugin.
    let plain = |driver: &str| driver.trim_end_matches(":latest").to_owned();
    if plain(&held.driver) != plain(&volume.driver) {
        let (has, wants) = (&held.driver, &volume.driver);
        let message = format!("volume \"{key}\" exists with driver \"{has}\", not \"{wants}\"");
        return Err(invalid(message, "driver", "conflict"));
    }
    let current = state.current(&spec.name).and_then(|record| record.spec.volumes.get(key));
    if current.is_some_and(|current| current.driver_opts != volume.driver_opts) {
        let message = format!("volume \"{key}\" exists and cannot get other driver options");
        return Err(invalid(message, "driver_opts", "conflict"));
    }
    Ok(())
}

fn replicas(state: &State, spec: &DeploymentSpec, other: &DeploymentSpec) -> Result<(), Fault> {
    for ours in spec.services.values() {
        for theirs in other.services.values() {
            if spec.name == other.name && ours.name == theirs.name {
                continue;
            }
            let (a, b) = (prefix(spec, ours), prefix(other, theirs));
            if ids_meet(state, (&a, ours), (&b, theirs))
                || ids_meet(state, (&b, theirs), (&a, ours))
            {
                return Err(collision(&a, format!("{}/{}", other.name, theirs.name)));
            }
        }
    }
    Ok(())
}

/// What all replica ids of a service begin with, without the last `-`.
fn prefix(spec: &DeploymentSpec, service: &ServiceSpec) -> String {
    format!("{}-{}", spec.name, service.name)
}

/// Whether some id of the service with the shorter prefix could be one of the other service. Only
/// hostnames can hold the rest of a longer prefix; an index cannot.
fn ids_meet(
    state: &State,
    (short, short_service): (&str, &ServiceSpec),
    (long, long_service): (&str, &ServiceSpec),
) -> bool {
    let Some(rest) = long.strip_prefix(short) else { return false };
    if rest.is_empty() {
        return true;
    }
    let Some(rest) = rest.strip_prefix('-') else { return false };
    if short_service.mode != ServiceMode::Global {
        return false;
    }
    let slots = state.nodes.values().filter_map(|node| {
        node.name.as_str().strip_prefix(rest).and_then(|slot| slot.strip_prefix('-'))
    });
    let is_slot_of_long = |slot: &str| match long_service.mode {
        ServiceMode::Replicated { .. } => is_index(slot),
        ServiceMode::Global => state.nodes.values().any(|node| node.name.as_str() == slot),
    };
    slots.into_iter().any(is_slot_of_long)
}

fn ports(spec: &DeploymentSpec, other: &DeploymentSpec) -> Result<(), Fault> {
    for (_, port) in published(spec) {
        if let Some((owner, _)) = published(other).find(|(_, theirs)| ports_meet(port, theirs)) {
            return Err(port_conflict(port, &(other.name.clone(), owner.name.clone())));
        }
    }
    Ok(())
}

fn own_ports(spec: &DeploymentSpec) -> Result<(), Fault> {
    let own: Vec<_> = published(spec).collect();
    for (i, (_, port)) in own.iter().enumerate() {
        if let Some((owner, _)) = own[..i].iter().find(|(_, other)| ports_meet(port, other)) {
            return Err(port_conflict(port, &(spec.name.clone(), owner.name.clone())));
        }
    }
    Ok(())
}

fn published(spec: &DeploymentSpec) -> impl Iterator<Item = (&ServiceSpec, &PortSpec)> {
    let all = spec.services.values().flat_map(|s| s.ports.iter().map(move |port| (s, port)));
    all.filter(|(_, port)| port.published.is_some())
}

/// Whether two ports cannot both be open. Two that the engine publishes may be, on different nodes:
/// placement keeps them apart.
fn ports_meet(a: &PortSpec, b: &PortSpec) -> bool {
    let both_placed = a.mode == PortMode::Host && b.mode == PortMode::Host;
    let address = |port: &PortSpec| port.host_ip.filter(|ip| !ip.is_unspecified());
    let overlap = match (address(a), address(b)) {
        (Some(a), Some(b)) => a == b,
        (None, _) | (_, None) => true,
    };
    !both_placed && a.published == b.published && a.protocol == b.protocol && overlap
}

fn port_conflict(port: &PortSpec, (deployment, service): &ServiceKey) -> Fault {
    let number = port.published.unwrap_or_default();
    let protocol = match port.protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    };
    let owner = format!("{deployment}/{service}");
    let message = format!("port {number}/{protocol} is already published by {owner}");
    Fault::new(ErrorCode::PortConflict, message)
        .with("port", number)
        .with("protocol", protocol)
        .with("owner", owner)
}
