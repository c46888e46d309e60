//! A tree of nodes as block YAML that reads back as the same tree.
//!
//! Used for the resolved documents that go to the server and for comparing revisions, so equal
//! trees must give equal text. Comments, anchors and the original layout are not kept.

use crate::node::{Entry, Node, Value};
use std::fmt::Write as _;

/// The tree as a YAML document, with a line feed at the end.
pub fn emit(node: &Node) -> String {
    let mut out = String::new();
    match &node.value {
        Value::Map(entries) if !entries.is_empty() => write_map(&mut out, entries, 0, false),
        Value::List(items) if !items.is_empty() => write_list(&mut out, items, 0, false),
        Value::Scalar { text, plain } if !(*plain && is_plain(text)) => {
            write_quoted(&mut out, text);
            out.push('\n');
        }
        Value::Null | Value::Scalar { .. } | Value::Map(_) | Value::List(_) => {
            write_leaf(&mut out, node, 0);
        }
    }
    out
}

/// Whether `text` reads back as the same plain scalar in block context. Careful rather than
/// complete: what it refuses is written in quotes.
pub(crate) fn is_plain(text: &str) -> bool {
    let mut chars = text.chars();
    let starts_well = match chars.next() {
        None | Some(' ' | '?' | ':' | ',' | '[' | ']' | '{' | '}' | '#' | '&' | '*') => false,
        Some('!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`') => false,
        Some('-') => chars.next().is_some_and(|c| c != ' ' && c != '-'),
        Some('.') => !text.starts_with("..."),
        Some(_) => true,
    };
    starts_well
        && !matches!(text, "~" | "null" | "Null" | "NULL" | "<<")
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && !text.contains(" #")
        && !text.chars().any(is_special)
}

/// Characters that only a double-quoted scalar can carry on one line.
fn is_special(c: char) -> bool {
    c.is_control() || matches!(c, '\u{feff}' | '\u{2028}' | '\u{2029}')
}

fn write_map(out: &mut String, entries: &[Entry], indent: usize, mut inline: bool) {
    for entry in entries {
        if !inline {
            pad(out, indent);
        }
        inline = false;
        if is_plain(&entry.key) {
            out.push_str(&entry.key);
        } else {
            write_quoted(out, &entry.key);
        }
        out.push(':');
        match &entry.value.value {
            Value::Map(entries) if !entries.is_empty() => {
                out.push('\n');
                write_map(out, entries, indent + 2, false);
            }
            Value::List(items) if !items.is_empty() => {
                out.push('\n');
                write_list(out, items, indent + 2, false);
            }
            Value::Null | Value::Scalar { .. } | Value::Map(_) | Value::List(_) => {
                out.push(' ');
                write_leaf(out, &entry.value, indent);
            }
        }
    }
}

fn write_list(out: &mut String, items: &[Node], indent: usize, mut inline: bool) {
    for item in items {
        if !inline {
            pad(out, indent);
        }
        inline = false;
        out.push_str("- ");
        match &item.value {
            Value::Map(entries) if !entries.is_empty() => write_map(out, entries, indent + 2, true),
            Value::List(items) if !items.is_empty() => write_list(out, items, indent + 2, true),
            Value::Null | Value::Scalar { .. } | Value::Map(_) | Value::List(_) => {
                write_leaf(out, item, indent);
            }
        }
    }
}

/// A scalar or an empty collection, up to the end of its last line.
fn write_leaf(out: &mut String, node: &Node, indent: usize) {
    match &node.value {
        Value::Null => out.push_str("null"),
        Value::Map(_) => out.push_str("{}"),
        Value::List(_) => out.push_str("[]"),
        Value::Scalar { text, plain } if *plain && is_plain(text) => out.push_str(text),
        Value::Scalar { text, .. } if is_block(text) => return write_block(out, text, indent + 2),
        Value::Scalar { text, .. } => write_quoted(out, text),
    }
    out.push('\n');
}

/// Whether `text` is easier to read, and exact, as a literal block.
fn is_block(text: &str) -> bool {
    let body = text.strip_suffix('\n').unwrap_or(text);
    body.contains('\n')
        && !body.ends_with('\n')
        && !body.starts_with([' ', '\n'])
        && !body.chars().any(|c| c != '\n' && is_special(c))
        && !body.lines().any(|line| !line.is_empty() && line.trim().is_empty())
}

fn write_block(out: &mut String, text: &str, indent: usize) {
    out.push_str(if text.ends_with('\n') { "|\n" } else { "|-\n" });
    for line in text.lines() {
        if !line.is_empty() {
            pad(out, indent);
            out.push_str(line);
        }
        out.push('\n');
    }
}

fn write_quoted(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            // Writing to a string cannot fail.
            c if is_special(c) => drop(write!(out, "\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}

fn pad(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::Position;
    use crate::yaml::parse_document;
    use proptest::prelude::*;

    fn node(value: Value) -> Node {
        Node { value, at: Position::default() }
    }

    fn text() -> impl Strategy<Value = String> {
        let words = prop::sample::select(vec![
            "",
            "yes",
            "012",
            "22:22",
            "a: b",
            "- x",
            "a #b",
            "~",
            "null",
            "<<",
            "|",
            "...",
            "---",
            "a\nb",
            "a\n\nb\n",
            " lead",
            "trail ",
            "x\ty",
            "\u{85}",
            "${A}",
            "!reset",
            "&a",
            "%d",
            "two\n  indented\nlines\n",
            "-",
            "?",
            ":",
            "'",
            "\"",
            "a\r\nb",
            "\u{2028}",
            "# no",
            "=",
        ]);
        prop_oneof![words.prop_map(str::to_owned), "[ -~]{0,12}", "\\PC{0,6}", "[a\n \t:#-]{0,8}"]
    }

    fn tree() -> impl Strategy<Value = Node> {
        let scalar = (text(), any::<bool>()).prop_map(|(text, plain)| {
            let plain = plain && is_plain(&text);
            node(Value::Scalar { text, plain })
        });
        let leaf = prop_oneof![4 => scalar, 1 => Just(node(Value::Null))];
        leaf.prop_recursive(4, 40, 5, |inner| {
            let key = text().prop_filter("a legal key", |key| !key.chars().any(is_special));
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5)
                    .prop_map(|items| node(Value::List(items))),
                prop::collection::btree_map(key, inner, 0..5).prop_map(|map| {
                    let entry = |(key, value)| Entry { key, key_at: Position::default(), value };
                    node(Value::Map(map.into_iter().map(entry).collect()))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_the_same(tree in tree()) {
            let text = emit(&tree);
            let back = parse_document(&text, "x").map_err(|problems| {
                TestCaseError::fail(format!("{text}\n{problems:?}"))
            })?;
            prop_assert!(back.same(&tree), "{}\n{:?}", text, back);
            prop_assert_eq!(emit(&back), text);
        }
    }

    #[test]
    fn blocks_and_compact_lists() {
        let text =
            "a:\n  - - \"x y\"\n    - z\n  - k: |\n      one\n\n      two\n    m: {}\nb: null\n";
        assert_eq!(emit(&parse_document(text, "x").unwrap()), text);
    }
}
