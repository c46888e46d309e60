//! The hash by which replicas are compared: equal hashes, no replacement.
//!
//! It covers what makes the container: its configuration, the probes, the definitions of the
//! networks and volumes it uses, the ports that the engine publishes, and the image's digest. The
//! number of replicas, placement, policies, documented ports and who may join a network are not in it, so
//! changing them replaces nothing. It is keyed because it is shown to people and must not help to guess an
//! environment value.

use hmac::{Hmac, KeyInit, Mac};
use jaco_model::entity::ImagePin;
use jaco_model::spec::{
    ContainerSpec, DeploymentSpec, MountKind, NetworkSpec, PortMode, PortSpec, ProbeSpec,
    PullPolicy, ServiceSpec, Sharing, VolumeSpec,
};
use serde::Serialize;
use sha2::Sha256;
use std::collections::BTreeMap;
use std::fmt::Write;

/// What the hash is made of. The order of fields is part of the format.
#[derive(Serialize)]
struct Canonical<'a> {
    image: &'a str,
    container: &'a ContainerSpec,
    probe: &'a Option<ProbeSpec>,
    networks: BTreeMap<&'a str, NetworkSpec>,
    volumes: BTreeMap<&'a str, &'a VolumeSpec>,
    ports: Vec<&'a PortSpec>,
}

/// The hash of one service as 64 hex digits. `key` is the cluster's, in hex.
pub(super) fn spec_hash(
    key: &str,
    deployment: &DeploymentSpec,
    service: &ServiceSpec,
    image: &ImagePin,
) -> String {
    let container = effective(&service.container);
    let networks = container.networks.iter().map(|attachment| attachment.network.as_str());
    let volumes = container.mounts.iter().filter_map(|mount| match &mount.kind {
        MountKind::Volume { volume, .. } => Some(volume.as_str()),
        MountKind::Anonymous
        | MountKind::Bind { .. }
        | MountKind::Tmpfs { .. }
        | MountKind::Image { .. } => None,
    });
    let canonical = Canonical {
        image: &image.digest,
        container: &container,
        probe: &service.probe,
        networks: definitions(networks, &deployment.networks)
            .into_iter()
            .map(|(key, network)| (key, NetworkSpec { shared: Sharing::Nobody, ..network.clone() }))
            .collect(),
        volumes: definitions(volumes, &deployment.volumes),
        ports: service.ports.iter().filter(|port| is_engine_port(port)).collect(),
    };
    let mut mac = Hmac::<Sha256>::new_from_slice(&unhex(key)).expect("HMAC takes keys of any size");
    mac.update(&crate::digest::canonical(&canonical));
    let mut text = String::with_capacity(64);
    for byte in mac.finalize().into_bytes() {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
    }
    text
}

/// The configuration without what the digest replaces: two tags of one image are one container.
fn effective(container: &ContainerSpec) -> ContainerSpec {
    let image = String::new();
    ContainerSpec { image, pull_policy: PullPolicy::default(), ..container.clone() }
}

fn definitions<'a, T>(
    names: impl Iterator<Item = &'a str>,
    all: &'a BTreeMap<String, T>,
) -> BTreeMap<&'a str, &'a T> {
    names.filter_map(|name| all.get_key_value(name)).map(|(k, v)| (k.as_str(), v)).collect()
}

/// Those that the engine publishes; the others are listeners of the daemon.
fn is_engine_port(port: &PortSpec) -> bool {
    port.published.is_some() && port.mode == PortMode::Host
}

/// The bytes of a hex text whose form `cluster init` has checked.
fn unhex(text: &str) -> Vec<u8> {
    let pairs = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap_or_default());
    pairs.filter_map(|pair| u8::from_str_radix(pair, 16).ok()).collect()
}
