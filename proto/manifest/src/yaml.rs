//! One YAML document as a tree of nodes, within fixed limits.
//!
//! Anchors, aliases and merge keys are resolved here; the merge tags of compose (`!reset`,
//! `!override`) are kept beside the tree, by position. The limits hold before anything is copied,
//! so that a small file cannot ask for much memory. What a field means is not known here.

mod builder;

use crate::node::{FileId, Node, Position};
use crate::problem::{Problem, Problems};
use jaco_model::ErrorCode;
use saphyr_parser::{Event, Parser};
use std::collections::BTreeMap;

/// Largest document in bytes.
pub const MAX_BYTES: usize = 4 << 20;
/// Most keys and values of one document, counted after aliases are expanded.
pub const MAX_NODES: usize = 100_000;
/// Deepest nesting of maps and lists.
pub const MAX_DEPTH: usize = 64;
/// Longest key in characters; long enough for any label, short enough for a simple key.
const MAX_KEY_CHARS: usize = 256;

/// What a compose file says about how one value merges over an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// `!reset`: the field goes back to its default.
    Reset,
    /// `!override`: the value replaces the earlier one whole.
    Override,
}

/// Merge tags by the position of the value that has them.
pub(crate) type Marks = BTreeMap<Position, Mark>;

/// A parsed document.
#[derive(Debug)]
pub(crate) struct Parsed {
    /// The tree; nothing at all for an empty document.
    pub(crate) root: Node,
    /// Its merge tags.
    pub(crate) marks: Marks,
}

/// Parses a document that is complete in itself: one the server got, or one that was stored.
/// `file_name` is what faults call it. Merge tags mean nothing here and are refused.
pub fn parse_document(text: &str, file_name: &str) -> Result<Node, Problems> {
    let failed = |problem| Problems {
        files: vec![file_name.to_owned()],
        errors: vec![problem],
        warnings: Vec::new(),
    };
    let parsed = parse(text.as_bytes(), FileId(0)).map_err(failed)?;
    match parsed.marks.first_key_value() {
        Some((at, _)) => {
            Err(failed(syntax(*at, "`!reset` and `!override` have nothing to act on here")))
        }
        None => Ok(parsed.root),
    }
}

/// Parses the bytes of one file.
pub(crate) fn parse(bytes: &[u8], file: FileId) -> Result<Parsed, Problem> {
    let text = decode(bytes, file)?;
    let mut builder = builder::Builder::new(file);
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| {
            let mark = error.marker();
            syntax(position(file, mark.line(), mark.col()), error.info())
        })?;
        let at = position(file, span.start.line(), span.start.col());
        match event {
            Event::Nothing | Event::StreamStart | Event::DocumentEnd => {}
            Event::StreamEnd => break,
            Event::DocumentStart(_) => builder.document(at)?,
            Event::Alias(anchor) => builder.alias(anchor, at)?,
            Event::Scalar(text, style, anchor, tag) => {
                builder.scalar(&text, style, anchor, tag.as_deref(), at)?;
            }
            Event::SequenceStart(anchor, tag) => builder.list(anchor, tag.as_deref(), at)?,
            Event::MappingStart(anchor, tag) => builder.map(anchor, tag.as_deref(), at)?,
            Event::SequenceEnd | Event::MappingEnd => builder.end()?,
        }
    }
    Ok(builder.finish())
}

/// The text of a file: size, encoding and binary content checked, a byte order mark dropped.
pub(crate) fn decode(bytes: &[u8], file: FileId) -> Result<&str, Problem> {
    if bytes.len() > MAX_BYTES {
        let message = format!("file of {} bytes; the limit is 4 MiB", bytes.len());
        return Err(syntax(position(file, 1, 0), message));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let valid = bytes.get(..error.valid_up_to()).unwrap_or_default();
        syntax(end_of(file, &String::from_utf8_lossy(valid)), "not UTF-8 text")
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match text.split_once('\0') {
        Some((before, _)) => Err(syntax(end_of(file, before), "binary file: it has a NUL byte")),
        None => Ok(text),
    }
}

/// The position just after `text`, which starts at the beginning of a file.
fn end_of(file: FileId, text: &str) -> Position {
    let line_start = text.rfind('\n').map_or(0, |newline| newline + 1);
    let column = text.get(line_start..).unwrap_or_default().chars().count();
    position(file, text.matches('\n').count() + 1, column)
}

/// The parser counts lines from 1 but columns from 0.
fn position(file: FileId, line: usize, column: usize) -> Position {
    let clamp = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Position { file, line: clamp(line.max(1)), column: clamp(column.saturating_add(1)) }
}

/// `parse_failed` at a place.
pub(crate) fn syntax(at: Position, message: impl Into<String>) -> Problem {
    Problem::new(ErrorCode::ParseFailed, at, "", message)
}

#[cfg(test)]
mod tests;
