//! `acme_dns` of a deployment: who publishes the answers to DNS-01 challenges of its routes.

use super::cx::{Cx, Fields, Item, Place, Spot};
use super::schema::{Schema, closed, h};
use crate::Reason;
use jaco_model::Millis;
use jaco_model::spec::{DnsMethod, DnsProvider, TsigAlgorithm};
use std::collections::BTreeMap;
use std::net::SocketAddr;

const RFC2136: Schema = closed(&[
    h("algorithm"),
    h("cname"),
    h("key_name"),
    h("key_secret"),
    h("propagation"),
    h("resolvers"),
    h("server"),
    h("type"),
    h("zone"),
]);
const WEBHOOK: Schema = closed(&[
    h("cname"),
    h("headers_secret"),
    h("propagation"),
    h("resolvers"),
    h("type"),
    h("url"),
]);
/// Longest wait for a record: an order has no longer life.
const PROPAGATION_MAX: Millis = Millis::secs(3_600);
/// Port of name servers.
const PORT: u16 = 53;
/// Longest name of a provider.
const NAME_MAX: usize = 63;

/// A provider, and the secret that it needs the content of.
#[derive(Clone, Debug)]
pub(super) struct Provider {
    pub(super) provider: DnsProvider,
    pub(super) secret: Option<Spot<String>>,
}

#[derive(Clone, Copy)]
enum Kind {
    Rfc2136,
    Webhook,
    Exec,
}

/// Decodes all providers; those with faults are left out.
pub(super) fn decode(cx: &mut Cx, fields: &Fields<'_>) -> BTreeMap<String, Provider> {
    let Some(item) = fields.get("acme_dns") else { return BTreeMap::new() };
    let mut providers = BTreeMap::new();
    for (name, place, value) in item.entries(cx) {
        let is_legal = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || name.len() > NAME_MAX || !name.chars().all(is_legal) {
            let message = format!(
                "\"{name}\" is no provider's name: 1 to {NAME_MAX} of letters, 0-9, -, _, ."
            );
            cx.fail(&place, Reason::Format, message);
        }
        let made = provider(cx, &value);
        providers.extend(made.map(|made| (name.to_owned(), made)));
    }
    providers
}

fn provider(cx: &mut Cx, item: &Item<'_>) -> Option<Provider> {
    let types = [("rfc2136", Kind::Rfc2136), ("webhook", Kind::Webhook), ("exec", Kind::Exec)];
    let Some(node) = item.node.get("type") else {
        if item.is_map() || item.node.is_null() {
            cx.fail(&item.place, Reason::Required, "type is required");
        } else {
            item.wrong_kind(cx, "a map");
        }
        return None;
    };
    let place = Place { at: node.at, path: format!("{}.type", item.place.path) };
    let kind = Item { node, place: place.clone() }.choice(cx, &types)?;
    let (fields, method, secret) = match kind {
        Kind::Rfc2136 => {
            let fields = item.map(cx, &RFC2136);
            let (method, secret) = rfc2136(cx, &fields).unzip();
            (fields, method, secret)
        }
        Kind::Webhook => {
            let fields = item.map(cx, &WEBHOOK);
            let (method, secret) = webhook(cx, &fields).unzip();
            (fields, method, secret.flatten())
        }
        Kind::Exec => {
            let message = "not supported: exec providers belong into jacod.yaml; use webhook here";
            cx.fail(&place, Reason::Unsupported, message);
            return None;
        }
    };
    let propagation = fields.get("propagation");
    let propagation = propagation
        .and_then(|item| item.duration_in(cx, Millis(0)..=PROPAGATION_MAX))
        .unwrap_or(DnsProvider::PROPAGATION);
    let resolvers = resolvers(cx, &fields);
    let follow_cname = fields.boolean(cx, "cname").unwrap_or(true);
    Some(Provider {
        provider: DnsProvider { method: method?, propagation, resolvers, follow_cname },
        secret,
    })
}

fn rfc2136(cx: &mut Cx, fields: &Fields<'_>) -> Option<(DnsMethod, Spot<String>)> {
    let required = |cx: &mut Cx, key: &str| {
        let item = fields.require(cx, key)?;
        Some(item.spot(item.word(cx)?))
    };
    let server = required(cx, "server");
    let key_name = required(cx, "key_name");
    let secret = required(cx, "key_secret");
    let zone = fields.word(cx, "zone");
    let algorithms = TsigAlgorithm::ALL.map(|algorithm| (algorithm.name(), algorithm));
    let algorithm = fields.choice(cx, "algorithm", &algorithms).unwrap_or_default();
    let secret = secret?;
    let method = DnsMethod::Rfc2136 {
        server: server?.value,
        zone,
        key_name: key_name?.value,
        key_secret: secret.value.clone(),
        algorithm,
    };
    Some((method, secret))
}

fn webhook(cx: &mut Cx, fields: &Fields<'_>) -> Option<(DnsMethod, Option<Spot<String>>)> {
    let secret = fields.get("headers_secret").and_then(|item| Some(item.spot(item.word(cx)?)));
    let item = fields.require(cx, "url")?;
    let url = item.word(cx)?;
    if !url.starts_with("https://") {
        cx.fail(&item.place, Reason::Format, format!("expected an https URL, got \"{url}\""));
        return None;
    }
    let headers_secret = secret.as_ref().map(|secret| secret.value.clone());
    Some((DnsMethod::Webhook { url, headers_secret }, secret))
}

fn resolvers(cx: &mut Cx, fields: &Fields<'_>) -> Vec<SocketAddr> {
    let Some(item) = fields.get("resolvers") else { return Vec::new() };
    let mut found = Vec::new();
    for item in item.list(cx) {
        let Some(text) = item.text(cx) else { continue };
        let alone = text.parse().map(|address| SocketAddr::new(address, PORT));
        match text.parse().or(alone) {
            Ok(address) => found.push(address),
            Err(_) => {
                let message = format!("\"{text}\" is no address; expected one such as 192.0.2.1");
                cx.fail(&item.place, Reason::Format, message);
            }
        }
    }
    found
}
