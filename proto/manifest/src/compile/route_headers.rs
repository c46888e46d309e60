//! Header rules of a route.

use super::cx::{Cx, Item, Place};
use super::schema::{Schema, closed, h};
use crate::Reason;
use jaco_model::spec::HeaderRules;

const HEADERS: Schema = closed(&[h("request"), h("response")]);
const RULES: Schema = closed(&[h("add"), h("remove"), h("set")]);
const PLACEHOLDERS: [&str; 4] = ["client_ip", "host", "scheme", "request_id"];

/// Headers that belong to one connection (RFC 9110, 7.6.1), and those the proxy needs itself.
const OF_THE_PROXY: [&str; 10] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Rules for requests, and for answers.
pub(super) fn decode(cx: &mut Cx, item: &Item<'_>) -> (HeaderRules, HeaderRules) {
    let fields = item.map(cx, &HEADERS);
    let mut of = |key: &str| match fields.get(key) {
        Some(item) => rules(cx, &item, key == "response"),
        None => HeaderRules::default(),
    };
    (of("request"), of("response"))
}

fn rules(cx: &mut Cx, item: &Item<'_>, of_answers: bool) -> HeaderRules {
    let fields = item.map(cx, &RULES);
    let mut made = HeaderRules::default();
    for (action, values) in [("set", &mut made.set), ("add", &mut made.add)] {
        let Some(item) = fields.get(action) else { continue };
        for (name, place, value) in item.entries(cx) {
            check_name(cx, &place, name, of_answers);
            let Some(text) = value.text(cx) else { continue };
            check_text(cx, &value, text);
            check_placeholders(cx, &value, text, &PLACEHOLDERS);
            values.insert(name.to_ascii_lowercase(), text.to_owned());
        }
    }
    for entry in fields.get("remove").map(|item| item.list(cx)).unwrap_or_default() {
        if let Some(name) = entry.word(cx) {
            check_name(cx, &entry.place, &name, of_answers);
            made.remove.push(name.to_ascii_lowercase());
        }
    }
    made
}

/// Refuses what would end a header or be no text in one.
pub(super) fn check_text(cx: &mut Cx, item: &Item<'_>, text: &str) {
    if text.chars().any(char::is_control) {
        cx.fail(&item.place, Reason::Format, "a header has no control characters");
    } else if !text.is_ascii() {
        cx.fail(&item.place, Reason::Format, "a header has ASCII characters only");
    }
}

pub(super) fn check_placeholders(cx: &mut Cx, item: &Item<'_>, text: &str, known: &[&str]) {
    let names = text.split('{').skip(1).filter_map(|rest| rest.split_once('}'));
    for (name, _) in names {
        if !known.contains(&name) {
            cx.unknown_word(&item.place, name, known);
        }
    }
}

/// Whether a text is a token of HTTP (RFC 9110, 5.6.2).
pub(super) fn is_token(text: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    !text.is_empty() && text.chars().all(legal)
}

fn check_name(cx: &mut Cx, place: &Place, name: &str, of_answers: bool) {
    let lower = name.to_ascii_lowercase();
    if !is_token(name) {
        cx.fail(place, Reason::Format, format!("\"{name}\" is not a header name"));
    } else if lower == "host" && !of_answers {
        let message = "not supported: host is changed by host_header";
        cx.fail(place, Reason::Unsupported, message);
    } else if OF_THE_PROXY.contains(&lower.as_str()) || lower == "host" {
        cx.fail(place, Reason::Unsupported, format!("not supported: {name} belongs to the proxy"));
    }
}
