//! Options of a route: closed sub-schemas, checked in full.

use super::cx::{Cx, Fields, Item, Spot};
use super::schema::{Schema, closed, h};
use crate::Reason;

const REDIRECT: Schema = closed(&[h("keep_path"), h("keep_query"), h("status"), h("to")]);
const HEADERS: Schema = closed(&[h("request"), h("response")]);
const HEADER_RULES: Schema = closed(&[h("add"), h("remove"), h("set")]);
const BASIC_AUTH: Schema = closed(&[h("forward"), h("realm"), h("secret"), h("users")]);
const USER: Schema = closed(&[h("hash"), h("name")]);
const RATE_LIMIT: Schema = closed(&[h("burst"), h("key"), h("per"), h("requests")]);
const MAINTENANCE: Schema =
    closed(&[h("allow"), h("body"), h("enabled"), h("retry_after"), h("status")]);
const BODY: Schema = closed(&[h("file")]);
const STICKY: Schema = closed(&[h("cookie"), h("same_site"), h("ttl")]);
const LB: Schema =
    closed(&[h("policy"), h("prefer_local"), h("retries"), h("retry_for"), h("retry_on")]);
const TIMEOUTS: Schema =
    closed(&[h("connect"), h("read"), h("request"), h("response"), h("stream_idle")]);

/// What the options refer to.
#[derive(Debug, Default)]
pub(super) struct References {
    /// The route answers by itself: a redirect, or maintenance that is on.
    pub(super) answers: bool,
    pub(super) secrets: Vec<Spot<String>>,
    pub(super) configs: Vec<Spot<String>>,
}

/// Checks every option of a route.
pub(super) fn decode(cx: &mut Cx, fields: &Fields<'_>) -> References {
    let mut references = References::default();
    if let Some(item) = fields.get("redirect") {
        references.answers = true;
        redirect(cx, &item);
    }
    if let Some(item) = fields.get("maintenance") {
        references.answers |= maintenance(cx, &item);
    }
    if let Some(item) = fields.get("basic_auth") {
        references.secrets.extend(basic_auth(cx, &item));
    }
    if let Some(item) = fields.get("error_pages") {
        references.configs = error_pages(cx, &item);
    }
    let tls = fields.get("tls").and_then(|item| Some(item.spot(item.word(&mut Cx::default())?)));
    references.secrets.extend(tls.filter(|tls| !matches!(tls.value.as_str(), "auto" | "off")));
    traffic(cx, fields);
    small(cx, fields);
    references
}

fn traffic(cx: &mut Cx, fields: &Fields<'_>) {
    for (key, check) in [
        ("headers", headers as fn(&mut Cx, &Item<'_>)),
        ("ip_allow", networks),
        ("ip_deny", networks),
        ("rate_limit", rate_limit),
        ("sticky", sticky),
        ("lb", load_balancer),
        ("timeouts", timeouts),
        ("methods", methods),
    ] {
        if let Some(item) = fields.get(key) {
            check(cx, &item);
        }
    }
}

fn small(cx: &mut Cx, fields: &Fields<'_>) {
    let protocols = [("http", ()), ("h2c", ()), ("https", ()), ("grpc", ())];
    fields.choice(cx, "upstream_protocol", &protocols);
    for key in ["strip_path", "https_redirect", "compress", "acme_passthrough", "verify"] {
        fields.boolean(cx, key);
    }
    fields.strings(cx, "shared_with");
    fields.size(cx, "body_limit");
    // An unquoted `off` is a boolean in older YAML and reaches us as that.
    let logs = [("off", ()), ("false", ()), ("errors", ()), ("all", ())];
    fields.choice(cx, "access_log", &logs);
    fields.duration(cx, "hsts");
    fields.word(cx, "host_header");
    fields.count(cx, "max_concurrent", 1);
    fields.choice(cx, "tls_pending", &[("serve", ()), ("refuse", ())]);
}

fn redirect(cx: &mut Cx, item: &Item<'_>) {
    let target = if item.is_map() {
        let fields = item.map(cx, &REDIRECT);
        fields.boolean(cx, "keep_path");
        fields.boolean(cx, "keep_query");
        let statuses = [("301", ()), ("302", ()), ("303", ()), ("307", ()), ("308", ())];
        fields.choice(cx, "status", &statuses);
        fields.require(cx, "to")
    } else {
        Some(item.clone())
    };
    let Some(target) = target else { return };
    let Some(text) = target.word(cx) else { return };
    if !["http://", "https://", "/", "{scheme}"].iter().any(|start| text.starts_with(start)) {
        let message = format!("expected a URL or an absolute path, got \"{text}\"");
        cx.fail(&target.place, Reason::Format, message);
    }
    check_placeholders(cx, &target, &text, &["host", "path", "scheme"]);
}

fn check_placeholders(cx: &mut Cx, item: &Item<'_>, text: &str, known: &[&str]) {
    let names = text.split('{').skip(1).filter_map(|rest| rest.split_once('}'));
    for (name, _) in names {
        if !known.contains(&name) {
            cx.unknown_word(&item.place, name, known);
        }
    }
}

fn headers(cx: &mut Cx, item: &Item<'_>) {
    const PLACEHOLDERS: [&str; 4] = ["client_ip", "host", "scheme", "request_id"];
    let fields = item.map(cx, &HEADERS);
    for direction in ["request", "response"] {
        let Some(item) = fields.get(direction) else { continue };
        let rules = item.map(cx, &HEADER_RULES);
        for action in ["set", "add"] {
            let Some(item) = rules.get(action) else { continue };
            for (name, place, value) in item.entries(cx) {
                check_header_name(cx, &place, name, direction);
                let Some(text) = value.text(cx) else { continue };
                if text.chars().any(char::is_control) {
                    let message = "a header has no control characters";
                    cx.fail(&value.place, Reason::Format, message);
                }
                check_placeholders(cx, &value, text, &PLACEHOLDERS);
            }
        }
        if let Some(item) = rules.get("remove") {
            for entry in item.list(cx) {
                if let Some(name) = entry.word(cx) {
                    check_header_name(cx, &entry.place, &name, direction);
                }
            }
        }
    }
}

fn check_header_name(cx: &mut Cx, place: &super::cx::Place, name: &str, direction: &str) {
    const HOP_BY_HOP: [&str; 9] = [
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "proxy-connection",
    ];
    let lower = name.to_ascii_lowercase();
    let legal = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if name.is_empty() || !name.chars().all(legal) {
        cx.fail(place, Reason::Format, format!("\"{name}\" is not a header name"));
    } else if HOP_BY_HOP.contains(&lower.as_str()) || (lower == "host" && direction == "response") {
        cx.fail(place, Reason::Unsupported, format!("not supported: {name} belongs to the proxy"));
    }
}

fn basic_auth(cx: &mut Cx, item: &Item<'_>) -> Option<Spot<String>> {
    let fields = item.map(cx, &BASIC_AUTH);
    fields.word(cx, "realm");
    fields.boolean(cx, "forward");
    let secret = fields.get("secret");
    if fields.has("users") == secret.is_some() {
        cx.fail(&item.place, Reason::Conflict, "needs exactly one of users and secret");
    }
    for user in fields.get("users").map(|item| item.list(cx)).unwrap_or_default() {
        let user = user.map(cx, &USER);
        user.require(cx, "name").and_then(|item| item.word(cx));
        let Some(item) = user.require(cx, "hash") else { continue };
        let Some(hash) = item.word(cx) else { continue };
        let known = ["$2a$", "$2b$", "$2y$", "$argon2id$"];
        if !known.iter().any(|start| hash.starts_with(start)) {
            let message = "expected a bcrypt or argon2id hash (write each $ twice)";
            cx.fail(&item.place, Reason::Format, message);
        }
    }
    secret.and_then(|item| Some(item.spot(item.word(cx)?)))
}

/// A list of addresses or CIDR blocks.
fn networks(cx: &mut Cx, item: &Item<'_>) {
    for entry in item.list(cx) {
        let Some(text) = entry.word(cx) else { continue };
        let (address, length) = text.split_once('/').unwrap_or((&text, "0"));
        let most = match address.parse() {
            Ok(std::net::IpAddr::V4(_)) => Some(32),
            Ok(std::net::IpAddr::V6(_)) => Some(128),
            Err(_) => None,
        };
        let legal = most.zip(length.parse::<u32>().ok()).is_some_and(|(most, n)| n <= most);
        if !legal {
            let message =
                format!("expected an address or a block such as 10.0.0.0/8, got \"{text}\"");
            cx.fail(&entry.place, Reason::Format, message);
        }
    }
}

fn rate_limit(cx: &mut Cx, item: &Item<'_>) {
    let fields = item.map(cx, &RATE_LIMIT);
    fields.require(cx, "requests").and_then(|item| item.count(cx, 1));
    fields.choice(cx, "per", &[("second", ()), ("minute", ()), ("hour", ())]);
    fields.count(cx, "burst", 1);
    let Some(item) = fields.get("key") else { return };
    let Some(text) = item.word(cx) else { return };
    let header = text.strip_prefix("header:").is_some_and(|name| !name.is_empty());
    if !header && !matches!(text.as_str(), "ip" | "route") {
        cx.unknown_word(&item.place, &text, &["ip", "route", "header:<name>"]);
    }
}

/// Whether it is on.
fn maintenance(cx: &mut Cx, item: &Item<'_>) -> bool {
    if !item.is_map() {
        return item.boolean(cx).unwrap_or_default();
    }
    let fields = item.map(cx, &MAINTENANCE);
    fields.int(cx, "status", 400..=599);
    fields.duration(cx, "retry_after");
    if let Some(item) = fields.get("allow") {
        networks(cx, &item);
    }
    if let Some(body) = fields.get("body") {
        let text = if body.is_map() {
            body.map(cx, &BODY).require(cx, "file").and_then(|item| item.word(cx))
        } else {
            body.string(cx)
        };
        if text.is_some_and(|text| text.len() > 64 << 10) {
            cx.fail(&body.place, Reason::Range, "the body has at most 64 KiB");
        }
    }
    fields.boolean(cx, "enabled").unwrap_or(true)
}

fn sticky(cx: &mut Cx, item: &Item<'_>) {
    if !item.is_map() {
        item.boolean(cx);
        return;
    }
    let fields = item.map(cx, &STICKY);
    fields.word(cx, "cookie");
    fields.duration(cx, "ttl");
    fields.choice(cx, "same_site", &[("lax", ()), ("strict", ()), ("none", ())]);
}

/// `lb`: the name of a policy, or a map. Also an option of published ports.
pub(super) fn load_balancer(cx: &mut Cx, item: &Item<'_>) {
    if !item.is_map() {
        return policy(cx, item);
    }
    let fields = item.map(cx, &LB);
    if let Some(item) = fields.get("policy") {
        policy(cx, &item);
    }
    fields.boolean(cx, "prefer_local");
    fields.int(cx, "retries", 0..=10);
    fields.duration(cx, "retry_for");
    for entry in fields.get("retry_on").map(|item| item.list(cx)).unwrap_or_default() {
        entry.choice(cx, &[("502", ()), ("503", ()), ("504", ())]);
    }
}

fn policy(cx: &mut Cx, item: &Item<'_>) {
    let Some(text) = item.word(cx) else { return };
    let words = ["least_requests", "random", "round_robin", "ip_hash", "header_hash:<name>"];
    let header = text.strip_prefix("header_hash:").is_some_and(|name| !name.is_empty());
    if !header && !words.contains(&text.as_str()) {
        cx.unknown_word(&item.place, &text, &words);
    }
}

fn timeouts(cx: &mut Cx, item: &Item<'_>) {
    let fields = item.map(cx, &TIMEOUTS);
    for key in ["connect", "response", "read", "stream_idle", "request"] {
        fields.duration(cx, key);
    }
}

fn methods(cx: &mut Cx, item: &Item<'_>) {
    const METHODS: [&str; 9] =
        ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"];
    for entry in item.list(cx) {
        entry.choice(cx, &METHODS.map(|method| (method, ())));
    }
}

/// A map from a status to the name of a config.
fn error_pages(cx: &mut Cx, item: &Item<'_>) -> Vec<Spot<String>> {
    let mut configs = Vec::new();
    for (status, place, value) in item.entries(cx) {
        if !status.parse::<u16>().is_ok_and(|status| (400..=599).contains(&status)) {
            let message = format!("expected a status from 400 to 599, got \"{status}\"");
            cx.fail(&place, Reason::Format, message);
        }
        configs.extend(value.word(cx).map(|name| value.spot(name)));
    }
    configs
}
