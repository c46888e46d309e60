//! `<dep>`, `<dep>/<service>`, a replica or an instance: what a call is about.

use jaco_model::command::RestartTarget;
use jaco_model::suggest::closest;
use jaco_model::{DeploymentName, ErrorCode, Fault, InstanceId, ReplicaId, ServiceName};
use jaco_state::State;

/// What a call is about; everything in it exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A whole deployment.
    Deployment(DeploymentName),
    /// One service of it.
    Service(DeploymentName, ServiceName),
    /// One replica, whatever its generation.
    Replica(ReplicaId),
    /// One generation of a replica.
    Instance(InstanceId),
}

impl Target {
    /// Reads a target; names that do not exist are refused with the closest one.
    pub(crate) fn parse(state: &State, text: &str) -> Result<Target, Fault> {
        if let Some((deployment, service)) = text.split_once('/') {
            let deployment = known_deployment(state, deployment)?;
            let service = known_service(state, &deployment, service)?;
            return Ok(Target::Service(deployment, service));
        }
        if state.deployments.contains_key(text) {
            return Ok(Target::Deployment(DeploymentName::from(text)));
        }
        if state.replicas.contains_key(text) {
            return Ok(Target::Replica(ReplicaId::from(text)));
        }
        if let Ok(instance) = text.parse::<InstanceId>()
            && state.replicas.contains_key(&instance.replica)
        {
            return Ok(Target::Instance(instance));
        }
        Err(unknown(state, text))
    }

    /// The deployment this is part of.
    pub(crate) fn deployment(&self, state: &State) -> Option<DeploymentName> {
        match self {
            Target::Deployment(name) | Target::Service(name, _) => Some(name.clone()),
            Target::Replica(id) | Target::Instance(InstanceId { replica: id, .. }) => {
                state.replicas.get(id).map(|replica| replica.deployment.clone())
            }
        }
    }

    /// Whether a replica belongs to it.
    pub(crate) fn holds(
        &self,
        deployment: &DeploymentName,
        service: &ServiceName,
        replica: &ReplicaId,
    ) -> bool {
        match self {
            Target::Deployment(name) => name == deployment,
            Target::Service(name, wanted) => name == deployment && wanted == service,
            Target::Replica(id) => id == replica,
            Target::Instance(instance) => instance.replica == *replica,
        }
    }

    /// The same as the target of a restart.
    pub(crate) fn restart(self) -> RestartTarget {
        match self {
            Target::Deployment(deployment) => RestartTarget::Deployment { deployment },
            Target::Service(deployment, service) => RestartTarget::Service { deployment, service },
            Target::Replica(replica) | Target::Instance(InstanceId { replica, .. }) => {
                RestartTarget::Replica { replica }
            }
        }
    }
}

/// A deployment that exists.
pub(crate) fn known_deployment(state: &State, name: &str) -> Result<DeploymentName, Fault> {
    if state.deployments.contains_key(name) {
        return Ok(DeploymentName::from(name));
    }
    let fault = Fault::new(
        ErrorCode::DeploymentNotFound,
        format!("there is no deployment named \"{name}\""),
    );
    Err(suggest(fault, name, state.deployments.keys().map(DeploymentName::as_str))
        .with("deployment", name))
}

/// A service of the deployment's current revision, or one that still has replicas.
fn known_service(
    state: &State,
    deployment: &DeploymentName,
    name: &str,
) -> Result<ServiceName, Fault> {
    let current = state.current(deployment);
    let mut services: Vec<ServiceName> =
        current.map(|record| record.spec.services.keys().cloned().collect()).unwrap_or_default();
    services.extend(state.services_with_replicas(deployment));
    if let Some(service) = services.iter().find(|service| service.as_str() == name) {
        return Ok(service.clone());
    }
    let fault = Fault::new(
        ErrorCode::UnknownService,
        format!("deployment \"{deployment}\" has no service named \"{name}\""),
    );
    Err(suggest(fault, name, services.iter().map(ServiceName::as_str)).with("service", name))
}

/// The fault for a name that is neither a deployment nor a replica.
fn unknown(state: &State, text: &str) -> Fault {
    let replicas = state.replicas.keys().map(ReplicaId::as_str);
    let names = state.deployments.keys().map(DeploymentName::as_str).chain(replicas);
    let code = if text.contains('-') { ErrorCode::NotFound } else { ErrorCode::DeploymentNotFound };
    let fault = Fault::new(code, format!("there is no deployment or replica named \"{text}\""));
    suggest(fault, text, names).with("name", text)
}

fn suggest<'a>(fault: Fault, text: &str, names: impl Iterator<Item = &'a str>) -> Fault {
    match closest(text, names) {
        Some(name) => fault.with("suggestion", name),
        None => fault,
    }
}
