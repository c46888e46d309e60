//! `depends_on` and `links` of a service.

use super::cx::{Cx, Fields, Item, Place, Spot};
use super::schema::{Schema, compose, h};
use super::service::Link;
use crate::Problem;
use jaco_model::spec::{Condition, Dependency};
use jaco_model::{ErrorCode, ServiceName};

const DEPENDENCY: Schema = compose(&[h("condition"), h("required"), h("restart")]);
const CONDITIONS: [(&str, Condition); 3] = [
    ("service_started", Condition::ServiceStarted),
    ("service_healthy", Condition::ServiceHealthy),
    ("service_completed_successfully", Condition::ServiceCompletedSuccessfully),
];

/// The condition as users write it.
pub(super) fn condition_word(condition: Condition) -> &'static str {
    let word = CONDITIONS.iter().find(|(_, other)| *other == condition);
    word.map_or("service_started", |(word, _)| word)
}

/// Decodes `depends_on`: a list of names, or a map with conditions.
pub(super) fn decode(cx: &mut Cx, fields: &Fields<'_>) -> Vec<Spot<Dependency>> {
    let Some(item) = fields.get("depends_on") else { return Vec::new() };
    if item.is_list() {
        let list = item.list(cx);
        return list
            .iter()
            .filter_map(|entry| Some(entry.spot(started(&entry.word(cx)?))))
            .collect();
    }
    let entries = item.entries(cx);
    entries.iter().map(|(name, place, value)| dependency(cx, name, place, value)).collect()
}

/// The plain dependency of the list form.
pub(super) fn started(service: &str) -> Dependency {
    Dependency {
        service: ServiceName::new(service),
        condition: Condition::ServiceStarted,
        required: true,
        restart: false,
    }
}

fn dependency(cx: &mut Cx, name: &str, place: &Place, item: &Item<'_>) -> Spot<Dependency> {
    let fields = item.map(cx, &DEPENDENCY);
    let mut dependency = started(name);
    if let Some(item) = fields.get("condition") {
        dependency.condition = condition(cx, name, &item).unwrap_or(dependency.condition);
    }
    dependency.required = fields.boolean(cx, "required").unwrap_or(true);
    dependency.restart = fields.boolean(cx, "restart").unwrap_or_default();
    Spot::new(dependency, place)
}

fn condition(cx: &mut Cx, service: &str, item: &Item<'_>) -> Option<Condition> {
    let text = item.text(cx)?;
    if let Some((_, condition)) = CONDITIONS.iter().find(|(word, _)| *word == text) {
        return Some(*condition);
    }
    let words: Vec<&str> = CONDITIONS.iter().map(|(word, _)| *word).collect();
    let message = format!("unknown condition \"{text}\", expected one of {}", words.join(", "));
    let code = ErrorCode::UnsupportedDependsOnCondition;
    let mut problem = Problem::new(code, item.place.at, &item.place.path, message)
        .with("depends_on", service)
        .with("condition", text);
    problem.suggestion = cx.nearest(text, words);
    cx.push(problem);
    None
}

/// Decodes `links`: `service[:alias]`.
pub(super) fn decode_links(cx: &mut Cx, fields: &Fields<'_>) -> Vec<Spot<Link>> {
    let Some(item) = fields.get("links") else { return Vec::new() };
    let entries = item.list(cx);
    if !entries.is_empty() {
        let message = "read as an alias on shared networks and depends_on; prefer those";
        cx.warn(&item.place, message);
    }
    entries.iter().filter_map(|entry| link(cx, entry)).collect()
}

fn link(cx: &mut Cx, item: &Item<'_>) -> Option<Spot<Link>> {
    let text = item.word(cx)?;
    let (service, alias) = match text.split_once(':') {
        Some((service, alias)) => (service, Some(alias.to_owned())),
        None => (text.as_str(), None),
    };
    Some(item.spot(Link { service: ServiceName::new(service), alias }))
}
