//! Routes of all deployments, and who owns their domains.

use crate::State;
use jaco_model::name::{ANY_HOST, is_under_wildcard};
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

/// All routes of the domain that a host is served under: of that name, else of its wildcard, else
/// those for any host.
pub fn routes_of_host<'a>(state: &'a State, host: &str) -> Vec<RouteOf<'a>> {
    let all = || routed_specs(state).flat_map(|spec| spec.routes.iter().map(move |r| (spec, r)));
    let own: Vec<_> = all().filter(|(_, route)| route.domain == host).collect();
    if !own.is_empty() {
        return own;
    }
    let wild: Vec<_> = all().filter(|(_, route)| is_under_wildcard(host, &route.domain)).collect();
    match wild.is_empty() {
        false => wild,
        true => all().filter(|(_, route)| route.domain == ANY_HOST).collect(),
    }
}

/// The route with the longest path at a segment's border.
pub fn route_of_path<'a>(routes: &[RouteOf<'a>], path: &str) -> Option<RouteOf<'a>> {
    let holds = |prefix: &str| {
        path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            || prefix.is_empty()
    };
    let fitting = routes.iter().filter(|(_, route)| holds(&route.path));
    fitting.max_by_key(|(_, route)| route.path.len()).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use jaco_model::DeploymentName;
    use jaco_model::spec::{Challenge, TlsMode};
    use std::collections::{BTreeMap, BTreeSet};

    fn spec(paths: &[&str]) -> DeploymentSpec {
        let route = |path: &&str| RouteSpec {
            domain: "shop.test".to_owned(),
            path: (*path).to_owned(),
            target: None,
            tls: TlsMode::Auto,
            challenge: Challenge::Http,
            shared_with: BTreeSet::new(),
            options: Default::default(),
        };
        DeploymentSpec {
            name: DeploymentName::from("shop"),
            services: BTreeMap::new(),
            networks: BTreeMap::new(),
            volumes: BTreeMap::new(),
            history: None,
            routes: paths.iter().map(route).collect(),
            acme_email: None,
            acme_dns: BTreeMap::new(),
            secrets: BTreeMap::new(),
        }
    }

    #[test]
    fn the_longest_path_at_a_border_wins() {
        let spec = spec(&["", "/api", "/api/v2"]);
        let routes: Vec<RouteOf<'_>> = spec.routes.iter().map(|route| (&spec, route)).collect();
        let path = |asked| route_of_path(&routes, asked).map(|(_, route)| route.path.as_str());
        assert_eq!(path("/"), Some(""));
        assert_eq!(path("/apix"), Some(""));
        assert_eq!(path("/api"), Some("/api"));
        assert_eq!(path("/api/v2/x"), Some("/api/v2"));
        assert_eq!(route_of_path(&routes[1..], "/x"), None);
    }
}
