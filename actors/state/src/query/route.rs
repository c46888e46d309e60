//! Routes of all deployments, and who owns their domains.

use crate::State;
use jaco_model::spec::{DeploymentSpec, RouteSpec};

/// A route and the deployment it is of.
pub type RouteOf<'a> = (&'a DeploymentSpec, &'a RouteSpec);

/// Specs of the deployments that are not being deleted. What leads to one that is goes first.
pub fn routed_specs(state: &State) -> impl Iterator<Item = &DeploymentSpec> {
    let live = state.deployments.values().filter(|deployment| deployment.deleting.is_none());
    live.filter_map(|deployment| Some(state.current(&deployment.name)?.spec.as_ref()))
}

/// Whose a domain is, among all routes of it: commands are refused that would make two owners, so
/// whoever shares it owns it, and without that there is one deployment.
pub fn owner_of<'a>(routes: &[RouteOf<'a>]) -> Option<RouteOf<'a>> {
    let shares = |(_, route): &&RouteOf<'a>| !route.shared_with.is_empty();
    routes.iter().find(shares).or_else(|| routes.first()).copied()
}
