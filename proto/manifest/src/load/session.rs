//! What one load has read so far: sources, faults, merge tags and the budgets that bound it.

use super::files::{FileKind, Files};
use super::interpolate::{Variables, expand};
use crate::node::{FileId, Node, Position, Value};
use crate::problem::{Problem, Problems, Reason};
use crate::yaml::{self, MAX_NODES, Marks, syntax};
use jaco_model::ErrorCode;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// The path that means the standard input.
pub(crate) const STDIN: &str = "-";
/// Most files of one load.
const MAX_SOURCES: usize = 512;
/// Most nodes that `extends`, `include` and environment files may copy in one load.
const MAX_COPIED: usize = 4 * MAX_NODES;
/// Most bytes that interpolation may produce in one load.
const MAX_EXPANDED: usize = 16 << 20;
/// Faults kept for sorting. Past it the 50 that are shown may not be the very first ones.
const MAX_KEPT: usize = 1000;

/// One file that was read.
#[derive(Debug)]
struct Source {
    path: PathBuf,
    /// Its content; nothing when it was only named, not read.
    text: Option<Rc<str>>,
    /// Byte offsets of its lines, made when a fault first needs one.
    lines: Option<Vec<usize>>,
}

/// The state of one load.
pub(crate) struct Session<'a> {
    files: &'a dyn Files,
    current_dir: &'a Path,
    pub(crate) problems: Problems,
    pub(crate) notices: Vec<String>,
    pub(crate) marks: Marks,
    sources: Vec<Source>,
    by_path: BTreeMap<PathBuf, FileId>,
    parsed: BTreeMap<FileId, Node>,
    warned_unset: BTreeSet<String>,
    expanded_left: usize,
    copies_left: usize,
}

impl<'a> Session<'a> {
    pub(crate) fn new(files: &'a dyn Files, current_dir: &'a Path) -> Session<'a> {
        Session {
            files,
            current_dir,
            problems: Problems::default(),
            notices: Vec::new(),
            marks: Marks::new(),
            sources: Vec::new(),
            by_path: BTreeMap::new(),
            parsed: BTreeMap::new(),
            warned_unset: BTreeSet::new(),
            expanded_left: MAX_EXPANDED,
            copies_left: MAX_COPIED,
        }
    }

    pub(crate) fn error(&mut self, problem: Problem) {
        if self.problems.errors.len() < MAX_KEPT {
            self.problems.errors.push(problem);
        }
    }

    pub(crate) fn warn(&mut self, problem: Problem) {
        if self.problems.warnings.len() < MAX_KEPT {
            self.problems.warnings.push(problem);
        }
    }

    /// `validation_failed` with the reason `format`.
    pub(crate) fn refuse(
        &mut self,
        at: Position,
        path: impl Into<String>,
        message: impl Into<String>,
    ) {
        self.error(Problem::invalid(at, path, Reason::Format, message));
    }

    /// Refuses the keys of a map that are not in `known`; `true` when there are none.
    pub(crate) fn only_keys(&mut self, node: &Node, path: &str, known: &[&str]) -> bool {
        let Value::Map(entries) = &node.value else {
            return true;
        };
        let mut unknown =
            entries.iter().filter(|entry| !known.contains(&entry.key.as_str())).peekable();
        let is_clean = unknown.peek().is_none();
        for entry in unknown {
            let path = format!("{path}.{}", entry.key);
            self.error(Problem::invalid(entry.key_at, path, Reason::Unknown, "unknown field"));
        }
        is_clean
    }

    /// A file's path as users see it: relative to where they are if it is below.
    pub(crate) fn display(&self, path: &Path) -> String {
        let shown = path.strip_prefix(self.current_dir).unwrap_or(path);
        if shown.as_os_str().is_empty() { ".".to_owned() } else { shown.display().to_string() }
    }

    /// Where relative paths in a file start: its directory.
    pub(crate) fn directory_of(&self, file: FileId) -> PathBuf {
        let path = self.sources.get(usize::from(file.0)).map(|source| source.path.as_path());
        path.and_then(Path::parent)
            .filter(|parent| parent.is_absolute())
            .unwrap_or(self.current_dir)
            .to_owned()
    }

    /// Whether a piece came from the standard input, where relative paths have no meaning.
    pub(crate) fn is_stdin(&self, file: FileId) -> bool {
        self.sources.get(usize::from(file.0)).is_some_and(|source| source.path == Path::new(STDIN))
    }

    pub(crate) fn current_dir(&self) -> &'a Path {
        self.current_dir
    }

    /// What a path names; a fault counts as nothing being there.
    pub(crate) fn kind(&self, path: &Path) -> FileKind {
        self.files.kind(path).unwrap_or(FileKind::Missing)
    }

    /// A place in no particular line of a file that need not have been read.
    pub(crate) fn place(&mut self, path: &Path) -> Position {
        let file = match self.by_path.get(path) {
            Some(file) => *file,
            None => self.add_source(path),
        };
        Position { file, line: 0, column: 0 }
    }

    /// Reads a text file that `at` names; a fault is recorded there, or in the file itself.
    pub(crate) fn text(
        &mut self,
        path: &Path,
        at: Position,
        field: &str,
    ) -> Option<(FileId, Rc<str>)> {
        if let Some(file) = self.by_path.get(path).copied()
            && let Some(Source { text: Some(text), .. }) = self.sources.get(usize::from(file.0))
        {
            return Some((file, Rc::clone(text)));
        }
        match self.files.read(path) {
            Ok(bytes) => self.decoded(path, &bytes, at, field),
            Err(error) => {
                let shown = self.display(path);
                let message = match error.kind() {
                    io::ErrorKind::NotFound => format!("{shown} not found"),
                    _ => format!("{shown} cannot be read: {error}"),
                };
                let problem = Problem::invalid(at, field, Reason::Required, message);
                self.error(problem.with("value", shown));
                None
            }
        }
    }

    fn decoded(
        &mut self,
        path: &Path,
        bytes: &[u8],
        at: Position,
        field: &str,
    ) -> Option<(FileId, Rc<str>)> {
        if self.sources.len() >= MAX_SOURCES {
            let message = format!("more than {MAX_SOURCES} files in one deployment");
            self.error(Problem::invalid(at, field, Reason::Range, message));
            return None;
        }
        let file = match self.by_path.get(path) {
            Some(file) => *file,
            None => self.add_source(path),
        };
        match yaml::decode(bytes, file) {
            Ok(text) => {
                let text: Rc<str> = text.into();
                if let Some(source) = self.sources.get_mut(usize::from(file.0)) {
                    source.text = Some(Rc::clone(&text));
                }
                Some((file, text))
            }
            Err(problem) => {
                self.error(problem);
                None
            }
        }
    }

    /// Parses a YAML file that `at` names. Reading it again gives a copy.
    pub(crate) fn document(&mut self, path: &Path, at: Position, field: &str) -> Option<Node> {
        if let Some(file) = self.by_path.get(path)
            && let Some(node) = self.parsed.get(file).cloned()
        {
            return self.charge(&node).then_some(node);
        }
        let (file, text) = self.text(path, at, field)?;
        match yaml::parse(text.as_bytes(), file) {
            Ok(parsed) => {
                self.marks.extend(parsed.marks);
                self.parsed.insert(file, parsed.root.clone());
                Some(parsed.root)
            }
            Err(problem) => {
                self.error(problem);
                None
            }
        }
    }

    /// Pays for a copy of `node`; `false`, with a fault, when the load has copied too much.
    pub(crate) fn charge(&mut self, node: &Node) -> bool {
        self.charge_nodes(count(node), node.at)
    }

    /// As [`Session::charge`], for nodes that are about to be made.
    pub(crate) fn charge_nodes(&mut self, nodes: usize, at: Position) -> bool {
        let Some(left) = self.copies_left.checked_sub(nodes) else {
            if self.copies_left > 0 {
                self.error(syntax(at, "`extends`, `include` or `env_file` copy too much"));
            }
            self.copies_left = 0;
            return false;
        };
        self.copies_left = left;
        true
    }

    /// Expands variables in every scalar value of a document except at the path `skip`.
    pub(crate) fn interpolate(&mut self, root: &mut Node, variables: &Variables, skip: &str) {
        self.interpolate_at(root, &mut String::new(), variables, skip);
    }

    fn interpolate_at(
        &mut self,
        node: &mut Node,
        path: &mut String,
        variables: &Variables,
        skip: &str,
    ) {
        if path == skip {
            return;
        }
        let length = path.len();
        match &mut node.value {
            Value::Null => {}
            Value::Scalar { text, plain } => {
                if text.contains('$')
                    && let Some(expanded) = self.expanded(text, node.at, path, variables)
                {
                    // Quotes around a variable only shield it from YAML: `"${N}"` may be a number.
                    *plain = crate::emit::is_plain(&expanded);
                    *text = expanded;
                }
            }
            Value::List(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    path.push_str(&format!("[{index}]"));
                    self.interpolate_at(item, path, variables, skip);
                    path.truncate(length);
                }
            }
            Value::Map(entries) => {
                for entry in entries {
                    path.push_str(if length == 0 { "" } else { "." });
                    path.push_str(&entry.key);
                    self.interpolate_at(&mut entry.value, path, variables, skip);
                    path.truncate(length);
                }
            }
        }
    }

    fn expanded(
        &mut self,
        text: &str,
        at: Position,
        path: &str,
        variables: &Variables,
    ) -> Option<String> {
        match expand(text, variables, self.expanded_left) {
            Ok(expanded) => {
                self.expanded_left = self.expanded_left.saturating_sub(expanded.text.len());
                for (name, offset) in expanded.unset {
                    if !self.warned_unset.insert(name.clone()) {
                        continue;
                    }
                    let at = self.dollar_at(at, text, offset);
                    let message = format!("variable {name} is not set; it becomes empty");
                    let code = ErrorCode::InterpolationFailed;
                    self.warn(Problem::new(code, at, path, message).with("variable", name));
                }
                Some(expanded.text)
            }
            Err(failure) => {
                let at = self.dollar_at(at, text, failure.offset);
                let code = ErrorCode::InterpolationFailed;
                let mut problem = Problem::new(code, at, path, failure.message);
                problem.suggestion = failure.suggestion.map(str::to_owned);
                if let Some(variable) = failure.variable {
                    problem = problem.with("variable", variable);
                }
                self.error(problem);
                None
            }
        }
    }

    /// Where the `$` at byte `offset` of a decoded scalar stands in its file. Decoding keeps the
    /// order of `$`s, so the n-th one of the value is the n-th one after the scalar's start,
    /// whatever the style; only one that was written as an escape is missed.
    fn dollar_at(&mut self, start: Position, text: &str, offset: usize) -> Position {
        if self.problems.errors.len() + self.problems.warnings.len() >= MAX_KEPT {
            return start;
        }
        let nth = text.get(..offset).unwrap_or_default().matches('$').count();
        let Some(source) = self.sources.get_mut(usize::from(start.file.0)) else {
            return start;
        };
        let whole = source.text.as_deref().unwrap_or_default();
        let lines = source.lines.get_or_insert_with(|| {
            let newlines = whole.match_indices('\n').map(|(at, _)| at + 1);
            std::iter::once(0).chain(newlines).collect()
        });
        let index = (start.line as usize).saturating_sub(1);
        let rest = lines.get(index).and_then(|from| whole.get(*from..)).unwrap_or_default();
        let skip = rest.chars().take(start.column.saturating_sub(1) as usize).map(char::len_utf8);
        let from = skip.sum::<usize>();
        let scalar = rest.get(from..).unwrap_or_default();
        let Some((dollar, _)) = scalar.match_indices('$').nth(nth) else {
            return start;
        };
        let before = rest.get(..from + dollar).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = start.line + u32::try_from(before.matches('\n').count()).unwrap_or(0);
        let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
        Position { line, column: u32::try_from(column).unwrap_or(u32::MAX), ..start }
    }

    fn add_source(&mut self, path: &Path) -> FileId {
        let file = FileId(u16::try_from(self.sources.len()).unwrap_or(u16::MAX));
        self.problems.files.push(self.display(path));
        self.sources.push(Source { path: path.to_owned(), text: None, lines: None });
        self.by_path.insert(path.to_owned(), file);
        file
    }
}

/// Keys and values of a tree, itself included.
pub(crate) fn count(node: &Node) -> usize {
    match &node.value {
        Value::Null | Value::Scalar { .. } => 1,
        Value::List(items) => 1 + items.iter().map(count).sum::<usize>(),
        Value::Map(entries) => {
            1 + entries.iter().map(|entry| 1 + count(&entry.value)).sum::<usize>()
        }
    }
}
