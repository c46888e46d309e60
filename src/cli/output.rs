//! Printing: tables, JSON and YAML on standard output, everything else on standard error.

use super::{Format, Globals};
use jaco_manifest::node::{Entry, Node, Position, Value};
use serde::Serialize;
use std::io::Write;

/// Prints on standard output. A reader that went away ends the program quietly, as for any
/// filter.
pub(crate) fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}

/// Prints one line on standard error.
pub(crate) fn complain(line: &str) {
    // Nothing is left to be done when even standard error is gone.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Prints a line on standard error unless `-q` was given.
pub(crate) fn notice(globals: &Globals, line: &str) {
    if !globals.quiet {
        complain(line);
    }
}

/// Prints a value in the wanted format; tables are made by `table`.
pub(crate) fn show<T: Serialize>(globals: &Globals, value: &T, table: impl FnOnce() -> String) {
    match globals.output {
        Format::Table => print(&table()),
        Format::Json => print(&format!("{}\n", json(value))),
        Format::Yaml => print(&yaml(value)),
    }
}

/// Prints one object of a stream.
pub(crate) fn show_item<T: Serialize>(globals: &Globals, value: &T, line: impl FnOnce() -> String) {
    match globals.output {
        Format::Table => print(&line()),
        Format::Json => print(&format!("{}\n", serde_json::to_string(value).unwrap_or_default())),
        Format::Yaml => print(&format!("---\n{}", yaml(value))),
    }
}

/// One document with two-space indent.
pub(crate) fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

/// The same data as YAML.
pub(crate) fn yaml<T: Serialize>(value: &T) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    match value {
        serde_json::Value::Array(items) if items.is_empty() => "[]\n".to_owned(),
        serde_json::Value::Object(map) if map.is_empty() => "{}\n".to_owned(),
        value => jaco_manifest::emit(&node(value)),
    }
}

/// JSON data as a tree that the YAML emitter prints.
fn node(value: serde_json::Value) -> Node {
    let at = Position::default();
    let plain = |text: String| Value::Scalar { text, plain: true };
    let value = match value {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(yes) => plain(yes.to_string()),
        serde_json::Value::Number(number) => plain(number.to_string()),
        serde_json::Value::String(text) => Value::Scalar { text, plain: false },
        serde_json::Value::Array(items) => Value::List(items.into_iter().map(node).collect()),
        serde_json::Value::Object(map) => {
            let entries = map.into_iter();
            Value::Map(entries.map(|(key, v)| Entry { key, key_at: at, value: node(v) }).collect())
        }
    };
    Node { value, at }
}

/// A table: headings in capitals, two spaces between columns, `-` for empty cells.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with its headings.
    pub(crate) fn new(headings: &[&str]) -> Table {
        Table { rows: vec![headings.iter().map(|text| (*text).to_owned()).collect()] }
    }

    /// Adds a row of as many cells as there are headings.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        let dash = |cell: String| if cell.is_empty() { "-".to_owned() } else { one_line(&cell) };
        self.rows.push(cells.into_iter().map(dash).collect());
    }

    /// The table as text; the last column is not padded.
    pub(crate) fn text(&self) -> String {
        self.fit(None)
    }

    /// The table as text, its lines cut to the width of a terminal.
    pub(crate) fn fit(&self, limit: Option<usize>) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| visible(cell)).max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(cell);
                line.push_str(&" ".repeat(width - visible(cell) + 2));
            }
            text.push_str(cut(line.trim_end(), limit));
            text.push('\n');
        }
        text
    }
}

/// The part of a line that fits. Colour codes take no room, and none is left open: only words of
/// state are coloured, so a line that is cut inside one is kept whole up to its end.
fn cut(line: &str, limit: Option<usize>) -> &str {
    let Some(limit) = limit else { return line };
    let (mut used, mut in_code, mut coloured) = (0, false, false);
    for (at, character) in line.char_indices() {
        if character == '\u{1b}' {
            in_code = true;
            coloured = !coloured;
        } else if in_code {
            in_code = character != 'm';
        } else if used >= limit && !coloured {
            return &line[..at];
        } else {
            used += 1;
        }
    }
    line
}

/// A container id as it is shown: in full to scripts, as Docker shortens it on a terminal.
pub(crate) fn short_id(globals: &Globals, id: &str) -> String {
    let shown = if globals.width().is_some() { id.get(..12) } else { None };
    shown.unwrap_or(id).to_owned()
}

/// Characters of a cell on the screen: colour codes take no room.
fn visible(cell: &str) -> usize {
    let mut parts = cell.split('\u{1b}');
    let first = parts.next().map_or(0, |part| part.chars().count());
    let after = parts.map(|part| part.split_once('m').map_or(0, |(_, text)| text.chars().count()));
    first + after.sum::<usize>()
}

/// Line ends would break a table.
fn one_line(cell: &str) -> String {
    cell.split(['\n', '\r']).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// An enum value as tables print it: `rolled_back` is `ROLLED_BACK`.
pub(crate) fn upper(word: &str) -> String {
    word.to_uppercase()
}

/// A state in capitals, coloured by what it means.
pub(crate) fn state(globals: &Globals, word: &str) -> String {
    let text = upper(word);
    if !globals.is_coloured() {
        return text;
    }
    let colour = match word {
        "running" | "active" | "ready" | "completed" => 32,
        "failed" | "degraded" | "lost" | "down" | "expired" | "paused" => 31,
        _ => 33,
    };
    format!("\u{1b}[{colour}m{text}\u{1b}[0m")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_empty_cells_show_a_dash() {
        let mut table = Table::new(&["NAME", "STATE"]);
        table.row(["shop-web-0".to_owned(), "RUNNING".to_owned()]);
        table.row(["x".to_owned(), String::new()]);
        assert_eq!(table.text(), "NAME        STATE\nshop-web-0  RUNNING\nx           -\n");
    }

    #[test]
    fn lines_are_cut_to_the_terminal_without_breaking_colours() {
        let mut table = Table::new(&["NAME", "STATE"]);
        table.row(["web".to_owned(), "\u{1b}[32mRUNNING\u{1b}[0m".to_owned()]);
        assert_eq!(table.fit(Some(7)), "NAME  S\nweb   \u{1b}[32mRUNNING\u{1b}[0m\n");
        assert_eq!(table.fit(Some(4)), "NAME\nweb \n");
    }

    #[test]
    fn yaml_keeps_the_types_of_json() {
        let value = serde_json::json!({"a": "1", "b": 1, "c": true, "d": [{"e": "x: y"}]});
        let text = yaml(&value);
        assert!(text.contains("b: 1\n") && text.contains("c: true\n"), "{text}");
        assert!(!text.contains("a: 1\n"), "text that looks like a number is quoted: {text}");
    }
}
