//! What decoding collects, and the cursor it moves over the tree.

use super::schema::{Key, Schema, Treatment, nearest};
use crate::node::{Entry, Node, Position, Value};
use crate::{Problem, Problems, Reason};
use jaco_model::ErrorCode;

/// What became of one field that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// The field's path, such as `services.web.image`.
    pub path: String,
    /// What becomes of it.
    pub treatment: Treatment,
    /// A remark; empty for most.
    pub note: &'static str,
    /// Where its key was written.
    pub at: Position,
}

/// Faults, warnings, features of later versions, and the fates of fields.
#[derive(Debug, Default)]
pub(super) struct Cx {
    pub(super) errors: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
    pub(super) later: Vec<Problem>,
    pub(super) fields: Vec<Field>,
    expanded: usize,
    overflowed: bool,
}

/// Names that a suggestion is looked for among.
pub(super) const CANDIDATES_MAX: usize = 1_000;
/// Ports and copied mounts of one deployment.
const EXPANDED_MAX: usize = 10_000;

/// A place to point at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) at: Position,
    pub(super) path: String,
}

/// A decoded value that still knows where it was written.
#[derive(Clone, Debug)]
pub(super) struct Spot<T> {
    pub(super) value: T,
    pub(super) place: Place,
}

/// One value of the tree with its path.
#[derive(Clone, Debug)]
pub(super) struct Item<'n> {
    pub(super) node: &'n Node,
    pub(super) place: Place,
}

/// A map whose keys were checked against a schema.
#[derive(Clone, Debug)]
pub(super) struct Fields<'n> {
    node: &'n Node,
    pub(super) place: Place,
}

impl Cx {
    pub(super) fn fail(&mut self, place: &Place, reason: Reason, message: impl Into<String>) {
        self.errors.push(Problem::invalid(place.at, &place.path, reason, message));
    }

    pub(super) fn push(&mut self, problem: Problem) {
        self.errors.push(problem);
    }

    pub(super) fn warn(&mut self, place: &Place, message: impl Into<String>) {
        let code = ErrorCode::ValidationFailed;
        self.warnings.push(Problem::new(code, place.at, &place.path, message));
    }

    /// The candidate nearest to a word. Faults far beyond what one run reports get none, because
    /// a hostile document could make the comparisons take minutes.
    pub(super) fn nearest<'c>(
        &self,
        word: &str,
        candidates: impl IntoIterator<Item = &'c str>,
    ) -> Option<String> {
        let worthwhile = self.errors.len() < 2 * Problems::MAX_REPORTED;
        let candidates = candidates.into_iter().take(CANDIDATES_MAX);
        if worthwhile { nearest(word, candidates) } else { None }
    }

    /// Takes from the number of ports and mounts that short notations may expand to; `false`
    /// when it is used up.
    pub(super) fn expand(&mut self, place: &Place, count: usize) -> bool {
        self.expanded = self.expanded.saturating_add(count);
        let fits = self.expanded <= EXPANDED_MAX;
        if !fits && !self.overflowed {
            self.overflowed = true;
            let message = format!("the deployment has more than {EXPANDED_MAX} ports and mounts");
            self.fail(place, Reason::Range, message);
        }
        fits
    }

    /// Notes a feature that this version validates but does not run.
    pub(super) fn later(&mut self, place: &Place, what: &str) {
        let message = format!("{what} is not in this version yet");
        self.later.push(Problem::invalid(place.at, &place.path, Reason::Unsupported, message));
    }

    /// A word outside a closed list.
    pub(super) fn unknown_word(&mut self, place: &Place, word: &str, words: &[&str]) {
        let message = format!("unknown value \"{word}\", expected one of {}", words.join(", "));
        let mut problem = Problem::invalid(place.at, &place.path, Reason::Unknown, message);
        problem.suggestion = self.nearest(word, words.iter().copied());
        self.push(problem);
    }

    fn check_key(&mut self, path: &str, entry: &Entry, schema: &Schema) {
        let place = Place { at: entry.key_at, path: join(path, &entry.key) };
        let Some(key) = schema.find(&entry.key) else {
            return self.check_unknown(&place, &entry.key, schema);
        };
        self.fields.push(Field {
            path: place.path.clone(),
            treatment: key.treatment,
            note: key.note,
            at: place.at,
        });
        if is_blank(&entry.value) && !key.legacy {
            return;
        }
        match key.treatment {
            Treatment::Ignored => self.warn(&place, format!("ignored: {}", key.note)),
            Treatment::Refused => self.refuse(&place, key),
            Treatment::Honoured | Treatment::Client | Treatment::Silent | Treatment::Gated => {}
        }
    }

    fn check_unknown(&mut self, place: &Place, key: &str, schema: &Schema) {
        if schema.extensions && key.starts_with("x-") {
            let (path, treatment, note) = (place.path.clone(), Treatment::Silent, "extension");
            return self.fields.push(Field { path, treatment, note, at: place.at });
        }
        let mut problem = Problem::invalid(place.at, &place.path, Reason::Unknown, "unknown field");
        problem.suggestion = self.nearest(key, schema.usable());
        self.push(problem);
    }

    fn refuse(&mut self, place: &Place, key: &Key) {
        if !key.legacy {
            let message = format!("not supported: {}", key.note);
            return self.fail(place, Reason::Unsupported, message);
        }
        let message = format!("key of an old file format; use {}", key.note);
        self.push(
            Problem::new(ErrorCode::LegacyComposeField, place.at, &place.path, message)
                .with("modern_equivalent", key.note),
        );
    }
}

impl<T> Spot<T> {
    pub(super) fn new(value: T, place: &Place) -> Spot<T> {
        Spot { value, place: place.clone() }
    }
}

impl<'n> Item<'n> {
    pub(super) fn root(node: &'n Node) -> Item<'n> {
        Item { node, place: Place { at: node.at, path: String::new() } }
    }

    /// A map with known keys. Anything else is reported and reads as an empty map.
    pub(super) fn map(&self, cx: &mut Cx, schema: &Schema) -> Fields<'n> {
        match &self.node.value {
            Value::Map(entries) => {
                for entry in entries {
                    cx.check_key(&self.place.path, entry, schema);
                }
            }
            Value::Null => {}
            Value::Scalar { .. } | Value::List(_) => self.wrong_kind(cx, "a map"),
        }
        Fields { node: self.node, place: self.place.clone() }
    }

    /// The entries of a map whose keys the user chooses, with the place of each key.
    pub(super) fn entries(&self, cx: &mut Cx) -> Vec<(&'n str, Place, Item<'n>)> {
        match &self.node.value {
            Value::Map(entries) => entries.iter().map(|entry| self.entry(entry)).collect(),
            Value::Null => Vec::new(),
            Value::Scalar { .. } | Value::List(_) => {
                self.wrong_kind(cx, "a map");
                Vec::new()
            }
        }
    }

    fn entry(&self, entry: &'n Entry) -> (&'n str, Place, Item<'n>) {
        let path = join(&self.place.path, &entry.key);
        let key = Place { at: entry.key_at, path: path.clone() };
        let value = Item { node: &entry.value, place: Place { at: entry.value.at, path } };
        (&entry.key, key, value)
    }

    /// The elements of a list; a lone scalar is reported.
    pub(super) fn list(&self, cx: &mut Cx) -> Vec<Item<'n>> {
        match &self.node.value {
            Value::List(nodes) => self.elements(nodes),
            Value::Null => Vec::new(),
            Value::Scalar { .. } | Value::Map(_) => {
                self.wrong_kind(cx, "a list");
                Vec::new()
            }
        }
    }

    /// The elements of a list, or the one value itself.
    pub(super) fn one_or_many(&self) -> Vec<Item<'n>> {
        match &self.node.value {
            Value::List(nodes) => self.elements(nodes),
            Value::Null => Vec::new(),
            Value::Scalar { .. } | Value::Map(_) => vec![self.clone()],
        }
    }

    fn elements(&self, nodes: &'n [Node]) -> Vec<Item<'n>> {
        let item = |(index, node): (usize, &'n Node)| Item {
            node,
            place: Place { at: node.at, path: format!("{}[{index}]", self.place.path) },
        };
        nodes.iter().enumerate().map(item).collect()
    }

    pub(super) fn wrong_kind(&self, cx: &mut Cx, wanted: &str) {
        let message = format!("expected {wanted}, got {}", self.node.kind());
        cx.fail(&self.place, Reason::Type, message);
    }

    pub(super) fn is_scalar(&self) -> bool {
        matches!(self.node.value, Value::Scalar { .. })
    }

    pub(super) fn is_map(&self) -> bool {
        matches!(self.node.value, Value::Map(_))
    }

    pub(super) fn is_list(&self) -> bool {
        matches!(self.node.value, Value::List(_))
    }

    /// The value with its place.
    pub(super) fn spot<T>(&self, value: T) -> Spot<T> {
        Spot::new(value, &self.place)
    }
}

impl<'n> Fields<'n> {
    /// The value of a key; nothing written counts as absent.
    pub(super) fn get(&self, key: &str) -> Option<Item<'n>> {
        let node = self.node.get(key).filter(|node| !node.is_null())?;
        Some(Item { node, place: Place { at: node.at, path: join(&self.place.path, key) } })
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// Reports a key that must be there.
    pub(super) fn require(&self, cx: &mut Cx, key: &str) -> Option<Item<'n>> {
        let found = self.get(key);
        if found.is_none() {
            let message = format!("{key} is required");
            cx.fail(&self.place, Reason::Required, message);
        }
        found
    }

    /// Whether anything at all was written.
    pub(super) fn is_empty(&self) -> bool {
        is_blank(self.node)
    }
}

/// Nothing, an empty list or an empty map.
fn is_blank(node: &Node) -> bool {
    match &node.value {
        Value::Null => true,
        Value::Scalar { .. } => false,
        Value::List(nodes) => nodes.is_empty(),
        Value::Map(entries) => entries.is_empty(),
    }
}

pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
