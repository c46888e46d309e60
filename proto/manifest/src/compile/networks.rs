//! Networks: how a service attaches, and what the top level declares.

use super::container::mac_address;
use super::cx::{Cx, Fields, Item, Place, Spot};
use super::schema::{Schema, closed, compose, h, r, s, w};
use super::security::joined_service;
use super::service::Join;
use crate::Reason;
use jaco_model::DeploymentName;
use jaco_model::name::is_deployment_name;
use jaco_model::spec::{NetworkAttachment, NetworkMode, NetworkSpec, Sharing};
use std::collections::{BTreeMap, BTreeSet};

const MOVES: &str =
    "addresses come from per-node blocks and change when a replica moves; use the service name";
const ATTACHMENT: Schema = compose(&[
    h("aliases"),
    w("driver_opts", "the mesh network has no driver options"),
    h("gw_priority"),
    h("interface_name"),
    r("ipv4_address", MOVES),
    r("ipv6_address", MOVES),
    w("link_local_ips", "the mesh network assigns addresses"),
    h("mac_address"),
    h("priority"),
]);
const ONE_POOL: &str = "addresses come from the cluster's pool";
const NETWORK: Schema = compose(&[
    s("attachable"),
    h("driver"),
    w("driver_opts", "the mesh network has no driver options"),
    w("enable_ipv4", ONE_POOL),
    w("enable_ipv6", ONE_POOL),
    h("external"),
    h("internal"),
    w("ipam", ONE_POOL),
    h("labels"),
    h("name"),
    h("x-jaco"),
]);
const EXTENSION: Schema = closed(&[h("block_prefix"), h("shared")]);

/// The network of services that name none.
pub(super) const DEFAULT: &str = "_default";

/// `default` is how compose files name the implicit network.
pub(super) fn canonical_key(key: &str) -> &str {
    if key == "default" { DEFAULT } else { key }
}

/// Decodes `network_mode`.
pub(super) fn decode_mode(
    cx: &mut Cx,
    fields: &Fields<'_>,
    joins: &mut Vec<Spot<Join>>,
) -> NetworkMode {
    let Some(item) = fields.get("network_mode") else { return NetworkMode::Networks };
    let Some(text) = item.text(cx) else { return NetworkMode::Networks };
    if let Some(networks) = fields.get("networks").filter(|_| text != "default") {
        let message = "networks and network_mode exclude each other";
        cx.fail(&networks.place, Reason::Conflict, message);
    }
    if let Some(service) = joined_service(cx, &item, "network_mode", text, joins) {
        return NetworkMode::Service(service);
    }
    match text {
        "none" => NetworkMode::None,
        "host" => NetworkMode::Host,
        "default" => NetworkMode::Networks,
        "bridge" | "nat" => {
            let message = "not supported: it bypasses isolation; leave it out or use networks";
            cx.fail(&item.place, Reason::Unsupported, message);
            NetworkMode::Networks
        }
        _ if text.starts_with("container:") || text.starts_with("service:") => {
            NetworkMode::Networks
        }
        _ => {
            cx.unknown_word(&item.place, text, &["none", "host", "service:<name>"]);
            NetworkMode::Networks
        }
    }
}

/// Decodes `networks` of a service: a list of names, or a map with options.
pub(super) fn decode_attachments(cx: &mut Cx, fields: &Fields<'_>) -> Vec<Spot<NetworkAttachment>> {
    let Some(item) = fields.get("networks") else { return Vec::new() };
    let mut attachments: Vec<Spot<NetworkAttachment>> = Vec::new();
    let mut seen = BTreeSet::new();
    if item.is_list() {
        for entry in item.list(cx) {
            let Some(key) = entry.word(cx) else { continue };
            if !seen.insert(canonical_key(&key).to_owned()) {
                cx.fail(&entry.place, Reason::Conflict, format!("{key} is listed twice"));
                continue;
            }
            attachments.push(entry.spot(named(&key)));
        }
        return attachments;
    }
    for (key, place, value) in item.entries(cx) {
        attachments.push(Spot::new(attachment(cx, key, &value), &place));
    }
    attachments
}

/// A plain attachment to one network.
pub(super) fn named(key: &str) -> NetworkAttachment {
    NetworkAttachment { network: canonical_key(key).to_owned(), ..NetworkAttachment::default() }
}

fn attachment(cx: &mut Cx, key: &str, item: &Item<'_>) -> NetworkAttachment {
    let fields = item.map(cx, &ATTACHMENT);
    NetworkAttachment {
        aliases: fields.strings(cx, "aliases"),
        priority: fields.int(cx, "priority", i64::MIN..=i64::MAX).unwrap_or_default(),
        gw_priority: fields.int(cx, "gw_priority", i64::MIN..=i64::MAX).unwrap_or_default(),
        interface_name: fields.word(cx, "interface_name"),
        mac_address: fields.get("mac_address").and_then(|item| mac_address(cx, &item)),
        ..named(key)
    }
}

/// Decodes the top level's `networks`.
pub(super) fn decode_declared(
    cx: &mut Cx,
    root: &Fields<'_>,
) -> BTreeMap<String, Spot<NetworkSpec>> {
    let mut networks = BTreeMap::new();
    let Some(item) = root.get("networks") else { return networks };
    for (key, place, value) in item.entries(cx) {
        let network = declared(cx, &place, &value);
        networks.insert(canonical_key(key).to_owned(), Spot::new(network, &place));
    }
    networks
}

fn declared(cx: &mut Cx, place: &Place, item: &Item<'_>) -> NetworkSpec {
    let fields = item.map(cx, &NETWORK);
    check_driver(cx, &fields);
    let (block_prefix, shared) = decode_extension(cx, &fields);
    let external = fields.get("external").and_then(|item| external(cx, &item));
    let name = fields.word(cx, "name");
    if external.is_none()
        && let Some(item) = fields.get("name")
    {
        cx.warn(&item.place, "ignored: a network is named after its deployment and key");
    }
    if external.is_some() {
        for key in ["internal", "labels", "x-jaco"] {
            if let Some(item) = fields.get(key) {
                let message = "an external network is as its owner declares it; leave this out";
                cx.fail(&item.place, Reason::Conflict, message);
            }
        }
    }
    NetworkSpec {
        internal: fields.boolean(cx, "internal").unwrap_or_default(),
        external: external.map(|old_name| full_name(cx, place, name.or(old_name))),
        labels: fields.pairs(cx, "labels"),
        block_prefix,
        shared,
    }
}

/// The name of another deployment's network, checked as far as that can be done without a cluster.
fn full_name(cx: &mut Cx, place: &Place, name: Option<String>) -> String {
    const FORM: &str = "an external network is another deployment's: name: <deployment>/<network>";
    let Some(name) = name else {
        cx.fail(place, Reason::Required, FORM);
        return String::new();
    };
    let owner = match name.split_once('/') {
        Some((owner, key)) if !key.is_empty() && !key.contains('/') => Some(owner),
        Some(_) => None,
        None => name.strip_prefix("jaco_").and_then(|rest| Some(rest.split_once('_')?.0)),
    };
    if !owner.is_some_and(is_deployment_name) {
        cx.fail(place, Reason::Format, format!("{FORM}, got \"{name}\""));
    }
    name
}

/// `true`, or the old map with a name. Outer `None`: not external.
pub(super) fn external(cx: &mut Cx, item: &Item<'_>) -> Option<Option<String>> {
    const EXTERNAL: Schema = compose(&[h("name")]);
    if item.is_map() {
        return Some(item.map(cx, &EXTERNAL).word(cx, "name"));
    }
    item.boolean(cx)?.then_some(None)
}

fn check_driver(cx: &mut Cx, fields: &Fields<'_>) {
    let Some(item) = fields.get("driver") else { return };
    let Some(text) = item.text(cx) else { return };
    if !matches!(text, "" | "bridge" | "overlay" | "default") {
        let message = format!("not supported: driver {text} bypasses isolation; leave it out");
        cx.fail(&item.place, Reason::Unsupported, message);
    }
}

/// The prefix of the network's blocks, if it asks for one, and who else may join.
fn decode_extension(cx: &mut Cx, fields: &Fields<'_>) -> (Option<u8>, Sharing) {
    let Some(item) = fields.get("x-jaco") else { return (None, Sharing::Nobody) };
    let fields = item.map(cx, &EXTENSION);
    let shared = fields.get("shared").map(|item| sharing(cx, &item)).unwrap_or_default();
    let prefix = fields.get("block_prefix").and_then(|item| item.int(cx, 22..=28));
    (prefix.and_then(|prefix| u8::try_from(prefix).ok()), shared)
}

/// `true`, or a list of deployments.
fn sharing(cx: &mut Cx, item: &Item<'_>) -> Sharing {
    if !item.is_list() {
        return match item.boolean(cx) {
            Some(true) => Sharing::Everybody,
            Some(false) | None => Sharing::Nobody,
        };
    }
    let mut names = BTreeSet::new();
    for entry in item.list(cx) {
        let Some(name) = entry.word(cx) else { continue };
        if !is_deployment_name(&name) {
            cx.fail(&entry.place, Reason::Format, format!("\"{name}\" is no deployment name"));
            continue;
        }
        names.insert(DeploymentName::new(name));
    }
    if names.is_empty() { Sharing::Nobody } else { Sharing::Deployments(names) }
}
