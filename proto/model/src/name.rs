//! Names derived from other names, in one place, because users script against them.

use crate::{DeploymentName, Generation, InstanceId, NodeName, ReplicaId, ServiceName};

/// The interface of the mesh on every node. The packet filter, the engine's networks and the tunnel
/// must mean the same one.
pub const MESH_INTERFACE: &str = "wg-jaco";

/// What the linux bridges of all our networks begin with; no other interface may.
pub const BRIDGE_PREFIX: &str = "jaco-";

/// `<deployment>-<service>-<index>`.
pub fn replica_id(deployment: &DeploymentName, service: &ServiceName, index: u32) -> ReplicaId {
    ReplicaId::new(format!("{deployment}-{service}-{index}"))
}

/// `<deployment>-<service>-<hostname>`: a replica of a global service.
pub fn global_replica_id(
    deployment: &DeploymentName,
    service: &ServiceName,
    node: &NodeName,
) -> ReplicaId {
    ReplicaId::new(format!("{deployment}-{service}-{node}"))
}

/// The next life of a replica; also its container's name.
pub fn instance_id(replica: &ReplicaId, generation: Generation) -> InstanceId {
    InstanceId { replica: replica.clone(), generation }
}

/// The Docker network of one (deployment, network).
pub fn network_name(deployment: &DeploymentName, network: &str) -> String {
    format!("jaco_{deployment}_{network}")
}

/// The Docker volume of one (deployment, volume key).
pub fn volume_name(deployment: &DeploymentName, key: &str) -> String {
    format!("jaco_{deployment}_{key}")
}

/// The domain of routes for hosts that nobody else routes.
pub const ANY_HOST: &str = "*";

/// Whether a wildcard such as `*.example.com` stands for a name: exactly one label more, no
/// wildcard itself (RFC 9525, 6.3).
pub fn is_under_wildcard(name: &str, wildcard: &str) -> bool {
    let parent = name.split_once('.').filter(|(label, _)| *label != "*").map(|(_, parent)| parent);
    parent.is_some_and(|parent| wildcard.strip_prefix("*.") == Some(parent))
}

/// Where the record of a domain's DNS-01 challenge stands (RFC 8555 §8.4). A wildcard shares it with
/// the domain above it.
pub fn challenge_name(domain: &str) -> String {
    format!("_acme-challenge.{}", domain.strip_prefix("*.").unwrap_or(domain))
}

/// Labels below a country's that are no registrant's.
const SECOND_LEVELS: [&str; 19] = [
    "ac", "co", "com", "edu", "gob", "gov", "gv", "ltd", "me", "mil", "ne", "net", "nhs", "nom",
    "or", "org", "plc", "sch", "school",
];

/// The domain that somebody registered, as far as its name tells: limits of authorities are by
/// that. Without the list of public suffixes it may be too short, never too long by more than a
/// registrant whose own name is one of the usual second levels.
pub fn registered_domain(domain: &str) -> &str {
    let dots: Vec<usize> = domain.match_indices('.').map(|(at, _)| at).collect();
    let from = |nth: usize| dots.len().checked_sub(nth).and_then(|at| dots.get(at));
    let tail = |nth: usize| from(nth).map_or(domain, |at| domain.get(at + 1..).unwrap_or(domain));
    let two = tail(2);
    let is_shared = two
        .split_once('.')
        .is_some_and(|(second, country)| country.len() == 2 && SECOND_LEVELS.contains(&second));
    if is_shared { tail(3) } else { two }
}

/// Names no deployment may have.
pub const RESERVED_DEPLOYMENTS: [&str; 4] = ["jaco", "internal", "tasks", "localhost"];

/// Whether `name` is a legal deployment name: `[a-z0-9][a-z0-9_-]{0,39}` without `-` or `_` at
/// the end, and not reserved.
pub fn is_deployment_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    let edge = |b: Option<&u8>| b.is_some_and(|b| *b != b'-' && *b != b'_');
    bytes.len() <= 40
        && bytes.iter().all(|b| legal(*b))
        && edge(bytes.first())
        && edge(bytes.last())
        && !RESERVED_DEPLOYMENTS.contains(&name)
}

/// The nearest legal deployment name: lower case, every other run of characters one `-`, at most
/// 40 characters. `None` when nothing legal is left.
pub fn normalise_deployment_name(text: &str) -> Option<DeploymentName> {
    let mut name = String::new();
    for c in text.chars().flat_map(char::to_lowercase) {
        if c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' {
            name.push(c);
        } else if !name.ends_with('-') {
            name.push('-');
        }
    }
    let trim = |c: char| c == '-' || c == '_';
    let mut name = name.trim_matches(trim).to_owned();
    name.truncate(40);
    let name = name.trim_end_matches(trim);
    is_deployment_name(name).then(|| DeploymentName::new(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directory_names_become_deployment_names() {
        for (text, name) in [
            ("My Shop", Some("my-shop")),
            ("..weird..", Some("weird")),
            ("a__b", Some("a__b")),
            ("日本", None),
            ("jaco", None),
        ] {
            assert_eq!(normalise_deployment_name(text).as_ref().map(DeploymentName::as_str), name);
        }
    }

    #[test]
    fn domains_end_at_what_somebody_registered() {
        for (domain, registered) in [
            ("example.com", "example.com"),
            ("a.b.example.com", "example.com"),
            ("*.example.com", "example.com"),
            ("shop.example.co.uk", "example.co.uk"),
            ("example.co.uk", "example.co.uk"),
            ("www.bmw.de", "bmw.de"),
            ("localhost", "localhost"),
        ] {
            assert_eq!(registered_domain(domain), registered);
        }
        assert_eq!(challenge_name("*.example.com"), challenge_name("example.com"));
    }
}
