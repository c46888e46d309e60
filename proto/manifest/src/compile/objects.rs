//! Secrets and configs: what the top level declares and what services refer to.
//!
//! They are checked in full. Services do not get them in this version; routes do.

use super::cx::{CANDIDATES_MAX, Cx, Fields, Item, Place, Spot};
use super::networks::external;
use super::schema::{Key, Schema, compose, h, r};
use crate::{Problem, Reason};
use jaco_model::ErrorCode;
use std::collections::BTreeMap;

const STORED: &str = "JACO stores them itself; use file, environment or content";
const KEYS: &[Key] = &[
    h("content"),
    r("driver", STORED),
    r("driver_opts", STORED),
    h("environment"),
    h("external"),
    h("file"),
    h("labels"),
    h("name"),
    r("template_driver", STORED),
];
const OBJECT: Schema = compose(KEYS);
const REFERENCE: Schema = compose(&[h("gid"), h("mode"), h("source"), h("target"), h("uid")]);

/// Secret or config.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Secret,
    Config,
}

/// One name under `secrets` or `configs` of a service.
#[derive(Clone, Debug)]
pub(super) struct Reference {
    pub(super) kind: Kind,
    pub(super) source: String,
}

/// Names of the declared objects.
#[derive(Debug, Default)]
pub(super) struct Declared {
    secrets: BTreeMap<String, Object>,
    configs: BTreeMap<String, Object>,
}

#[derive(Debug)]
struct Object {
    /// `None` for an external one, and when it is wrong.
    source: Option<ObjectSource>,
}

/// Where the content of a secret or config comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObjectSource {
    /// This file, beside the compose file unless it is absolute.
    File(String),
    /// This variable of the caller's environment.
    Environment(String),
    /// Written out in the compose file.
    Content(String),
}

impl Kind {
    const fn word(self) -> &'static str {
        match self {
            Kind::Secret => "secret",
            Kind::Config => "config",
        }
    }
}

/// Decodes the top level's `secrets` and `configs`.
pub(super) fn decode_declared(cx: &mut Cx, root: &Fields<'_>) -> Declared {
    Declared {
        secrets: objects(cx, root, "secrets", Kind::Secret),
        configs: objects(cx, root, "configs", Kind::Config),
    }
}

fn objects(cx: &mut Cx, root: &Fields<'_>, key: &str, kind: Kind) -> BTreeMap<String, Object> {
    let mut places = BTreeMap::new();
    let Some(item) = root.get(key) else { return places };
    for (name, place, value) in item.entries(cx) {
        let source = declared(cx, kind, &place, &value);
        places.insert(name.to_owned(), Object { source });
    }
    places
}

fn declared(cx: &mut Cx, kind: Kind, place: &Place, item: &Item<'_>) -> Option<ObjectSource> {
    let fields = item.map(cx, &OBJECT);
    let external = fields.get("external").and_then(|item| external(cx, &item)).is_some();
    let sources: Vec<_> =
        ["file", "environment", "content"].into_iter().filter(|key| fields.has(key)).collect();
    fields.word(cx, "name");
    let file = fields.word(cx, "file").map(ObjectSource::File);
    let variable = fields.word(cx, "environment").map(ObjectSource::Environment);
    let content = fields.string(cx, "content").map(ObjectSource::Content);
    fields.pairs(cx, "labels");
    match (external, sources.as_slice()) {
        (true, []) | (false, [_]) => {}
        (true, [source, ..]) => {
            let message = format!("external and {source} exclude each other");
            cx.fail(place, Reason::Conflict, message);
        }
        (false, []) => {
            let message = "needs one of file, environment, content or external: true";
            cx.fail(place, Reason::Required, message);
        }
        (false, [first, second, ..]) => {
            let message = format!("{first} and {second} exclude each other");
            cx.fail(place, Reason::Conflict, message);
        }
    }
    if kind == Kind::Secret && !external && sources == ["content"] {
        cx.warn(place, "the secret's content is readable in the file itself");
    }
    file.or(variable).or(content).filter(|_| !external)
}

/// Decodes `secrets` and `configs` of a service.
pub(super) fn decode_references(cx: &mut Cx, fields: &Fields<'_>) -> Vec<Spot<Reference>> {
    let mut references = Vec::new();
    for (key, kind) in [("secrets", Kind::Secret), ("configs", Kind::Config)] {
        let Some(item) = fields.get(key) else { continue };
        for entry in item.list(cx) {
            references.extend(reference(cx, kind, &entry).map(|reference| entry.spot(reference)));
        }
    }
    references
}

fn reference(cx: &mut Cx, kind: Kind, item: &Item<'_>) -> Option<Reference> {
    if !item.is_map() {
        return Some(Reference { kind, source: item.word(cx)? });
    }
    let fields = item.map(cx, &REFERENCE);
    let target = fields.word(cx, "target");
    if kind == Kind::Config && target.as_ref().is_some_and(|target| !target.starts_with('/')) {
        let message = "the target of a config must be an absolute path";
        cx.fail(&item.place, Reason::Format, message);
    }
    fields.int(cx, "uid", 0..=i64::from(u32::MAX));
    fields.int(cx, "gid", 0..=i64::from(u32::MAX));
    if let Some(item) = fields.get("mode") {
        item.file_mode(cx);
    }
    Some(Reference { kind, source: fields.require(cx, "source")?.word(cx)? })
}

impl Declared {
    /// Checks that every reference is declared, and says that this version does not mount them.
    pub(super) fn check(&self, cx: &mut Cx, reference: &Spot<Reference>) {
        let Reference { kind, source } = &reference.value;
        if self.require(cx, *kind, source, &reference.place) {
            cx.later(&reference.place, &format!("a {}", kind.word()));
        }
    }

    /// Where a declared secret comes from; `None` for an external one.
    pub(super) fn source_of(&self, kind: Kind, name: &str) -> Option<&ObjectSource> {
        self.of(kind).get(name)?.source.as_ref()
    }

    fn of(&self, kind: Kind) -> &BTreeMap<String, Object> {
        match kind {
            Kind::Secret => &self.secrets,
            Kind::Config => &self.configs,
        }
    }

    /// Whether an object is declared; if not, it is reported.
    pub(super) fn require(&self, cx: &mut Cx, kind: Kind, name: &str, place: &Place) -> bool {
        let declared = self.of(kind);
        let code = match kind {
            Kind::Secret => ErrorCode::UnknownSecret,
            Kind::Config => ErrorCode::UnknownConfig,
        };
        if declared.contains_key(name) {
            return true;
        }
        let word = kind.word();
        let names: Vec<&str> = declared.keys().map(String::as_str).take(CANDIDATES_MAX).collect();
        let message = format!("{word} \"{name}\" is not declared{}", listing(&names));
        let mut problem = Problem::new(code, place.at, &place.path, message)
            .with(word, name)
            .with_declared(&names);
        problem.suggestion = cx.nearest(name, names);
        cx.push(problem);
        false
    }
}

/// Names that one message lists.
const LISTED_MAX: usize = 20;

fn joined(names: &[&str]) -> String {
    match names.split_at_checked(LISTED_MAX) {
        Some((first, rest)) if !rest.is_empty() => format!("{}, …", first.join(", ")),
        Some(_) | None => names.join(", "),
    }
}

/// `, declared: a, b`, or nothing.
pub(super) fn listing(names: &[&str]) -> String {
    if names.is_empty() { String::new() } else { format!(", declared: {}", joined(names)) }
}

impl Problem {
    /// The same problem with the names that would have been right, if there are any.
    pub(super) fn with_declared(self, names: &[&str]) -> Problem {
        if names.is_empty() { self } else { self.with("declared", joined(names)) }
    }
}
