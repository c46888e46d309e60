//! Networks of one deployment that others join: who may, and what their owner may not take away.

use super::claims::live_specs;
use super::with_suggestion;
use crate::State;
use jaco_model::entity::Scope;
use jaco_model::spec::{DeploymentSpec, NetworkSpec};
use jaco_model::{DeploymentName, ErrorCode, Fault};

/// Checks `spec` against the owners of the networks it joins, and against those who joined its own.
pub(super) fn check(state: &State, spec: &DeploymentSpec) -> Result<(), Fault> {
    for (key, network) in &spec.networks {
        if let Some(name) = &network.external {
            joined(state, spec, key, name)?;
        }
    }
    for guest in live_specs(state, &spec.name) {
        for (scope, _) in joined_networks(guest).filter(|(scope, _)| scope.deployment == spec.name)
        {
            if !own(spec, &scope).is_some_and(|network| network.shared.admits(&guest.name)) {
                return Err(in_use(&scope, guest));
            }
        }
    }
    Ok(())
}

/// Refuses to delete a deployment whose networks others are in.
pub(super) fn check_unused(state: &State, name: &DeploymentName) -> Result<(), Fault> {
    for guest in live_specs(state, name) {
        if let Some((scope, _)) =
            joined_networks(guest).find(|(scope, _)| scope.deployment == *name)
        {
            return Err(in_use(&scope, guest));
        }
    }
    Ok(())
}

/// The networks of others that a deployment declares.
fn joined_networks(spec: &DeploymentSpec) -> impl Iterator<Item = (Scope, &NetworkSpec)> {
    let external = spec.networks.iter().filter(|(_, network)| network.external.is_some());
    external.map(|(key, network)| (spec.scope_of(key), network))
}

/// A deployment's own network.
fn own<'a>(owner: &'a DeploymentSpec, scope: &Scope) -> Option<&'a NetworkSpec> {
    owner.networks.get(scope.key()).filter(|network| network.external.is_none())
}

fn joined(state: &State, spec: &DeploymentSpec, key: &str, name: &str) -> Result<(), Fault> {
    let scope = spec.scope_of(key);
    let unknown = |message: String| {
        Fault::new(ErrorCode::UnknownNetwork, message).with("network", name).with("key", key)
    };
    if scope.deployment == spec.name {
        return Err(unknown(format!("external network \"{key}\" is the deployment's own")));
    }
    let owner = state.deployments.get(&scope.deployment).filter(|owner| owner.deleting.is_none());
    let Some(owner) = owner.and_then(|owner| state.current(&owner.name)) else {
        let message = format!("there is no deployment \"{}\" with a network", scope.deployment);
        let all = state.deployments.keys().map(|name| name.as_str());
        return Err(with_suggestion(unknown(message), scope.deployment.as_str(), all));
    };
    let shared = || owner.spec.networks.iter().filter(|(_, n)| n.shared.admits(&spec.name));
    match own(&owner.spec, &scope) {
        Some(network) if network.shared.admits(&spec.name) => Ok(()),
        Some(_) => {
            let message = format!("{} does not share its network with {}", scope, spec.name);
            Err(Fault::new(ErrorCode::Forbidden, message)
                .with("network", name)
                .with("owner", scope.deployment.as_str())
                .with("hint", "in the owner's compose file: x-jaco: {shared: true} on the network"))
        }
        None => {
            let message = format!("{} has no network \"{}\"", scope.deployment, scope.network);
            let all = shared().map(|(key, _)| key.as_str());
            Err(with_suggestion(unknown(message), scope.key(), all))
        }
    }
}

fn in_use(scope: &Scope, guest: &DeploymentSpec) -> Fault {
    let message = format!("{} is in the network {scope}", guest.name);
    Fault::new(ErrorCode::InUse, message)
        .with("network", scope)
        .with("by", guest.name.as_str())
        .with("hint", "take the network out of that deployment, or delete it, first")
}
