//! `include`: other compose files whose resources join this one's.

use super::compose::{Scope, load_compose};
use super::env::{EnvFormat, parse_env};
use super::files::resolve;
use super::interpolate::Variables;
use super::paths::take;
use super::session::Session;
use crate::node::{Entry, Node, Position, Value};
use crate::problem::{Problem, Reason};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The sections that are taken over; the rest of an included file is its own.
const SECTIONS: [&str; 5] = ["services", "networks", "volumes", "secrets", "configs"];
/// Deepest chain of files that include each other.
const MAX_CHAIN: usize = 16;

/// Reads what `root` includes and adds it. `chain` holds the files that are being read.
pub(crate) fn include(
    session: &mut Session<'_>,
    root: &mut Node,
    scope: &Scope<'_>,
    chain: &mut Vec<PathBuf>,
) {
    let Some(entry) = take(root, "include") else {
        return;
    };
    let items = match entry.value.value {
        Value::List(items) => items,
        Value::Null => return,
        Value::Scalar { .. } | Value::Map(_) => {
            let message = "expected a list of compose files";
            session.error(Problem::invalid(entry.value.at, "include", Reason::Type, message));
            return;
        }
    };
    for (index, item) in items.iter().enumerate() {
        let field = format!("include[{index}]");
        if let Some(included) = one(session, item, &field, scope, chain) {
            import(session, root, included);
        }
    }
}

fn one(
    session: &mut Session<'_>,
    item: &Node,
    field: &str,
    scope: &Scope<'_>,
    chain: &mut Vec<PathBuf>,
) -> Option<Node> {
    if !session.only_keys(item, field, &["path", "project_directory", "env_file"]) {
        return None;
    }
    let paths = paths(
        session,
        if item.get("path").is_some() { item.get("path") } else { Some(item) },
        field,
    )?;
    let directory = match item.get("project_directory") {
        Some(node) => {
            files(session, node, &format!("{field}.project_directory"))?.into_iter().next()
        }
        None => None,
    };
    let first = paths.first().map(|(path, _)| path.as_path());
    let directory = match (directory, first.and_then(Path::parent)) {
        (Some((directory, _)), _) => directory,
        (None, Some(parent)) => parent.to_owned(),
        (None, None) => return None,
    };
    let variables = variables(session, item.get("env_file"), field, scope.variables)?;
    for (path, at) in &paths {
        if chain.contains(path) {
            let shown = session.display(path);
            session.refuse(*at, field, format!("{shown} includes itself"));
            return None;
        }
    }
    if chain.len() + paths.len() > MAX_CHAIN {
        let message = format!("files include each other more than {MAX_CHAIN} deep");
        session.error(Problem::invalid(item.at, field, Reason::Range, message));
        return None;
    }
    let scope = Scope { directory: &directory, target: scope.target, variables: &variables };
    let depth = chain.len();
    chain.extend(paths.iter().map(|(path, _)| path.clone()));
    let result = load_compose(session, &paths, field, &scope, chain);
    chain.truncate(depth);
    result
}

/// The variables for an included file: those of the files it names, under those of the caller.
fn variables(
    session: &mut Session<'_>,
    node: Option<&Node>,
    field: &str,
    outer: &Variables,
) -> Option<Variables> {
    let mut variables = Variables::new();
    if let Some(node) = node {
        let field = format!("{field}.env_file");
        for (path, at) in files(session, node, &field)? {
            let (file, text) = session.text(&path, at, &field)?;
            let entries = parse_env(&text, file, EnvFormat::Usual, &mut session.problems);
            variables.extend(entries.into_iter().map(|entry| (entry.key, entry.value)));
        }
    }
    variables.extend(outer.iter().map(|(key, value)| (key.clone(), value.clone())));
    Some(variables)
}

fn paths(
    session: &mut Session<'_>,
    node: Option<&Node>,
    field: &str,
) -> Option<Vec<(PathBuf, Position)>> {
    node.and_then(|node| files(session, node, field)).filter(|paths| !paths.is_empty())
}

/// One path or a list of them, relative to the file that they are written in.
pub(crate) fn files(
    session: &mut Session<'_>,
    node: &Node,
    field: &str,
) -> Option<Vec<(PathBuf, Position)>> {
    let items = match &node.value {
        Value::List(items) => items.as_slice(),
        Value::Null | Value::Scalar { .. } | Value::Map(_) => std::slice::from_ref(node),
    };
    let mut paths = Vec::new();
    for item in items {
        let Value::Scalar { text, .. } = &item.value else {
            let message = format!("expected a path, found {}", item.kind());
            session.error(Problem::invalid(item.at, field, Reason::Type, message));
            return None;
        };
        if session.is_stdin(item.at.file) && !Path::new(text).is_absolute() {
            let message = format!("the relative path {text} has no meaning on standard input");
            session.refuse(item.at, field, message);
            return None;
        }
        let directory = session.directory_of(item.at.file);
        paths.push((resolve(&directory, Path::new(text)), item.at));
    }
    Some(paths)
}

/// Adds the resources of an included document; one name may not mean two things.
fn import(session: &mut Session<'_>, root: &mut Node, mut included: Node) {
    if let Some(extension) = included.entry("x-jaco") {
        let message = "x-jaco of an included file has no effect";
        let at = extension.key_at;
        session.warn(Problem::invalid(at, "x-jaco", Reason::Unsupported, message));
    }
    for section in SECTIONS {
        let Some(Entry { key_at, value, .. }) = take(&mut included, section) else {
            continue;
        };
        let Value::Map(entries) = value.value else {
            continue;
        };
        let Value::Map(sections) = &mut root.value else {
            continue;
        };
        let slot = match sections.iter().position(|entry| entry.key == section) {
            Some(slot) => slot,
            None => {
                let value = Node { value: Value::Map(Vec::new()), at: value.at };
                sections.push(Entry { key: section.to_owned(), key_at, value });
                sections.len() - 1
            }
        };
        if let Some(slot) = sections.get_mut(slot) {
            if slot.value.is_null() {
                slot.value.value = Value::Map(Vec::new());
            }
            if let Value::Map(own) = &mut slot.value.value {
                add(session, own, entries, section);
            }
        }
    }
}

fn add(session: &mut Session<'_>, own: &mut Vec<Entry>, entries: Vec<Entry>, section: &str) {
    let index: BTreeMap<String, usize> =
        own.iter().enumerate().map(|(at, entry)| (entry.key.clone(), at)).collect();
    for entry in entries {
        match index.get(&entry.key).and_then(|at| own.get(*at)) {
            None => own.push(entry),
            Some(earlier) if earlier.value.same(&entry.value) => {}
            Some(earlier) => {
                let other = session.problems.file(earlier.key_at.file);
                let message = format!("also defined, differently, in {other}");
                let path = format!("{section}.{}", entry.key);
                session.error(Problem::invalid(entry.key_at, path, Reason::Conflict, message));
            }
        }
    }
}
