//! Placement constraints and preferences.

use super::cx::{Cx, Fields, Item};
use super::schema::{Schema, compose, h};
use crate::Reason;
use jaco_model::spec::{Constraint, ConstraintKey, Preference};

const PREFERENCE: Schema = compose(&[h("spread")]);
const KEYS: [&str; 5] =
    ["node.hostname", "node.id", "node.role", "node.platform.os", "node.platform.arch"];

/// Decodes the key `constraints`.
pub(super) fn decode(cx: &mut Cx, fields: &Fields<'_>) -> Vec<Constraint> {
    let Some(item) = fields.get("constraints") else { return Vec::new() };
    item.list(cx).iter().filter_map(|item| constraint(cx, item)).collect()
}

fn constraint(cx: &mut Cx, item: &Item<'_>) -> Option<Constraint> {
    let text = item.word(cx)?;
    let split = |operator| text.split_once(operator);
    let (key, equal, value) = match (split("!="), split("==")) {
        (Some((key, value)), _) => (key, false, value),
        (None, Some((key, value))) => (key, true, value),
        (None, None) => {
            let message = format!("expected <key>==<value> or <key>!=<value>, got \"{text}\"");
            cx.fail(&item.place, Reason::Format, message);
            return None;
        }
    };
    let (key, value) = (key.trim(), value.trim());
    let key = constraint_key(cx, item, key)?;
    if key == ConstraintKey::Role {
        check_role(cx, item, value);
    }
    Some(Constraint { key, equal, value: value.to_owned() })
}

fn constraint_key(cx: &mut Cx, item: &Item<'_>, key: &str) -> Option<ConstraintKey> {
    if key.starts_with("engine.labels.") {
        let message = "not supported: engine labels are not read; use node.labels";
        cx.fail(&item.place, Reason::Unsupported, message);
        return None;
    }
    Some(match key {
        "node.hostname" => ConstraintKey::Hostname,
        "node.id" => ConstraintKey::Id,
        "node.role" => ConstraintKey::Role,
        "node.platform.os" => ConstraintKey::Os,
        "node.platform.arch" => ConstraintKey::Arch,
        _ => match key.strip_prefix("node.labels.").filter(|label| !label.is_empty()) {
            Some(label) => ConstraintKey::Label(label.to_owned()),
            None => {
                cx.unknown_word(&item.place, key, &[&KEYS[..], &["node.labels.<label>"]].concat());
                return None;
            }
        },
    })
}

fn check_role(cx: &mut Cx, item: &Item<'_>, value: &str) {
    if !matches!(value, "manager" | "worker") {
        return cx.unknown_word(&item.place, value, &["manager", "worker"]);
    }
    cx.warn(&item.place, "node.role: voters count as manager, other nodes as worker");
}

/// Decodes the key `preferences`.
pub(super) fn decode_preferences(cx: &mut Cx, fields: &Fields<'_>) -> Vec<Preference> {
    let Some(item) = fields.get("preferences") else { return Vec::new() };
    item.list(cx).iter().filter_map(|item| preference(cx, item)).collect()
}

fn preference(cx: &mut Cx, item: &Item<'_>) -> Option<Preference> {
    let spread = item.map(cx, &PREFERENCE).require(cx, "spread")?;
    let text = spread.word(cx)?;
    let label = text.strip_prefix("node.labels.").filter(|label| !label.is_empty());
    if label.is_none() {
        let message = format!("expected node.labels.<label>, got \"{text}\"");
        cx.fail(&spread.place, Reason::Format, message);
    }
    Some(Preference { label: label?.to_owned() })
}
