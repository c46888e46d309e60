//! Parser events to nodes: keys, aliases, merge keys and the limits.
//!
//! Every key and value costs one of [`MAX_NODES`]; an alias costs the size of what it stands for,
//! paid before the copy is made. What anchors keep for later copies has a budget of its own.

use super::{MAX_DEPTH, MAX_KEY_CHARS, MAX_NODES, Mark, Marks, Parsed, TOO_MANY_NODES, syntax};
use crate::emit::is_plain;
use crate::node::{Entry, FileId, Node, Position, Value};
use crate::problem::Problem;
use saphyr_parser::{ScalarStyle, Tag};
use std::collections::{BTreeMap, HashSet};

/// Most nodes that anchors may keep for later aliases.
const MAX_ANCHORED: usize = 4 * MAX_NODES;
/// The namespace of the tags that YAML itself defines.
const CORE: &str = "tag:yaml.org,2002:";

/// A finished value with what it costs to copy it.
#[derive(Clone, Debug)]
struct Piece {
    node: Node,
    /// Keys and values in it, itself included.
    size: usize,
    /// Levels of maps and lists in it.
    height: usize,
}

/// A map or list that is still being read.
#[derive(Debug)]
struct Frame {
    at: Position,
    anchor: usize,
    size: usize,
    height: usize,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    List(Vec<Node>),
    Map(MapFrame),
}

#[derive(Debug, Default)]
struct MapFrame {
    entries: Vec<Entry>,
    /// What `<<` brought in; explicit keys win over it whether they come before or after.
    merged: Vec<Entry>,
    keys: HashSet<String>,
    key: Option<Key>,
}

#[derive(Debug)]
struct Key {
    text: String,
    at: Position,
    is_merge: bool,
}

/// What a tag does to the value it stands before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cast {
    AsWritten,
    Text,
    Nothing,
    MergeKey,
}

/// Collects the events of one document.
#[derive(Debug)]
pub(super) struct Builder {
    file: FileId,
    documents: usize,
    nodes: usize,
    anchored: usize,
    anchors: BTreeMap<usize, Piece>,
    frames: Vec<Frame>,
    root: Option<Node>,
    marks: Marks,
}

impl Builder {
    pub(super) fn new(file: FileId) -> Builder {
        Builder {
            file,
            documents: 0,
            nodes: 0,
            anchored: 0,
            anchors: BTreeMap::new(),
            frames: Vec::new(),
            root: None,
            marks: Marks::new(),
        }
    }

    /// A document begins; only one may.
    pub(super) fn document(&mut self, at: Position) -> Result<(), Problem> {
        self.documents += 1;
        if self.documents > 1 {
            return Err(syntax(at, "more than one document in the file"));
        }
        Ok(())
    }

    pub(super) fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&Tag>,
        at: Position,
    ) -> Result<(), Problem> {
        self.charge(1, at)?;
        if text.contains('\0') {
            return Err(syntax(at, "text with a NUL character"));
        }
        let is_key = self.wants_key();
        let (cast, mark) = self.read_tag(tag, at)?;
        if is_key && mark.is_some() {
            return Err(syntax(at, "a merge tag belongs before a value, not before a key"));
        }
        let plain = style == ScalarStyle::Plain && cast != Cast::Text;
        if is_key {
            self.keep_anchor(anchor, &scalar_piece(at, text, plain))?;
            let is_merge = cast == Cast::MergeKey || (plain && text == "<<");
            return self.key(text.to_owned(), is_merge, at);
        }
        let piece = match cast {
            Cast::Nothing => null_piece(at),
            Cast::AsWritten if plain && is_null_word(text) => null_piece(at),
            Cast::AsWritten | Cast::Text | Cast::MergeKey => scalar_piece(at, text, plain),
        };
        self.keep_anchor(anchor, &piece)?;
        self.value(piece)
    }

    pub(super) fn alias(&mut self, anchor: usize, at: Position) -> Result<(), Problem> {
        let Some(piece) = self.anchors.get(&anchor) else {
            return Err(syntax(at, "the alias stands inside the value it refers to"));
        };
        let (size, height) = (piece.size, piece.height);
        self.charge(size, at)?;
        self.check_depth(height, at)?;
        let Some(piece) = self.anchors.get(&anchor).cloned() else {
            return Ok(());
        };
        if !self.wants_key() {
            return self.value(piece);
        }
        match piece.node.value {
            Value::Scalar { text, .. } => self.key(text, false, at),
            Value::Null | Value::List(_) | Value::Map(_) => Err(syntax(at, "a key must be text")),
        }
    }

    pub(super) fn list(
        &mut self,
        anchor: usize,
        tag: Option<&Tag>,
        at: Position,
    ) -> Result<(), Problem> {
        self.open(anchor, tag, at, Kind::List(Vec::new()))
    }

    pub(super) fn map(
        &mut self,
        anchor: usize,
        tag: Option<&Tag>,
        at: Position,
    ) -> Result<(), Problem> {
        self.open(anchor, tag, at, Kind::Map(MapFrame::default()))
    }

    /// The innermost map or list ends.
    pub(super) fn end(&mut self) -> Result<(), Problem> {
        let Some(frame) = self.frames.pop() else {
            return Ok(());
        };
        let value = match frame.kind {
            Kind::List(items) => Value::List(items),
            Kind::Map(mut map) => {
                for entry in map.merged {
                    if !map.keys.contains(&entry.key) {
                        map.keys.insert(entry.key.clone());
                        map.entries.push(entry);
                    }
                }
                Value::Map(map.entries)
            }
        };
        let node = Node { value, at: frame.at };
        let piece = Piece { node, size: frame.size, height: frame.height };
        self.keep_anchor(frame.anchor, &piece)?;
        self.value(piece)
    }

    pub(super) fn finish(self) -> Parsed {
        let start = Position { file: self.file, line: 1, column: 1 };
        let root = self.root.unwrap_or(Node { value: Value::Null, at: start });
        Parsed { root, marks: self.marks }
    }

    fn open(
        &mut self,
        anchor: usize,
        tag: Option<&Tag>,
        at: Position,
        kind: Kind,
    ) -> Result<(), Problem> {
        if self.wants_key() {
            return Err(syntax(at, "a key must be text"));
        }
        self.charge(1, at)?;
        self.check_depth(1, at)?;
        let (cast, _) = self.read_tag(tag, at)?;
        if cast != Cast::AsWritten {
            return Err(syntax(at, "the tag does not fit a map or a list"));
        }
        self.frames.push(Frame { at, anchor, size: 1, height: 1, kind });
        Ok(())
    }

    /// Whether the next scalar is a key.
    fn wants_key(&self) -> bool {
        match self.frames.last().map(|frame| &frame.kind) {
            Some(Kind::Map(map)) => map.key.is_none(),
            Some(Kind::List(_)) | None => false,
        }
    }

    fn key(&mut self, text: String, is_merge: bool, at: Position) -> Result<(), Problem> {
        if text.chars().count() > MAX_KEY_CHARS {
            return Err(syntax(at, format!("a key is longer than {MAX_KEY_CHARS} characters")));
        }
        if text.chars().any(|c| c.is_control() || matches!(c, '\u{feff}' | '\u{2028}' | '\u{2029}'))
        {
            return Err(syntax(at, "a key has a control character"));
        }
        let path = self.path();
        let Some(Frame { kind: Kind::Map(map), size, .. }) = self.frames.last_mut() else {
            return Ok(());
        };
        if !map.keys.insert(if is_merge { "<<".to_owned() } else { text.clone() }) {
            let mut problem = syntax(at, format!("duplicate key \"{text}\""));
            problem.path = path;
            return Err(problem);
        }
        *size += 1;
        map.key = Some(Key { text, at, is_merge });
        Ok(())
    }

    fn value(&mut self, piece: Piece) -> Result<(), Problem> {
        let Some(frame) = self.frames.last_mut() else {
            self.root = Some(piece.node);
            return Ok(());
        };
        frame.size += piece.size;
        frame.height = frame.height.max(piece.height + 1);
        match &mut frame.kind {
            Kind::List(items) => items.push(piece.node),
            Kind::Map(map) => match map.key.take() {
                Some(key) if key.is_merge => merge_into(&mut map.merged, piece.node)?,
                Some(key) => {
                    map.entries.push(Entry { key: key.text, key_at: key.at, value: piece.node });
                }
                None => {}
            },
        }
        Ok(())
    }

    fn charge(&mut self, nodes: usize, at: Position) -> Result<(), Problem> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > MAX_NODES {
            return Err(syntax(at, TOO_MANY_NODES));
        }
        Ok(())
    }

    fn check_depth(&self, height: usize, at: Position) -> Result<(), Problem> {
        if self.frames.len() + height > MAX_DEPTH {
            return Err(syntax(at, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        Ok(())
    }

    fn keep_anchor(&mut self, anchor: usize, piece: &Piece) -> Result<(), Problem> {
        if anchor == 0 {
            return Ok(());
        }
        self.anchored += piece.size;
        if self.anchored > MAX_ANCHORED {
            return Err(syntax(piece.node.at, "too much content under anchors"));
        }
        self.anchors.insert(anchor, piece.clone());
        Ok(())
    }

    fn read_tag(
        &mut self,
        tag: Option<&Tag>,
        at: Position,
    ) -> Result<(Cast, Option<Mark>), Problem> {
        let Some(tag) = tag else {
            return Ok((Cast::AsWritten, None));
        };
        let full = format!("{}{}", tag.handle, tag.suffix);
        let mark = match full.as_str() {
            "!reset" => Some(Mark::Reset),
            "!override" => Some(Mark::Override),
            _ => None,
        };
        if let Some(mark) = mark {
            self.marks.insert(at, mark);
            return Ok((Cast::AsWritten, Some(mark)));
        }
        let cast = match full.strip_prefix(CORE).unwrap_or(&full) {
            "str" | "!" => Cast::Text,
            "null" => Cast::Nothing,
            "merge" => Cast::MergeKey,
            "int" | "float" | "bool" | "map" | "seq" => Cast::AsWritten,
            _ => return Err(syntax(at, format!("unknown tag `{tag}`"))),
        };
        Ok((cast, None))
    }

    /// The path of the map that is being read, for a duplicate key.
    fn path(&self) -> String {
        let mut path = String::new();
        let outer = self.frames.split_last().map_or(&[][..], |(_, outer)| outer);
        for frame in outer {
            match &frame.kind {
                Kind::List(items) => path.push_str(&format!("[{}]", items.len())),
                Kind::Map(map) => {
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.push_str(map.key.as_ref().map_or("", |key| &key.text));
                }
            }
        }
        path
    }
}

/// The entries of a map, or of each map of a list, under `<<`. Earlier maps of a list win, which
/// follows from the order because the first entry of a key is the one that is kept.
fn merge_into(merged: &mut Vec<Entry>, node: Node) -> Result<(), Problem> {
    let at = node.at;
    match node.value {
        Value::Map(entries) => merged.extend(entries),
        Value::List(items) => {
            for item in items {
                let Value::Map(entries) = item.value else {
                    return Err(syntax(item.at, "`<<` takes a map or a list of maps"));
                };
                merged.extend(entries);
            }
        }
        Value::Null | Value::Scalar { .. } => {
            return Err(syntax(at, "`<<` takes a map or a list of maps"));
        }
    }
    Ok(())
}

fn null_piece(at: Position) -> Piece {
    Piece { node: Node { value: Value::Null, at }, size: 1, height: 0 }
}

fn scalar_piece(at: Position, text: &str, plain: bool) -> Piece {
    // Text that cannot be written back without quotes is no number and no boolean either, so
    // nothing is lost by treating it as quoted, and every tree survives being written and read.
    let value = Value::Scalar { text: text.to_owned(), plain: plain && is_plain(text) };
    Piece { node: Node { value, at }, size: 1, height: 0 }
}

fn is_null_word(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}
