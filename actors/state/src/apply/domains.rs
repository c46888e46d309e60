//! Who owns a domain: the deployment that was the first to route it, until it does so no more.
//!
//! Nothing is stored for it. Commands that would make two owners are refused, so whoever routes a
//! domain owns it, or was let in by the one who does.

use jaco_model::spec::{DeploymentSpec, RouteSpec};
use jaco_model::{DeploymentName, ErrorCode, Fault, name};

/// Checks the routes of `spec` against those of another deployment, which came first. `held` are
/// the routes that the deployment of `spec` has already: they are not taken away by a wildcard
/// that came later.
pub(super) fn check(
    spec: &DeploymentSpec,
    held: &[RouteSpec],
    other: &DeploymentSpec,
) -> Result<(), Fault> {
    for ours in &spec.routes {
        for theirs in &other.routes {
            one(ours, held, theirs, (&spec.name, &other.name))?;
        }
    }
    Ok(())
}

fn one(
    ours: &RouteSpec,
    held: &[RouteSpec],
    theirs: &RouteSpec,
    (us, them): (&DeploymentName, &DeploymentName),
) -> Result<(), Fault> {
    let is_same = ours.domain == theirs.domain;
    let is_under = name::is_under_wildcard(&ours.domain, &theirs.domain);
    if !is_same && !is_under {
        return Ok(());
    }
    let is_held = held.iter().any(|route| route.domain == ours.domain);
    // Nobody lets itself in: what a newcomer shares counts for nothing.
    let is_guest = is_held && ours.shared_with.contains(them);
    let is_shared = theirs.shared_with.contains(us) || is_guest;
    if is_under && (is_shared || is_held) {
        return Ok(());
    }
    if is_same && is_shared && ours.path != theirs.path {
        return one_mode(ours, theirs, them);
    }
    let place = format!("{}{}", ours.domain, ours.path);
    let message = match is_same {
        true if is_shared => format!("{place} is routed by deployment \"{them}\" already"),
        true => format!("{} belongs to deployment \"{them}\"", ours.domain),
        false => format!("{} is under {} of deployment \"{them}\"", ours.domain, theirs.domain),
    };
    let fault = Fault::new(ErrorCode::HostClaimed, message);
    Err(fault.with("domain", &ours.domain).with("owner", them))
}

/// A domain has one certificate, whoever adds to it.
fn one_mode(ours: &RouteSpec, theirs: &RouteSpec, them: &DeploymentName) -> Result<(), Fault> {
    if ours.tls == theirs.tls {
        return Ok(());
    }
    let message = format!("{} has another tls mode in deployment \"{them}\"", ours.domain);
    Err(Fault::new(ErrorCode::RouteTlsMixed, message).with("domain", &ours.domain))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jaco_model::spec::{Challenge, RouteOptions, TlsMode};
    use std::collections::BTreeMap;

    fn route(domain: &str, path: &str, shared: &[&str]) -> RouteSpec {
        RouteSpec {
            domain: domain.to_owned(),
            path: path.to_owned(),
            target: None,
            tls: TlsMode::Off,
            challenge: Challenge::Http,
            shared_with: shared.iter().map(|name| DeploymentName::from(*name)).collect(),
            options: RouteOptions::default(),
        }
    }

    fn deployment(name: &str, routes: Vec<RouteSpec>) -> DeploymentSpec {
        DeploymentSpec {
            name: DeploymentName::from(name),
            services: BTreeMap::new(),
            networks: BTreeMap::new(),
            volumes: BTreeMap::new(),
            history: None,
            routes,
            acme_email: None,
            acme_dns: BTreeMap::new(),
            secrets: BTreeMap::new(),
        }
    }

    fn refused(ours: RouteSpec, held: &[RouteSpec], theirs: RouteSpec) -> Option<ErrorCode> {
        let (a, b) = (deployment("a", vec![ours]), deployment("b", vec![theirs]));
        check(&a, held, &b).err().map(|fault| fault.code)
    }

    #[test]
    fn a_domain_has_one_owner_and_those_it_lets_in() {
        let claimed = Some(ErrorCode::HostClaimed);
        let x = |path| route("x.test", path, &[]);
        assert_eq!(refused(x("/a"), &[], x("")), claimed);
        assert_eq!(refused(x(""), &[], route("y.test", "", &[])), None);
        let shared = |path| route("x.test", path, &["a"]);
        assert_eq!(refused(x("/a"), &[], shared("")), None);
        assert_eq!(refused(x(""), &[], shared("")), claimed, "the very same route");
        assert_eq!(refused(x("/a"), &[], route("x.test", "", &["c"])), claimed);
        let mixed = RouteSpec { tls: TlsMode::Auto, ..x("/a") };
        assert_eq!(refused(mixed, &[], shared("")), Some(ErrorCode::RouteTlsMixed));
        let open = |path| route("x.test", path, &["b"]);
        assert_eq!(refused(open("/a"), &[], x("")), claimed, "nobody lets itself in");
        assert_eq!(refused(open(""), &[open("")], x("/a")), None, "the owner again");
    }

    #[test]
    fn a_wildcard_keeps_one_label_below_it() {
        let claimed = Some(ErrorCode::HostClaimed);
        let wild = |shared: &[&str]| route("*.x.test", "", shared);
        let name = || route("a.x.test", "", &[]);
        assert_eq!(refused(name(), &[], wild(&[])), claimed);
        assert_eq!(refused(name(), &[], wild(&["a"])), None);
        assert_eq!(refused(name(), &[name()], wild(&[])), None, "it was there before");
        assert_eq!(refused(wild(&[]), &[], name()), None, "it does not cover what is taken");
        assert_eq!(refused(route("a.b.x.test", "", &[]), &[], wild(&[])), None);
        assert_eq!(refused(route("x.test", "", &[]), &[], wild(&[])), None);
    }
}
