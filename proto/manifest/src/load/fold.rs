//! `env_file` and `label_file` folded into the service, and variables without a value filled in.

use super::env::{EnvEntry, EnvFormat, parse_env};
use super::files::{FileKind, resolve};
use super::interpolate::Variables;
use super::merge::{Bare, pairs};
use super::paths::{for_each_entry, get_mut, take};
use super::session::Session;
use crate::node::{Entry, Node, Position, Value};
use crate::problem::{Problem, Reason};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Folds the files of every service; relative paths start at `directory`.
pub(crate) fn fold(
    session: &mut Session<'_>,
    root: &mut Node,
    directory: &Path,
    variables: &Variables,
) {
    let mut folder = Folder { session, directory, variables, read: BTreeMap::new() };
    for_each_entry(root, "services", |service| {
        if matches!(service.value.value, Value::Map(_)) {
            folder.service(service);
        }
    });
}

struct Folder<'f, 'a> {
    session: &'f mut Session<'a>,
    directory: &'f Path,
    variables: &'f Variables,
    /// Many services share one file; it is parsed once.
    read: BTreeMap<(PathBuf, bool), Rc<Vec<EnvEntry>>>,
}

/// One item of `env_file`.
struct Wanted {
    path: PathBuf,
    /// Relative, on the standard input: refused already, and not to be looked for.
    is_lost: bool,
    at: Position,
    field: String,
    required: bool,
    format: EnvFormat,
}

impl Folder<'_, '_> {
    fn service(&mut self, service: &mut Entry) {
        let path = format!("services.{}", service.key);
        let node = &mut service.value;
        for (from, to, format, bare) in [
            ("env_file", "environment", EnvFormat::Usual, Bare::Variable),
            ("label_file", "labels", EnvFormat::Labels, Bare::Empty),
        ] {
            if let Some(files) = take(node, from) {
                let wanted = self.wanted(&files.value, &format!("{path}.{from}"), format);
                self.fold_into(node, &files, (to, bare), wanted);
            }
        }
        if let Some(environment) = get_mut(node, "environment") {
            self.fill(environment, &format!("{path}.environment"));
        }
    }

    fn wanted(&mut self, node: &Node, field: &str, format: EnvFormat) -> Vec<Wanted> {
        match &node.value {
            Value::Null => Vec::new(),
            Value::List(items) => {
                let items = items.iter().enumerate();
                items
                    .filter_map(|(index, item)| {
                        self.item(item, format!("{field}[{index}]"), format)
                    })
                    .collect()
            }
            Value::Scalar { .. } | Value::Map(_) => {
                self.item(node, field.to_owned(), format).into_iter().collect()
            }
        }
    }

    fn item(&mut self, node: &Node, field: String, format: EnvFormat) -> Option<Wanted> {
        let wanted = |text: &str, at, required, format| Wanted {
            path: resolve(self.directory, Path::new(text)),
            is_lost: self.session.is_stdin(node.at.file) && !Path::new(text).is_absolute(),
            at,
            field: field.clone(),
            required,
            format,
        };
        let Value::Map(entries) = &node.value else {
            if let Value::Scalar { text, .. } = &node.value {
                return Some(wanted(text, node.at, true, format));
            }
            let message = format!("expected a path, found {}", node.kind());
            self.session.error(Problem::invalid(node.at, field, Reason::Type, message));
            return None;
        };
        let (mut path, mut required, mut format) = (None, true, format);
        for entry in entries {
            let text = match &entry.value.value {
                Value::Scalar { text, .. } => text.as_str(),
                Value::Null | Value::List(_) | Value::Map(_) => "",
            };
            let fault = match (entry.key.as_str(), text) {
                ("path", _) if !text.is_empty() => {
                    path = Some((text, entry.value.at));
                    continue;
                }
                ("required", "true" | "yes" | "on") => continue,
                ("required", "false" | "no" | "off") => {
                    required = false;
                    continue;
                }
                ("format", "raw") => {
                    format = EnvFormat::Raw;
                    continue;
                }
                ("path", _) => (entry.value.at, Reason::Type, "expected a path"),
                ("required", _) => (entry.value.at, Reason::Type, "expected `true` or `false`"),
                ("format", _) => (entry.value.at, Reason::Unknown, "the only format is `raw`"),
                _ => (entry.key_at, Reason::Unknown, "unknown field"),
            };
            let (at, reason, message) = fault;
            let field = format!("{field}.{}", entry.key);
            self.session.error(Problem::invalid(at, field, reason, message));
            return None;
        }
        let Some((text, at)) = path else {
            let field = format!("{field}.path");
            self.session.error(Problem::invalid(node.at, field, Reason::Required, "missing"));
            return None;
        };
        Some(wanted(text, at, required, format))
    }

    /// Puts what the files hold under the keys that `node` has at `to` already.
    fn fold_into(
        &mut self,
        node: &mut Node,
        files: &Entry,
        (to, bare): (&str, Bare),
        wanted: Vec<Wanted>,
    ) {
        let mut folded: BTreeMap<String, (String, Position)> = BTreeMap::new();
        for file in wanted {
            let entries = self.entries(&file);
            if !self.session.charge_nodes(2 * entries.len(), file.at) {
                return;
            }
            for entry in entries.iter() {
                folded.insert(entry.key.clone(), (entry.value.clone(), entry.at));
            }
        }
        if folded.is_empty() {
            return;
        }
        let (key_at, explicit) = match take(node, to) {
            Some(entry) => (entry.key_at, pairs(entry.value, bare)),
            None => (files.key_at, Node { value: Value::Null, at: files.value.at }),
        };
        let mut entries = match explicit.value {
            Value::Map(entries) => entries,
            Value::Null => Vec::new(),
            // Neither form of the field: left alone, for the schema to refuse.
            value @ (Value::Scalar { .. } | Value::List(_)) => {
                let value = Node { value, at: explicit.at };
                return put(node, Entry { key: to.to_owned(), key_at, value });
            }
        };
        for entry in &entries {
            folded.remove(&entry.key);
        }
        entries.extend(folded.into_iter().map(|(key, (text, at))| Entry {
            key,
            key_at: at,
            value: Node { value: Value::Scalar { text, plain: false }, at },
        }));
        let value = Node { value: Value::Map(entries), at: explicit.at };
        put(node, Entry { key: to.to_owned(), key_at, value });
    }

    fn entries(&mut self, file: &Wanted) -> Rc<Vec<EnvEntry>> {
        let id = (file.path.clone(), file.format == EnvFormat::Raw);
        if let Some(entries) = self.read.get(&id) {
            return Rc::clone(entries);
        }
        let is_missing = || self.session.kind(&file.path) == FileKind::Missing;
        if file.is_lost || (!file.required && is_missing()) {
            return Rc::default();
        }
        let entries = match self.session.text(&file.path, file.at, &file.field) {
            Some((id, text)) => parse_env(&text, id, file.format, &mut self.session.problems),
            None => return Rc::default(),
        };
        let entries = Rc::new(entries);
        self.read.insert(id, Rc::clone(&entries));
        entries
    }

    /// Gives `KEY` without a value the variable of that name.
    fn fill(&mut self, environment: &mut Node, field: &str) {
        match &mut environment.value {
            Value::Map(entries) => {
                for entry in entries.iter_mut().filter(|entry| entry.value.is_null()) {
                    let text = self.variable(&entry.key, entry.key_at, field);
                    entry.value.value = Value::Scalar { text, plain: false };
                }
            }
            Value::List(items) => {
                for item in items {
                    let at = item.at;
                    if let Value::Scalar { text, plain } = &mut item.value
                        && !text.is_empty()
                        && !text.contains('=')
                    {
                        let value = self.variable(text, at, field);
                        *text = format!("{text}={value}");
                        *plain = *plain && crate::emit::is_plain(text);
                    }
                }
            }
            Value::Null | Value::Scalar { .. } => {}
        }
    }

    fn variable(&mut self, key: &str, at: Position, field: &str) -> String {
        if let Some(value) = self.variables.get(key) {
            return value.clone();
        }
        let message = format!("{key} has no value and no variable of that name; it becomes empty");
        let path = format!("{field}.{key}");
        self.session.warn(Problem::invalid(at, path, Reason::Required, message));
        String::new()
    }
}

fn put(node: &mut Node, entry: Entry) {
    if let Value::Map(entries) = &mut node.value {
        entries.push(entry);
    }
}
