//! What a name means, by what is deployed: independent of what any responder says.

use crate::seat::Seat;
use jaco_model::DeploymentName;
use jaco_model::entity::{Replica, Scope};
use jaco_model::spec::{DeploymentSpec, NetworkMode, Protocol, ServiceSpec};
use jaco_model::suggest::closest;
use jaco_state::State;
use std::collections::BTreeSet;

/// The zone under which every name of the cluster also exists.
const ZONE: &str = "jaco.internal";

/// What a name means to a container.
#[derive(Debug)]
pub(crate) enum Meaning<'s> {
    /// A service by one of its names.
    Service(Named<'s>),
    /// One replica.
    Replica(&'s Replica),
    /// The name of an address.
    Reverse,
    /// A name of the world outside.
    Outside,
    /// A name that would be the cluster's, and is nothing.
    Unknown {
        /// The closest name that the container knows.
        near: Option<String>,
        /// Deployments behind the wall that have such a name.
        elsewhere: Vec<DeploymentName>,
    },
}

/// A service and by what it was named.
#[derive(Debug)]
pub(crate) struct Named<'s> {
    pub(crate) spec: &'s DeploymentSpec,
    pub(crate) service: &'s ServiceSpec,
    pub(crate) by: By,
}

/// Which kind of name a service was found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// Its own.
    Name,
    /// A further name in some of its networks.
    Alias,
    /// All that runs, ready or not.
    Tasks,
    /// A named port.
    Port,
}

impl Named<'_> {
    /// The networks in which the name holds.
    pub(crate) fn scopes(&self, name: &str) -> Vec<Scope> {
        let all = scopes(self.spec, self.service);
        if self.by != By::Alias {
            return all;
        }
        let word = bare(self.spec.name.as_str(), name);
        let attached = self.service.container.networks.iter();
        let named =
            attached.filter(|one| one.aliases.iter().any(|a| a.eq_ignore_ascii_case(&word)));
        named.map(|one| self.spec.scope_of(&one.network)).filter(|s| all.contains(s)).collect()
    }
}

/// The networks of a service's containers, also of one in another's namespace.
pub(crate) fn scopes(spec: &DeploymentSpec, service: &ServiceSpec) -> Vec<Scope> {
    match &service.container.network_mode {
        NetworkMode::Service(other) => spec.scopes_of(spec.services.get(other).unwrap_or(service)),
        _ => spec.scopes_of(service),
    }
}

/// A name without the zone and without the deployment at its end.
fn bare(deployment: &str, name: &str) -> String {
    let name = name.strip_suffix(ZONE).map_or(name, |rest| rest.trim_end_matches('.'));
    let short = name.strip_suffix(deployment).and_then(|rest| rest.strip_suffix('.'));
    short.unwrap_or(name).to_owned()
}

/// What `name`, in lower case, means to the container in a seat.
pub(crate) fn meaning<'s>(state: &'s State, seat: &Seat<'_>, name: &str) -> Meaning<'s> {
    if name.ends_with(".in-addr.arpa") {
        return Meaning::Reverse;
    }
    let rest = name.strip_suffix(ZONE).and_then(|rest| rest.strip_suffix('.'));
    let is_zoned = rest.is_some();
    let rest = rest.unwrap_or(name);
    let own = &seat.instance.deployment;
    let guests = guests(state, seat);
    for deployment in std::iter::once(own).chain(&guests) {
        if let Some(found) = in_deployment(state, deployment, rest) {
            return found;
        }
    }
    let qualified = state.deployments.keys().find_map(|deployment| {
        let word = rest.strip_suffix(deployment.as_str())?.strip_suffix('.')?;
        Some((deployment, word))
    });
    if let Some((deployment, word)) = qualified {
        if let Some(found) = in_deployment(state, deployment, word) {
            return found;
        }
        let known = names_of(state, deployment);
        let near = closest(word, known.iter().map(String::as_str));
        let near = near.map(|near| format!("{near}.{deployment}.{ZONE}"));
        return Meaning::Unknown { near, elsewhere: Vec::new() };
    }
    if rest.contains('.') && !is_zoned && !rest.starts_with("tasks.") && !rest.starts_with('_') {
        return Meaning::Outside;
    }
    let mut known = names_of(state, own);
    known.extend(guests.iter().flat_map(|guest| names_of(state, guest)));
    let near = closest(rest, known.iter().map(String::as_str)).map(str::to_owned);
    let has = |name: &&DeploymentName| in_deployment(state, name, rest).is_some();
    let elsewhere = state.deployments.keys().filter(has).cloned().collect();
    Meaning::Unknown { near, elsewhere }
}

/// Other deployments whose containers share a network with a seat.
fn guests(state: &State, seat: &Seat<'_>) -> BTreeSet<DeploymentName> {
    let shares = |name: &&DeploymentName| {
        **name != seat.instance.deployment
            && state.current(name).is_some_and(|record| {
                let services = record.spec.services.values();
                let mut all = services.flat_map(|service| scopes(&record.spec, service));
                all.any(|scope| seat.networks.contains_key(&scope))
            })
    };
    state.deployments.keys().filter(shares).cloned().collect()
}

fn in_deployment<'s>(
    state: &'s State,
    deployment: &DeploymentName,
    word: &str,
) -> Option<Meaning<'s>> {
    let spec = &state.current(deployment)?.spec;
    let named = |word: &str, by: By| {
        let service =
            spec.services.values().find(|one| one.name.as_str().eq_ignore_ascii_case(word));
        service.map(|service| Named { spec, service, by })
    };
    let aliased = |word: &str| {
        let has = |service: &&ServiceSpec| {
            let mut aliases = service.container.networks.iter().flat_map(|one| &one.aliases);
            aliases.any(|alias| alias.eq_ignore_ascii_case(word))
        };
        spec.services.values().find(has).map(|service| Named { spec, service, by: By::Alias })
    };
    if let Some(found) = named(word, By::Name) {
        return Some(Meaning::Service(found));
    }
    if let Some(found) = aliased(word) {
        return Some(Meaning::Service(found));
    }
    if let Some(found) = word.strip_prefix("tasks.").and_then(|word| named(word, By::Tasks)) {
        return Some(Meaning::Service(found));
    }
    if let Some((port, protocol, word)) = srv(word) {
        let found = named(word, By::Port).or_else(|| aliased(word))?;
        let has = found
            .service
            .ports
            .iter()
            .any(|spec| spec.name.as_deref() == Some(port) && spec.protocol == protocol);
        return has.then_some(Meaning::Service(Named { by: By::Port, ..found }));
    }
    let replicas = state.replicas.values().map(AsRef::as_ref);
    let mut replicas = replicas.filter(|one: &&Replica| one.deployment == *deployment);
    replicas.find(|one| one.id.as_str().eq_ignore_ascii_case(word)).map(Meaning::Replica)
}

/// Reads `_<port>._<tcp|udp>.<name>`.
fn srv(word: &str) -> Option<(&str, Protocol, &str)> {
    let (port, rest) = word.strip_prefix('_')?.split_once('.')?;
    let (protocol, name) = rest.split_once('.')?;
    let protocol = match protocol {
        "_tcp" => Protocol::Tcp,
        "_udp" => Protocol::Udp,
        _ => return None,
    };
    Some((port, protocol, name))
}

/// Names that a deployment gives, for suggestions.
fn names_of(state: &State, deployment: &DeploymentName) -> BTreeSet<String> {
    let Some(record) = state.current(deployment) else { return BTreeSet::new() };
    let mut names = BTreeSet::new();
    for service in record.spec.services.values() {
        names.insert(service.name.to_string());
        let aliases = service.container.networks.iter().flat_map(|one| &one.aliases);
        names.extend(aliases.cloned());
    }
    names
}
