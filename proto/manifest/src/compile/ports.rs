//! `ports` of a service: short and long form, ranges expanded.

use super::cx::{Cx, Fields, Item, Spot};
use super::schema::{Schema, closed, compose, h};
use crate::Reason;
use jaco_model::Millis;
use jaco_model::spec::{PortMode, PortOptions, PortPolicy, PortSpec, Protocol, ProxyVersion};
use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;

const PORT: Schema = compose(&[
    h("app_protocol"),
    h("host_ip"),
    h("mode"),
    h("name"),
    h("protocol"),
    h("published"),
    h("target"),
    h("x-jaco"),
]);
const EXTENSION: Schema =
    closed(&[h("idle_timeout"), h("lb"), h("max_connections"), h("proxy_protocol")]);
/// More ports than that in one entry are a mistake.
const RANGE_MAX: usize = 1_000;

type Range = RangeInclusive<u16>;

/// Decodes `ports`.
pub(super) fn decode(cx: &mut Cx, fields: &Fields<'_>) -> Vec<Spot<PortSpec>> {
    let Some(item) = fields.get("ports") else { return Vec::new() };
    let mut ports = Vec::new();
    for entry in item.list(cx) {
        let expanded = if entry.is_map() { long(cx, &entry) } else { short(cx, &entry) };
        ports.extend(expanded.unwrap_or_default().into_iter().map(|port| entry.spot(port)));
    }
    ports
}

/// `[HOST_IP:][PUBLISHED:]TARGET[/tcp|udp]`.
fn short(cx: &mut Cx, item: &Item<'_>) -> Option<Vec<PortSpec>> {
    let text = item.word(cx)?;
    let (ports, protocol) = text.rsplit_once('/').unwrap_or((&text, "tcp"));
    let protocol = protocol_of(cx, item, protocol)?;
    let (head, target) = match ports.rsplit_once(':') {
        Some((head, target)) => (Some(head), target),
        None => (None, ports),
    };
    let (host_ip, published) = match head.map(|head| head.rsplit_once(':').unwrap_or(("", head))) {
        None => (None, ""),
        Some((ip, published)) => (Some(ip).filter(|ip| !ip.is_empty()), published),
    };
    let host_ip = match host_ip {
        Some(text) => Some(address(cx, item, text)?),
        None => None,
    };
    let target = range(cx, item, target)?;
    let published = match published {
        "" => None,
        text => Some(range(cx, item, text)?),
    };
    let template = PortSpec {
        name: None,
        target: 0,
        published: None,
        protocol,
        host_ip,
        mode: PortMode::Ingress,
        app_protocol: None,
        options: Default::default(),
    };
    expand(cx, item, &template, target, published)
}

fn long(cx: &mut Cx, item: &Item<'_>) -> Option<Vec<PortSpec>> {
    let fields = item.map(cx, &PORT);
    let target = fields.require(cx, "target")?.port(cx)?;
    let (mut protocol, mut host_ip, mut published) = (Protocol::Tcp, None, None);
    if let Some(item) = fields.get("protocol") {
        let text = item.text(cx)?;
        protocol = protocol_of(cx, &item, text)?;
    }
    if let Some(item) = fields.get("host_ip") {
        let text = item.text(cx)?;
        host_ip = Some(address(cx, &item, text)?);
    }
    if let Some(item) = fields.get("published") {
        let text = item.text(cx)?;
        published = Some(range(cx, &item, text)?);
    }
    let modes = [("ingress", PortMode::Ingress), ("host", PortMode::Host)];
    let template = PortSpec {
        name: fields.get("name").and_then(|item| name(cx, &item)),
        target,
        published: None,
        protocol,
        host_ip,
        mode: fields.choice(cx, "mode", &modes).unwrap_or(PortMode::Ingress),
        app_protocol: fields.word(cx, "app_protocol"),
        options: options(cx, &fields, protocol),
    };
    expand(cx, item, &template, target..=target, published)
}

fn expand(
    cx: &mut Cx,
    item: &Item<'_>,
    template: &PortSpec,
    target: Range,
    published: Option<Range>,
) -> Option<Vec<PortSpec>> {
    if !cx.expand(&item.place, target.len()) {
        return None;
    }
    let Some(published) = published else {
        let port = |target| PortSpec { target, ..template.clone() };
        return Some(target.map(port).collect());
    };
    if target.len() == 1 && published.len() > 1 {
        let message = "not supported: a range of host ports onto one target; name one host port";
        cx.fail(&item.place, Reason::Unsupported, message);
        return None;
    }
    if target.len() != published.len() {
        let message = format!(
            "both ranges must have the same length, got {} host ports for {} targets",
            published.len(),
            target.len()
        );
        cx.fail(&item.place, Reason::Conflict, message);
        return None;
    }
    let port =
        |(target, published)| PortSpec { target, published: Some(published), ..template.clone() };
    Some(target.zip(published).map(port).collect())
}

fn range(cx: &mut Cx, item: &Item<'_>, text: &str) -> Option<Range> {
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let parsed = from.parse::<u32>().ok().zip(to.parse::<u32>().ok());
    let Some((from, to)) = parsed else {
        let message = format!("expected [ip:][published:]target[/tcp|udp], \"{text}\" is no port");
        cx.fail(&item.place, Reason::Format, message);
        return None;
    };
    let legal = 1..=65_535;
    let wrong = [from, to].into_iter().find(|port| !legal.contains(port));
    if let Some(port) = wrong {
        let message = format!("a port is between 1 and 65535, got {port}");
        cx.fail(&item.place, Reason::Range, message);
        return None;
    }
    let range = u16::try_from(from).ok()?..=u16::try_from(to).ok()?;
    if range.is_empty() || range.len() > RANGE_MAX {
        let message = format!("a range goes up and has at most {RANGE_MAX} ports, got \"{text}\"");
        cx.fail(&item.place, Reason::Range, message);
        return None;
    }
    Some(range)
}

fn protocol_of(cx: &mut Cx, item: &Item<'_>, text: &str) -> Option<Protocol> {
    match text.to_ascii_lowercase().as_str() {
        "tcp" => Some(Protocol::Tcp),
        "udp" => Some(Protocol::Udp),
        _ => {
            cx.unknown_word(&item.place, text, &["tcp", "udp"]);
            None
        }
    }
}

fn address(cx: &mut Cx, item: &Item<'_>, text: &str) -> Option<Ipv4Addr> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    match bare.parse() {
        Ok(IpAddr::V4(address)) => Some(address),
        Ok(IpAddr::V6(_)) => {
            let message = "not supported: IPv6 host addresses; use an IPv4 address or none";
            cx.fail(&item.place, Reason::Unsupported, message);
            None
        }
        Err(_) => {
            let message = format!("\"{text}\" is not a host address");
            cx.fail(&item.place, Reason::Format, message);
            None
        }
    }
}

/// A label of an SRV record.
fn name(cx: &mut Cx, item: &Item<'_>) -> Option<String> {
    let text = item.word(cx)?;
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if text.len() > 62 || !text.chars().all(legal) || text.starts_with('-') || text.ends_with('-') {
        let message = format!("\"{text}\" cannot be part of an SRV record");
        cx.fail(&item.place, Reason::Format, message);
    }
    Some(text)
}

/// `x-jaco` of a port.
fn options(cx: &mut Cx, fields: &Fields<'_>, protocol: Protocol) -> PortOptions {
    let Some(item) = fields.get("x-jaco") else { return PortOptions::default() };
    let fields = item.map(cx, &EXTENSION);
    let versions = [("off", None), ("v1", Some(ProxyVersion::V1)), ("v2", Some(ProxyVersion::V2))];
    let proxy_protocol = fields.choice(cx, "proxy_protocol", &versions).flatten();
    if proxy_protocol == Some(ProxyVersion::V1)
        && protocol == Protocol::Udp
        && let Some(item) = fields.get("proxy_protocol")
    {
        cx.fail(&item.place, Reason::Conflict, "v1 is for TCP only; use v2 with udp");
    }
    let most = match protocol {
        Protocol::Tcp => Millis::secs(24 * 3_600),
        Protocol::Udp => Millis::secs(3_600),
    };
    let idle = fields.get("idle_timeout");
    let policies = [
        ("least_connections", PortPolicy::LeastConnections),
        ("source_hash", PortPolicy::SourceHash),
    ];
    PortOptions {
        proxy_protocol,
        max_connections: fields.count(cx, "max_connections", 1),
        idle_timeout: idle.and_then(|item| item.duration_in(cx, Millis::secs(1)..=most)),
        lb: fields.choice(cx, "lb", &policies),
    }
}
