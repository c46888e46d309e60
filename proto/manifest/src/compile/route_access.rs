//! Who may use a route: passwords, networks, rates.

use super::cx::{Cx, Item, Spot};
use super::route_headers::is_token;
use super::schema::{Schema, closed, h};
use crate::Reason;
use ipnet::IpNet;
use jaco_model::Millis;
use jaco_model::spec::{BasicAuth, RateKey, RateLimit};
use std::collections::BTreeMap;
use std::net::IpAddr;

const BASIC_AUTH: Schema = closed(&[h("forward"), h("realm"), h("secret"), h("users")]);
const USER: Schema = closed(&[h("hash"), h("name")]);
const RATE_LIMIT: Schema = closed(&[h("burst"), h("key"), h("per"), h("requests")]);

/// The users that are written out, and the secret that has them instead.
pub(super) fn basic_auth(
    cx: &mut Cx,
    item: &Item<'_>,
) -> (Option<BasicAuth>, Option<Spot<String>>) {
    let fields = item.map(cx, &BASIC_AUTH);
    let realm = fields.word(cx, "realm").unwrap_or_default();
    if realm.chars().any(|c| c.is_control() || c == '"' || c == '\\' || !c.is_ascii()) {
        let message = "a realm has printable ASCII characters without quotes";
        cx.fail(&item.place, Reason::Format, message);
    }
    let forward = fields.boolean(cx, "forward").unwrap_or_default();
    let secret = fields.get("secret");
    if fields.has("users") == secret.is_some() {
        cx.fail(&item.place, Reason::Conflict, "needs exactly one of users and secret");
    }
    let mut users = BTreeMap::new();
    for user in fields.get("users").map(|item| item.list(cx)).unwrap_or_default() {
        let user = user.map(cx, &USER);
        let name = user.require(cx, "name").and_then(|item| user_name(cx, &item));
        let Some(item) = user.require(cx, "hash") else { continue };
        let Some(hash) = item.word(cx) else { continue };
        if !is_hash(&hash) {
            let message = "expected a bcrypt or argon2id hash (write each $ twice)";
            cx.fail(&item.place, Reason::Format, message);
        }
        users.extend(name.map(|name| (name, hash)));
    }
    let secret = secret.and_then(|item| Some(item.spot(item.word(cx)?)));
    (Some(BasicAuth { realm, users, forward }), secret)
}

fn user_name(cx: &mut Cx, item: &Item<'_>) -> Option<String> {
    let name = item.word(cx)?;
    if name.contains(':') {
        cx.fail(&item.place, Reason::Format, "a user name has no colon");
    }
    Some(name)
}

/// Lines of `name:hash`, as htpasswd writes them. The number of the line that is none otherwise.
pub(super) fn password_file(text: &str) -> Result<BTreeMap<String, String>, usize> {
    let mut users = BTreeMap::new();
    for (index, line) in text.lines().map(str::trim).enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, hash) =
            line.split_once(':').filter(|(_, hash)| is_hash(hash)).ok_or(index + 1)?;
        users.insert(name.to_owned(), hash.to_owned());
    }
    Ok(users)
}

fn is_hash(text: &str) -> bool {
    ["$2a$", "$2b$", "$2y$", "$argon2id$"].iter().any(|start| text.starts_with(start))
}

/// A list of addresses or CIDR blocks.
pub(super) fn networks(cx: &mut Cx, item: Option<&Item<'_>>) -> Vec<IpNet> {
    let mut made = Vec::new();
    for entry in item.map(|item| item.list(cx)).unwrap_or_default() {
        let Some(text) = entry.word(cx) else { continue };
        let parsed: Option<IpNet> =
            text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
        match parsed {
            Some(network) => made.push(network.trunc()),
            None => {
                let message =
                    format!("expected an address or a block such as 10.0.0.0/8, got \"{text}\"");
                cx.fail(&entry.place, Reason::Format, message);
            }
        }
    }
    made
}

pub(super) fn rate_limit(cx: &mut Cx, item: &Item<'_>) -> Option<RateLimit> {
    let fields = item.map(cx, &RATE_LIMIT);
    let requests = fields.require(cx, "requests").and_then(|item| item.count(cx, 1));
    let per =
        [("second", Millis::secs(1)), ("minute", Millis::secs(60)), ("hour", Millis::secs(3_600))];
    let per = fields.choice(cx, "per", &per).unwrap_or(Millis::secs(1));
    let burst = fields.count(cx, "burst", 1);
    let key = match fields.get("key") {
        Some(item) => rate_key(cx, &item)?,
        None => RateKey::Ip,
    };
    let requests = requests?;
    Some(RateLimit { requests, per, burst: burst.unwrap_or(requests), key })
}

fn rate_key(cx: &mut Cx, item: &Item<'_>) -> Option<RateKey> {
    let text = item.word(cx)?;
    if let Some(name) = text.strip_prefix("header:").filter(|name| is_token(name)) {
        return Some(RateKey::Header(name.to_ascii_lowercase()));
    }
    match text.as_str() {
        "ip" => Some(RateKey::Ip),
        "route" => Some(RateKey::Route),
        _ => {
            cx.unknown_word(&item.place, &text, &["ip", "route", "header:<name>"]);
            None
        }
    }
}
