//! `scale`: numbers of replicas over those of the files.

use super::node::invalid;
use super::{Tx, with_suggestion};
use jaco_model::command::Reply;
use jaco_model::entity::ScaleOverride;
use jaco_model::spec::{DeploymentSpec, PlacementPolicy, ServiceMode, ServiceSpec};
use jaco_model::{DeploymentName, ErrorCode, Fault, ServiceName};
use std::collections::BTreeMap;

pub(super) fn scale(
    tx: &mut Tx<'_>,
    name: &DeploymentName,
    wanted: &BTreeMap<ServiceName, u32>,
) -> Result<Reply, Fault> {
    let old = tx.live_deployment(name)?;
    let spec = tx.state.current(name).map(|record| record.spec.clone());
    let mut deployment = old.as_ref().clone();
    let mut services = BTreeMap::new();
    for (service_name, &replicas) in wanted {
        let service = spec.as_ref().and_then(|spec| spec.services.get(service_name));
        let service = service.ok_or_else(|| unknown_service(spec.as_deref(), service_name))?;
        let file = scalable(service, replicas)?;
        let from = tx.state.wanted_replicas(&deployment, service).unwrap_or(file);
        deployment.scale.remove(service_name);
        if replicas != file {
            deployment.scale.insert(service_name.clone(), ScaleOverride { file, replicas });
        }
        services.insert(service_name.clone(), (from, replicas));
    }
    if deployment.scale == old.scale {
        return Ok(Reply::Scaled { services });
    }
    deployment.updated_at = tx.now;
    tx.state.put(deployment);
    tx.touch(name);
    for (service, (from, to)) in services.iter().filter(|(_, (from, to))| from != to) {
        let facts = [
            ("deployment", name.to_string()),
            ("service", service.to_string()),
            ("from", from.to_string()),
            ("to", to.to_string()),
        ];
        tx.audit("scale", &facts);
    }
    Ok(Reply::Scaled { services })
}

/// The file's number, if the service may have `replicas` instead.
fn scalable(service: &ServiceSpec, replicas: u32) -> Result<u32, Fault> {
    let name = &service.name;
    let ServiceMode::Replicated { replicas: file } = service.mode else {
        let message = format!("service \"{name}\" is global: it has one replica on each node");
        return Err(invalid(message, "replicas", "conflict").with("service", name.as_str()));
    };
    if service.singleton && replicas > 1 {
        let message = format!("service \"{name}\" is a singleton and cannot have {replicas}");
        return Err(invalid(message, "replicas", "conflict").with("service", name.as_str()));
    }
    let n_hosts = service.placement.hosts.len();
    if service.placement.policy == PlacementPolicy::Hosts && replicas as usize > n_hosts {
        let message = format!("service \"{name}\" is pinned to {n_hosts} hosts, one replica each");
        let hosts: Vec<&str> = service.placement.hosts.iter().map(AsRef::as_ref).collect();
        return Err(Fault::new(ErrorCode::ReplicasExceedPinnedHosts, message)
            .with("service", name.as_str())
            .with("replicas", replicas)
            .with("hosts", hosts.join(", ")));
    }
    Ok(file)
}

pub(super) fn unknown_service(spec: Option<&DeploymentSpec>, name: &ServiceName) -> Fault {
    let message = format!("there is no service \"{name}\"");
    let fault = Fault::new(ErrorCode::UnknownService, message).with("service", name.as_str());
    let known = spec.into_iter().flat_map(|spec| spec.services.keys());
    with_suggestion(fault, name.as_str(), known.map(ServiceName::as_str))
}
