//! Options of a route: closed sub-schemas, checked in full.

use super::cx::{Cx, Fields, Item, Spot};
use super::route_access as access;
use super::route_headers as headers;
use super::schema::{Schema, closed, h};
use crate::Reason;
use jaco_model::Millis;
use jaco_model::spec::{
    AccessLog, HostHeader, LbPolicy, LoadBalancing, Maintenance, Redirect, RouteOptions,
    RouteTimeouts, SameSite, Sticky, UpstreamProtocol,
};
use std::collections::BTreeSet;

const REDIRECT: Schema = closed(&[h("keep_path"), h("keep_query"), h("status"), h("to")]);
const MAINTENANCE: Schema =
    closed(&[h("allow"), h("body"), h("enabled"), h("retry_after"), h("status")]);
const BODY: Schema = closed(&[h("file")]);
const STICKY: Schema = closed(&[h("cookie"), h("same_site"), h("ttl")]);
const LB: Schema =
    closed(&[h("policy"), h("prefer_local"), h("retries"), h("retry_for"), h("retry_on")]);
const TIMEOUTS: Schema =
    closed(&[h("connect"), h("read"), h("request"), h("response"), h("stream_idle")]);

/// Longest page of a route, in bytes.
pub(super) const PAGE_MAX: usize = 64 << 10;

/// What was written, and what it refers to.
#[derive(Debug, Default)]
pub(super) struct Decoded {
    pub(super) options: RouteOptions,
    /// The route answers by itself: a redirect, or maintenance that is on.
    pub(super) answers: bool,
    /// What is spoken at the service's port, if it is written.
    pub(super) protocol: Option<UpstreamProtocol>,
    /// Whether the certificate of an https service is checked.
    pub(super) verify: bool,
    /// The secret with names and passwords.
    pub(super) password_file: Option<Spot<String>>,
    /// Names of the configs with the pages of some statuses.
    pub(super) pages: Vec<(u16, Spot<String>)>,
}

/// Checks every option of a route.
pub(super) fn decode(cx: &mut Cx, fields: &Fields<'_>) -> Decoded {
    let mut decoded = Decoded::default();
    if let Some(item) = fields.get("redirect") {
        decoded.answers = true;
        decoded.options.redirect = redirect(cx, &item);
    }
    if let Some(item) = fields.get("maintenance") {
        decoded.options.maintenance = maintenance(cx, &item);
        decoded.answers |= decoded.options.maintenance.is_some();
    }
    if let Some(item) = fields.get("basic_auth") {
        let (auth, secret) = access::basic_auth(cx, &item);
        decoded.options.basic_auth = auth;
        decoded.password_file = secret;
    }
    if let Some(item) = fields.get("error_pages") {
        decoded.pages = error_pages(cx, &item);
    }
    traffic(cx, fields, &mut decoded.options);
    small(cx, fields, &mut decoded);
    decoded
}

fn traffic(cx: &mut Cx, fields: &Fields<'_>, options: &mut RouteOptions) {
    if let Some(item) = fields.get("headers") {
        (options.request_headers, options.response_headers) = headers::decode(cx, &item);
    }
    options.ip_allow = access::networks(cx, fields.get("ip_allow").as_ref());
    options.ip_deny = access::networks(cx, fields.get("ip_deny").as_ref());
    options.rate_limit = fields.get("rate_limit").and_then(|item| access::rate_limit(cx, &item));
    options.sticky = fields.get("sticky").and_then(|item| sticky(cx, &item));
    if let Some(item) = fields.get("lb") {
        options.lb = load_balancer(cx, &item);
    }
    if let Some(item) = fields.get("timeouts") {
        options.timeouts = timeouts(cx, &item);
    }
    options.methods = methods(cx, fields);
}

fn small(cx: &mut Cx, fields: &Fields<'_>, decoded: &mut Decoded) {
    let protocols = [
        ("http", UpstreamProtocol::Http),
        ("h2c", UpstreamProtocol::H2c),
        ("https", UpstreamProtocol::Https),
        ("grpc", UpstreamProtocol::Grpc),
    ];
    decoded.protocol = fields.choice(cx, "upstream_protocol", &protocols);
    decoded.verify = fields.boolean(cx, "verify").unwrap_or_default();
    let options = &mut decoded.options;
    options.strip_path = fields.boolean(cx, "strip_path").unwrap_or_default();
    options.https_redirect = fields.boolean(cx, "https_redirect").unwrap_or(true);
    options.acme_passthrough = fields.boolean(cx, "acme_passthrough").unwrap_or_default();
    options.compress = fields.boolean(cx, "compress").unwrap_or_default();
    options.body_limit =
        fields.size(cx, "body_limit").and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0);
    // An unquoted `off` is a boolean in older YAML and reaches us as that.
    let logs = [
        ("off", AccessLog::Off),
        ("false", AccessLog::Off),
        ("errors", AccessLog::Errors),
        ("all", AccessLog::All),
    ];
    options.access_log = fields.choice(cx, "access_log", &logs);
    options.hsts = fields.duration(cx, "hsts").map(|age| age.0 / 1_000).filter(|age| *age > 0);
    options.host_header = match fields.word(cx, "host_header").as_deref() {
        None => HostHeader::Client,
        Some("upstream") => HostHeader::Upstream,
        Some(host) => HostHeader::Literal(host.to_owned()),
    };
    options.max_concurrent = fields.count(cx, "max_concurrent", 1);
    let pending = fields.choice(cx, "tls_pending", &[("serve", false), ("refuse", true)]);
    options.tls_pending_refuse = pending.unwrap_or_default();
}

fn redirect(cx: &mut Cx, item: &Item<'_>) -> Option<Redirect> {
    let mut made = Redirect { to: String::new(), status: 308, keep_path: true, keep_query: true };
    let target = if item.is_map() {
        let fields = item.map(cx, &REDIRECT);
        made.keep_path = fields.boolean(cx, "keep_path").unwrap_or(true);
        made.keep_query = fields.boolean(cx, "keep_query").unwrap_or(true);
        let statuses = [("301", 301), ("302", 302), ("303", 303), ("307", 307), ("308", 308)];
        made.status = fields.choice(cx, "status", &statuses).unwrap_or(308);
        fields.require(cx, "to")?
    } else {
        item.clone()
    };
    made.to = target.word(cx)?;
    let text = &made.to;
    if !["http://", "https://", "/", "{scheme}"].iter().any(|start| text.starts_with(start)) {
        let message = format!("expected a URL or an absolute path, got \"{text}\"");
        cx.fail(&target.place, Reason::Format, message);
    }
    headers::check_text(cx, &target, text);
    headers::check_placeholders(cx, &target, text, &["host", "path", "scheme"]);
    Some(made)
}

/// `None` when it is off.
fn maintenance(cx: &mut Cx, item: &Item<'_>) -> Option<Maintenance> {
    let mut made =
        Maintenance { status: 503, retry_after: Millis::secs(300), body: None, allow: Vec::new() };
    if !item.is_map() {
        return item.boolean(cx).unwrap_or_default().then_some(made);
    }
    let fields = item.map(cx, &MAINTENANCE);
    let status = fields.int(cx, "status", 400..=599).and_then(|n| u16::try_from(n).ok());
    made.status = status.unwrap_or(made.status);
    made.retry_after = fields.duration(cx, "retry_after").unwrap_or(made.retry_after);
    made.allow = access::networks(cx, fields.get("allow").as_ref());
    if let Some(body) = fields.get("body") {
        if body.is_map() {
            body.map(cx, &BODY).require(cx, "file").and_then(|item| item.word(cx));
            cx.later(&body.place, "a body from a file");
        } else {
            made.body = body.string(cx);
        }
        if made.body.as_ref().is_some_and(|text| text.len() > PAGE_MAX) {
            cx.fail(&body.place, Reason::Range, "the body has at most 64 KiB");
        }
    }
    fields.boolean(cx, "enabled").unwrap_or(true).then_some(made)
}

fn sticky(cx: &mut Cx, item: &Item<'_>) -> Option<Sticky> {
    // A cookie without a name gets that of its route.
    let mut made = Sticky { cookie: String::new(), ttl: Millis(0), same_site: SameSite::Lax };
    if !item.is_map() {
        return item.boolean(cx).unwrap_or_default().then_some(made);
    }
    let fields = item.map(cx, &STICKY);
    if let Some(item) = fields.get("cookie") {
        made.cookie = item.word(cx)?;
        if !headers::is_token(&made.cookie) {
            let message = format!("\"{}\" is not a cookie name", made.cookie);
            cx.fail(&item.place, Reason::Format, message);
        }
    }
    made.ttl = fields.duration(cx, "ttl").unwrap_or_default();
    let sites = [("lax", SameSite::Lax), ("strict", SameSite::Strict), ("none", SameSite::None)];
    made.same_site = fields.choice(cx, "same_site", &sites).unwrap_or_default();
    Some(made)
}

/// `lb`: the name of a policy, or a map.
fn load_balancer(cx: &mut Cx, item: &Item<'_>) -> LoadBalancing {
    let mut made = LoadBalancing::default();
    if !item.is_map() {
        made.policy = policy(cx, item).unwrap_or_default();
        return made;
    }
    let fields = item.map(cx, &LB);
    if let Some(item) = fields.get("policy") {
        made.policy = policy(cx, &item).unwrap_or_default();
    }
    made.prefer_local = fields.boolean(cx, "prefer_local").unwrap_or_default();
    let retries = fields.int(cx, "retries", 0..=10).and_then(|n| u8::try_from(n).ok());
    made.retries = retries.unwrap_or(made.retries);
    made.retry_for = fields.duration(cx, "retry_for").unwrap_or(made.retry_for);
    for entry in fields.get("retry_on").map(|item| item.list(cx)).unwrap_or_default() {
        made.retry_on.extend(entry.choice(cx, &[("502", 502), ("503", 503), ("504", 504)]));
    }
    made
}

fn policy(cx: &mut Cx, item: &Item<'_>) -> Option<LbPolicy> {
    let text = item.word(cx)?;
    if let Some(name) = text.strip_prefix("header_hash:").filter(|name| headers::is_token(name)) {
        return Some(LbPolicy::HeaderHash(name.to_ascii_lowercase()));
    }
    match text.as_str() {
        "least_requests" => Some(LbPolicy::LeastRequests),
        "random" => Some(LbPolicy::Random),
        "round_robin" => Some(LbPolicy::RoundRobin),
        "ip_hash" => Some(LbPolicy::IpHash),
        _ => {
            let words =
                ["least_requests", "random", "round_robin", "ip_hash", "header_hash:<name>"];
            cx.unknown_word(&item.place, &text, &words);
            None
        }
    }
}

fn timeouts(cx: &mut Cx, item: &Item<'_>) -> RouteTimeouts {
    let fields = item.map(cx, &TIMEOUTS);
    let mut made = RouteTimeouts::default();
    for (key, value) in [
        ("connect", &mut made.connect),
        ("response", &mut made.response),
        ("read", &mut made.read),
        ("stream_idle", &mut made.stream_idle),
        ("request", &mut made.request),
    ] {
        if let Some(written) = fields.duration(cx, key) {
            *value = written;
        }
    }
    made
}

fn methods(cx: &mut Cx, fields: &Fields<'_>) -> BTreeSet<String> {
    const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    let mut made = BTreeSet::new();
    for entry in fields.get("methods").map(|item| item.list(cx)).unwrap_or_default() {
        made.extend(entry.choice(cx, &METHODS.map(|m| (m, m))).map(str::to_owned));
    }
    made
}

/// A map from a status to the name of a config.
fn error_pages(cx: &mut Cx, item: &Item<'_>) -> Vec<(u16, Spot<String>)> {
    let mut pages = Vec::new();
    for (written, place, value) in item.entries(cx) {
        let status = written.parse().unwrap_or(0);
        if !(400..=599).contains(&status) {
            let message = format!("expected a status from 400 to 599, got \"{written}\"");
            cx.fail(&place, Reason::Format, message);
        }
        pages.extend(value.word(cx).map(|name| (status, value.spot(name))));
    }
    pages
}
