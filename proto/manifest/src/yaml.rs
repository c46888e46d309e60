//! One YAML document as a tree of nodes, within fixed limits.
//!
//! Anchors, aliases and merge keys are resolved here; the merge tags of compose (`!reset`,
//! `!override`) are kept beside the tree, by position. The limits hold before anything is copied,
//! so that a small file cannot ask for much memory. What a field means is not known here.

mod builder;

use crate::node::{FileId, Node, Position};
use crate::problem::{Problem, Problems};
use jaco_model::ErrorCode;
use saphyr_parser::{Event, Input, Parser};
use std::cell::Cell;
use std::collections::BTreeMap;

/// Largest document in bytes.
pub const MAX_BYTES: usize = 4 << 20;
/// Most keys and values of one document, counted after aliases are expanded.
pub const MAX_NODES: usize = 100_000;
/// Deepest nesting of maps and lists.
pub const MAX_DEPTH: usize = 64;
/// Most indicators (`,`, `:`, quotes, brackets and the like) between two events. A JSON document
/// of [`MAX_NODES`] has about 300 000, and no config may be large enough to hold so many.
const MAX_INDICATORS: usize = 6 * MAX_NODES;
/// Documents up to this many bytes cannot make the parser hold much.
const MAX_UNMETERED: usize = 256 << 10;
const TOO_DENSE: &str = "more than 600 000 brackets, commas, colons and quotes in one value";
const TOO_MANY_NODES: &str = "more than 100 000 keys and values after alias expansion";
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
    parse_document_of(text, &[file_name], FileId(0))
}

/// Parses one of several documents that belong together: `file` is its place in `file_names`.
pub fn parse_document_of(text: &str, file_names: &[&str], file: FileId) -> Result<Node, Problems> {
    let failed = |problem| Problems {
        files: file_names.iter().map(|name| (*name).to_owned()).collect(),
        errors: vec![problem],
        warnings: Vec::new(),
    };
    let parsed = parse(text.as_bytes(), file).map_err(failed)?;
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
    let meter = Meter::default();
    if text.len() <= MAX_UNMETERED {
        return drive(Parser::new_from_str(text), file, &meter);
    }
    let metered = Metered { chars: text.chars(), meter: &meter };
    drive(Parser::new_from_iter(metered), file, &meter)
}

fn drive<'t, T: Input>(
    mut parser: Parser<'t, T>,
    file: FileId,
    meter: &Meter,
) -> Result<Parsed, Problem> {
    let mut builder = builder::Builder::new(file);
    while let Some(event) = parser.next_event() {
        let mark = match &event {
            Ok((_, span)) => span.start,
            Err(error) => *error.marker(),
        };
        let at = position(file, mark.line(), mark.col());
        if meter.is_cut.get() {
            return Err(syntax(at, TOO_DENSE));
        }
        let (event, _) = event.map_err(|error| syntax(at, error.info()))?;
        meter.indicators.set(0);
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

/// The characters of a large document, cut off when too many of them could be tokens.
///
/// The parser holds all tokens of a `[…]` or `{…}` in memory before it gives its first event, so
/// the limit on nodes alone would come too late. A token there needs at least one indicator.
struct Metered<'t> {
    chars: std::str::Chars<'t>,
    meter: &'t Meter,
}

#[derive(Default)]
struct Meter {
    /// Indicators since the last event.
    indicators: Cell<usize>,
    /// The parser got an end that is not the document's.
    is_cut: Cell<bool>,
}

impl Iterator for Metered<'_> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        let Meter { indicators, is_cut } = self.meter;
        if indicators.get() > MAX_INDICATORS {
            is_cut.set(true);
        }
        if is_cut.get() {
            return None;
        }
        let c = self.chars.next()?;
        if matches!(c, ',' | ':' | '?' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '"' | '\'') {
            indicators.set(indicators.get() + 1);
        }
        Some(c)
    }
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
