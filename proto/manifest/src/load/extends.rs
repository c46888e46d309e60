//! `extends`: a service that starts from another one, of the same file or another.

use super::compose::read_compose;
use super::files::resolve;
use super::interpolate::Variables;
use super::merge::merge;
use super::paths::{for_each_entry, take};
use super::session::Session;
use crate::node::{Entry, Node, Position, Value};
use crate::problem::{Problem, Reason};
use jaco_model::ErrorCode;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Longest chain of services that extend each other.
const MAX_CHAIN: usize = 32;

/// Resolves every `extends` of one compose document, which was read from `path`.
pub(crate) fn extend(
    session: &mut Session<'_>,
    root: &mut Node,
    path: &Path,
    base_dir: &Path,
    variables: &Variables,
) {
    let mut wanted = Vec::new();
    for_each_entry(root, "services", |entry| {
        if entry.value.entry("extends").is_some() {
            wanted.push(entry.key.clone());
        }
    });
    if wanted.is_empty() || !session.charge(root) {
        return;
    }
    let mut extender = Extender {
        session,
        main: path,
        base_dir,
        variables,
        services: BTreeMap::new(),
        done: BTreeMap::new(),
    };
    extender.add_services(path, root);
    let mut finished: BTreeMap<String, Node> = BTreeMap::new();
    for name in wanted {
        if let Some(node) = extender.resolve(path, &name, &mut Vec::new()) {
            finished.insert(name, node);
        }
    }
    for_each_entry(root, "services", |entry| {
        if let Some(node) = finished.remove(&entry.key) {
            entry.value = node;
        } else {
            // The fault is recorded; without the key the rest of the service is still checked.
            take(&mut entry.value, "extends");
        }
    });
}

struct Extender<'e, 'a> {
    session: &'e mut Session<'a>,
    /// The file whose services are being resolved.
    main: &'e Path,
    base_dir: &'e Path,
    variables: &'e Variables,
    /// Services as written, by file; a file that cannot be read has none.
    services: BTreeMap<PathBuf, BTreeMap<String, Node>>,
    /// Services with everything they extend; `None` for those with a fault.
    done: BTreeMap<(PathBuf, String), Option<Node>>,
}

impl Extender<'_, '_> {
    fn add_services(&mut self, path: &Path, root: &Node) {
        let services = match root.get("services").map(|node| &node.value) {
            Some(Value::Map(entries)) => {
                entries.iter().map(|entry| (entry.key.clone(), entry.value.clone())).collect()
            }
            Some(Value::Null | Value::Scalar { .. } | Value::List(_)) | None => BTreeMap::new(),
        };
        self.services.insert(path.to_owned(), services);
    }

    /// One service with all it extends. `chain` holds the services that wait for it.
    fn resolve(
        &mut self,
        path: &Path,
        name: &str,
        chain: &mut Vec<(PathBuf, String)>,
    ) -> Option<Node> {
        let id = (path.to_owned(), name.to_owned());
        if let Some(done) = self.done.get(&id) {
            let done = done.clone()?;
            return self.session.charge(&done).then_some(done);
        }
        let own = self.services.get(path)?.get(name)?.clone();
        if !self.session.charge(&own) {
            return None;
        }
        chain.push(id.clone());
        let result = self.with_base(path, name, own, chain);
        chain.pop();
        self.done.insert(id, result.clone());
        result
    }

    fn with_base(
        &mut self,
        path: &Path,
        name: &str,
        mut own: Node,
        chain: &mut Vec<(PathBuf, String)>,
    ) -> Option<Node> {
        let Some(extends) = take(&mut own, "extends") else {
            return Some(own);
        };
        let field = format!("services.{name}.extends");
        let (base_path, base_name, at) = self.target(path, &extends, &field)?;
        let id = (base_path.clone(), base_name.clone());
        if let Some(start) = chain.iter().position(|link| *link == id) {
            let links = chain.iter().skip(start).chain([&id]);
            let cycle: Vec<String> = links.map(|(file, name)| self.shown(file, name)).collect();
            self.session.refuse(at, field, format!("extends itself: {}", cycle.join(" → ")));
            return None;
        }
        if chain.len() >= MAX_CHAIN {
            let message = format!("a chain of more than {MAX_CHAIN} services");
            self.session.error(Problem::invalid(at, field, Reason::Range, message));
            return None;
        }
        if !self.services.contains_key(&base_path) {
            self.read(&base_path, at, &field);
        }
        let known = self.services.get(&base_path);
        if !known.is_some_and(|services| services.contains_key(&base_name)) {
            // A file that could not be read has its fault already.
            if known.is_some_and(|services| !services.is_empty()) {
                let shown = self.session.display(&base_path);
                let message = format!("{shown} has no service {base_name}");
                let problem = Problem::new(ErrorCode::UnknownService, at, field, message);
                self.session.error(problem.with("service", base_name));
            }
            return None;
        }
        let base = self.resolve(&base_path, &base_name, chain)?;
        let mut at_service = vec!["services".to_owned(), name.to_owned()];
        Some(merge(base, own, &mut at_service, &self.session.marks))
    }

    /// File, service and position that an `extends` names.
    fn target(
        &mut self,
        path: &Path,
        extends: &Entry,
        field: &str,
    ) -> Option<(PathBuf, String, Position)> {
        let at = extends.value.at;
        if let Value::Scalar { text, .. } = &extends.value.value {
            return Some((path.to_owned(), text.clone(), at));
        }
        if !self.session.only_keys(&extends.value, field, &["service", "file"]) {
            return None;
        }
        let service = text_of(extends.value.get("service"));
        let Some((service, at)) = service else {
            let message = "expected a service name, or a map with `service` and `file`";
            self.session.error(Problem::invalid(at, field, Reason::Type, message));
            return None;
        };
        let Some((file, file_at)) = text_of(extends.value.get("file")) else {
            return Some((path.to_owned(), service, at));
        };
        if self.session.is_stdin(file_at.file) && !Path::new(&file).is_absolute() {
            let message = format!("the relative path {file} has no meaning on standard input");
            self.session.refuse(file_at, format!("{field}.file"), message);
            return None;
        }
        let directory = self.session.directory_of(file_at.file);
        Some((resolve(&directory, Path::new(&file)), service, at))
    }

    /// A service of a chain; with its file where that is another one than the first.
    fn shown(&self, file: &Path, name: &str) -> String {
        if file == self.main {
            return name.to_owned();
        }
        format!("{} {name}", self.session.display(file))
    }

    fn read(&mut self, path: &Path, at: Position, field: &str) {
        let directory = path.parent().unwrap_or(path).to_owned();
        let root =
            read_compose(self.session, path, at, field, &directory, self.base_dir, self.variables);
        match root {
            Some(root) => self.add_services(path, &root),
            None => {
                self.services.insert(path.to_owned(), BTreeMap::new());
            }
        }
    }
}

/// A scalar's text and position.
pub(crate) fn text_of(node: Option<&Node>) -> Option<(String, Position)> {
    let node = node?;
    match &node.value {
        Value::Scalar { text, .. } => Some((text.clone(), node.at)),
        Value::Null | Value::List(_) | Value::Map(_) => None,
    }
}
