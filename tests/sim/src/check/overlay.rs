//! What must hold of the containers' network once the cluster has come to rest.

use crate::host::{Host, Process};
use ipnet::Ipv4Net;
use jaco_dns_core::{Answer, QueryName, Question, answer, kind};
use jaco_model::entity::{Instance, InstanceState};
use jaco_netmesh_core::{PathCondition, PublicKey};
use jaco_state::State;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

/// The filter in the kernel is the one that the state asks for, the tunnel leads to every other
/// member's addresses and packets get there and back, and every running container is
/// told of the ready replicas of its deployment's services, of all of them and of nobody else.
pub(super) fn check(host: &Host, process: &Process, state: &State) -> Result<(), String> {
    check_filter(host, process)?;
    check_mesh(host, process, state)?;
    for asker in state.instances_on(&process.me).filter(|instance| runs(instance)) {
        for source in addresses(asker) {
            check_names(host, process, state, asker, source)?;
        }
    }
    Ok(())
}

fn check_filter(host: &Host, process: &Process) -> Result<(), String> {
    if !process.firewall.is_settled() {
        return Err(format!("{}: the filter is {:?}", host.id, process.firewall.isolation()));
    }
    let Some(policy) = process.firewall.policy() else {
        return Err(format!("{}: the filter has no policy", host.id));
    };
    match host.kernel.table() == Some(&jaco_firewall_core::ruleset(policy)) {
        true => Ok(()),
        false => Err(format!("{}: the filter in the kernel is another one", host.id)),
    }
}

fn check_mesh(host: &Host, process: &Process, state: &State) -> Result<(), String> {
    if state.nodes.get(&process.me).is_none_or(|node| node.mesh_address.is_none()) {
        return Ok(());
    }
    let view = &process.mesh;
    if let Some(fault) = &view.fault {
        return Err(format!("{}: the mesh is at fault: {fault}", host.id));
    }
    let broken = view.paths.iter().find(|path| path.condition != PathCondition::Ok);
    if let Some(path) = broken {
        return Err(format!("{}: the path to {} is {:?}", host.id, path.node, path.condition));
    }
    let tunnel = &host.kernel.tunnel;
    for node in state.nodes.values().filter(|node| node.id != process.me) {
        let own = node.mesh_address.map(Ipv4Net::from);
        let blocks = state.blocks_on(&node.id).map(|(_, block)| block.net);
        for net in own.into_iter().chain(blocks) {
            let key = node.facts.mesh.as_ref().and_then(|mesh| mesh.public_key.parse().ok());
            let peer = key.and_then(|key: PublicKey| tunnel.peers.get(&key));
            let leads = peer.is_some_and(|peer| peer.allowed.iter().any(|to| to.contains(&net)));
            if !leads {
                return Err(format!("{}: {net} of {} is not in the tunnel", host.id, node.name));
            }
        }
    }
    Ok(())
}

fn check_names(
    host: &Host,
    process: &Process,
    state: &State,
    asker: &Instance,
    source: Ipv4Addr,
) -> Result<(), String> {
    let spec = state.revision(&asker.deployment, asker.revision).map(|record| &record.spec);
    let Some(spec) = spec else { return Ok(()) };
    for service in spec.services.keys() {
        let Some(name) = QueryName::from_text(service.as_str()) else { continue };
        let ready = state.instances.values().filter(|instance| {
            instance.deployment == asker.deployment
                && instance.service == *service
                && instance.status.state.is_ready()
        });
        let expected: BTreeSet<Ipv4Addr> = ready.flat_map(|ready| addresses(ready)).collect();
        let question = Question { name: &name, kind: kind::A };
        let told: BTreeSet<Ipv4Addr> = match answer(&process.zones, source, question) {
            Answer::Addresses(addresses) => addresses.iter().copied().collect(),
            Answer::Empty { .. } => BTreeSet::new(),
            other => return Err(format!("{} is told {other:?} of {service}", asker.id)),
        };
        if told != expected {
            return Err(format!(
                "{} on {} is told {told:?} of {service}, which is at {expected:?}",
                asker.id, host.id
            ));
        }
    }
    Ok(())
}

fn runs(instance: &Instance) -> bool {
    matches!(instance.status.state, InstanceState::Running | InstanceState::Degraded)
}

fn addresses(instance: &Instance) -> impl Iterator<Item = Ipv4Addr> {
    instance.status.addresses.values().filter_map(|address| address.parse().ok())
}
