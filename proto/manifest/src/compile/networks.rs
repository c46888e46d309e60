//! Networks: how a service attaches, and what the top level declares.

use super::container::mac_address;
use super::cx::{Cx, Fields, Item, Place, Spot};
use super::schema::{Schema, closed, compose, h, r, s, w};
use super::security::joined_service;
use super::service::Join;
use crate::Reason;
use jaco_model::spec::{NetworkAttachment, NetworkMode, NetworkSpec};
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
    let block_prefix = decode_extension(cx, &fields);
    let external = fields.get("external").and_then(|item| external(cx, &item));
    let name = fields.word(cx, "name");
    if external.is_none()
        && let Some(item) = fields.get("name")
    {
        cx.warn(&item.place, "ignored: a network is named after its deployment and key");
    }
    NetworkSpec {
        internal: fields.boolean(cx, "internal").unwrap_or_default(),
        external: external.map(|old_name| {
            cx.later(place, "an external network");
            let key = place.path.rsplit('.').next().unwrap_or_default();
            name.or(old_name).unwrap_or_else(|| key.to_owned())
        }),
        labels: fields.pairs(cx, "labels"),
        block_prefix,
    }
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

/// The prefix of the network's blocks, if it asks for one.
fn decode_extension(cx: &mut Cx, fields: &Fields<'_>) -> Option<u8> {
    let item = fields.get("x-jaco")?;
    let fields = item.map(cx, &EXTENSION);
    if let Some(item) = fields.get("shared") {
        let shared = if item.is_list() {
            !item.strings(cx).is_empty()
        } else {
            item.boolean(cx).unwrap_or_default()
        };
        if shared {
            cx.later(&item.place, "a shared network");
        }
    }
    let prefix = fields.get("block_prefix")?.int(cx, 22..=28)?;
    u8::try_from(prefix).ok()
}
