//! Relative paths of one file, rewritten to start at the deployment's directory.
//!
//! A piece that came through `extends`, `include` or an environment file of another directory
//! would otherwise lose where its paths start.

use super::files::{relative, resolve};
use super::session::Session;
use crate::node::{Entry, Node, Value};
use std::path::Path;

/// Rewrites the paths of a compose document whose relative paths start at `from`, so that they
/// start at `to`. On the standard input relative paths are refused instead.
pub(crate) fn rewrite(session: &mut Session<'_>, root: &mut Node, from: &Path, to: &Path) {
    let mut rewriter = Rewriter { session, from, to };
    if !rewriter.session.is_stdin(root.at.file) && from == to {
        return;
    }
    for_each_entry(root, "services", |service| rewriter.service(service));
    for section in ["secrets", "configs"] {
        for_each_entry(root, section, |object| {
            let path = format!("{section}.{}.file", object.key);
            if let Some(file) = get_mut(&mut object.value, "file") {
                rewriter.file(file, &path);
            }
        });
    }
}

struct Rewriter<'r, 'a> {
    session: &'r mut Session<'a>,
    from: &'r Path,
    to: &'r Path,
}

impl Rewriter<'_, '_> {
    fn service(&mut self, service: &mut Entry) {
        let path = format!("services.{}", service.key);
        for field in ["env_file", "label_file"] {
            let path = format!("{path}.{field}");
            match get_mut(&mut service.value, field) {
                Some(Node { value: Value::List(items), .. }) => {
                    for (index, item) in items.iter_mut().enumerate() {
                        self.file_item(item, &format!("{path}[{index}]"));
                    }
                }
                Some(node) => self.file_item(node, &path),
                None => {}
            }
        }
        if let Some(Node { value: Value::List(items), .. }) = get_mut(&mut service.value, "volumes")
        {
            for (index, item) in items.iter_mut().enumerate() {
                self.mount(item, &format!("{path}.volumes[{index}]"));
            }
        }
    }

    /// A path, or a map with a `path`.
    fn file_item(&mut self, node: &mut Node, path: &str) {
        match get_mut(node, "path") {
            Some(inner) => self.file(inner, &format!("{path}.path")),
            None => self.file(node, path),
        }
    }

    fn mount(&mut self, node: &mut Node, path: &str) {
        if let Value::Scalar { text, .. } = &mut node.value {
            let Some((source, rest)) = text.split_once(':') else {
                return;
            };
            if is_relative_bind(source) {
                let at = node.at;
                if let Some(source) = self.rewritten(source, at, path) {
                    *text = format!("{source}:{rest}");
                }
            }
            return;
        }
        let is_bind = matches!(
            node.get("type").map(|node| &node.value),
            Some(Value::Scalar { text, .. }) if text == "bind"
        );
        if let Some(source) = get_mut(node, "source").filter(|_| is_bind) {
            self.file(source, &format!("{path}.source"));
        }
    }

    /// A scalar that is a path as a whole.
    fn file(&mut self, node: &mut Node, path: &str) {
        let at = node.at;
        if let Value::Scalar { text, .. } = &mut node.value
            && let Some(rewritten) = self.rewritten(text, at, path)
        {
            *text = rewritten;
        }
    }

    fn rewritten(&mut self, text: &str, at: crate::node::Position, path: &str) -> Option<String> {
        let written = Path::new(text);
        if written.is_absolute() || text.is_empty() || text.starts_with('~') {
            return None;
        }
        if self.session.is_stdin(at.file) {
            let message = format!("the relative path {text} has no meaning on standard input");
            self.session.refuse(at, path, message);
            return None;
        }
        Some(relative(&resolve(self.from, written), self.to))
    }
}

/// Whether the source of a short mount is a path rather than a volume's name.
fn is_relative_bind(source: &str) -> bool {
    matches!(source, "." | "..") || source.starts_with("./") || source.starts_with("../")
}

/// Calls `act` for every entry of the map at `key`.
pub(crate) fn for_each_entry(root: &mut Node, key: &str, mut act: impl FnMut(&mut Entry)) {
    if let Some(Node { value: Value::Map(entries), .. }) = get_mut(root, key) {
        entries.iter_mut().for_each(&mut act);
    }
}

/// The value of one key, to change it.
pub(crate) fn get_mut<'n>(node: &'n mut Node, key: &str) -> Option<&'n mut Node> {
    match &mut node.value {
        Value::Map(entries) => {
            entries.iter_mut().find(|entry| entry.key == key).map(|entry| &mut entry.value)
        }
        Value::Null | Value::Scalar { .. } | Value::List(_) => None,
    }
}

/// Takes one key out of a map.
pub(crate) fn take(node: &mut Node, key: &str) -> Option<Entry> {
    match &mut node.value {
        Value::Map(entries) => {
            let index = entries.iter().position(|entry| entry.key == key)?;
            Some(entries.remove(index))
        }
        Value::Null | Value::Scalar { .. } | Value::List(_) => None,
    }
}
