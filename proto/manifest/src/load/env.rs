//! The format of environment and label files.

use super::interpolate::{Variables, expand, name_len};
use crate::node::{FileId, Position};
use crate::problem::{Problem, Problems};
use crate::yaml::syntax;

/// Most bytes that the values of one file may grow to by references.
const MAX_VALUES: usize = 4 << 20;

/// Longest key in bytes: what a YAML key may have, since these become such keys.
const MAX_KEY: usize = 256;

/// How values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EnvFormat {
    /// Quotes, comments and references.
    Usual,
    /// Everything after `=` up to the end of the line is the value.
    Raw,
    /// As [`EnvFormat::Usual`], but keys may be label names.
    Labels,
}

/// One `KEY=value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EnvEntry {
    pub(crate) key: String,
    pub(crate) value: String,
    /// Where the key stands.
    pub(crate) at: Position,
}

/// Reads all entries in order; faults and warnings go to `problems`.
pub(crate) fn parse_env(
    text: &str,
    file: FileId,
    format: EnvFormat,
    problems: &mut Problems,
) -> Vec<EnvEntry> {
    let text = text.replace("\r\n", "\n");
    let mut reader = Reader {
        rest: &text,
        line: 1,
        column: 1,
        file,
        format,
        seen: Variables::new(),
        room: MAX_VALUES,
    };
    let mut entries = Vec::new();
    while !reader.rest.is_empty() {
        match reader.entry(problems) {
            Ok(Some(entry)) => entries.push(entry),
            Ok(None) => {}
            Err(problem) => problems.errors.push(*problem),
        }
        reader.skip_line();
        if problems.errors.len() > Problems::MAX_REPORTED {
            break;
        }
    }
    entries
}

struct Reader<'a> {
    rest: &'a str,
    line: u32,
    column: u32,
    file: FileId,
    format: EnvFormat,
    /// Earlier keys of this file, the only ones a reference may name.
    seen: Variables,
    room: usize,
}

impl<'a> Reader<'a> {
    /// The entry of the current line, if it has one. Leaves the rest of its last line.
    fn entry(&mut self, problems: &mut Problems) -> Result<Option<EnvEntry>, Box<Problem>> {
        self.skip_blanks();
        if self.at_end_or_comment() {
            return Ok(None);
        }
        if let Some(tail) = self.rest.strip_prefix("export")
            && tail.starts_with([' ', '\t'])
        {
            self.advance("export".len());
            self.skip_blanks();
        }
        let at = self.position();
        let key_len = self.rest.find(['=', '\n', ' ', '\t']).unwrap_or(self.rest.len());
        let key = self.advance(key_len);
        self.skip_blanks();
        if !self.is_key(key) {
            let message = format!("`{}` is not a variable name", key.escape_debug());
            return Err(Box::new(syntax(at, message)));
        }
        if !self.rest.starts_with('=') {
            if !self.at_end_or_comment() {
                return Err(Box::new(syntax(at, format!("expected `=` after {key}"))));
            }
            problems.warnings.push(syntax(at, format!("{key} has no value and is skipped")));
            return Ok(None);
        }
        self.advance(1);
        let value = self.value(problems)?;
        self.room = self.room.saturating_sub(value.len());
        self.seen.insert(key.to_owned(), value.clone());
        Ok(Some(EnvEntry { key: key.to_owned(), value, at }))
    }

    fn is_key(&self, key: &str) -> bool {
        let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        if key.len() > MAX_KEY {
            return false;
        }
        match self.format {
            EnvFormat::Labels => {
                !key.is_empty() && key.bytes().all(|b| b.is_ascii_graphic() && b != b'#')
            }
            EnvFormat::Usual | EnvFormat::Raw => name_len(key) > 0 && key.bytes().all(inner),
        }
    }

    fn value(&mut self, problems: &mut Problems) -> Result<String, Box<Problem>> {
        if self.format == EnvFormat::Raw {
            let end = self.line_end();
            return Ok(self.advance(end).to_owned());
        }
        self.skip_blanks();
        let at = self.position();
        let value = match self.rest.chars().next() {
            Some('\'') => {
                self.advance(1);
                let end = self.rest.find('\'').ok_or_else(|| unterminated(at))?;
                self.advance(end).to_owned()
            }
            Some('"') => {
                self.advance(1);
                let (template, end) = double_quoted(self.rest).ok_or_else(|| unterminated(at))?;
                self.advance(end);
                self.expand(&template, at, problems)?
            }
            _ => {
                let end = unquoted_len(self.rest, self.line_end());
                let raw = self.advance(end).trim_end_matches([' ', '\t']);
                return self.expand(&template(raw), at, problems);
            }
        };
        self.advance(1);
        self.skip_blanks();
        if !self.at_end_or_comment() {
            return Err(Box::new(syntax(self.position(), "text after the closing quote")));
        }
        Ok(value)
    }

    fn expand(
        &self,
        template: &str,
        at: Position,
        problems: &mut Problems,
    ) -> Result<String, Box<Problem>> {
        let expanded = expand(template, &self.seen, self.room)
            .map_err(|failure| Box::new(syntax(at, failure.message)))?;
        for (name, _) in expanded.unset {
            let message = format!("{name} is not set by an earlier line of this file");
            problems.warnings.push(syntax(at, message));
        }
        Ok(expanded.text)
    }

    fn at_end_or_comment(&self) -> bool {
        self.rest.is_empty() || self.rest.starts_with(['\n', '#'])
    }

    fn line_end(&self) -> usize {
        self.rest.find('\n').unwrap_or(self.rest.len())
    }

    fn skip_blanks(&mut self) {
        let blanks = self.rest.len() - self.rest.trim_start_matches([' ', '\t']).len();
        self.advance(blanks);
    }

    fn skip_line(&mut self) {
        let end = self.line_end();
        self.advance((end + 1).min(self.rest.len()));
    }

    fn position(&self) -> Position {
        Position { file: self.file, line: self.line, column: self.column }
    }

    /// Takes the next `len` bytes, which end at a character.
    fn advance(&mut self, len: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(len);
        for c in taken.chars() {
            if c == '\n' {
                self.line += 1;
                self.column = 1;
            } else {
                self.column += 1;
            }
        }
        self.rest = rest;
        taken
    }
}

fn unterminated(at: Position) -> Box<Problem> {
    Box::new(syntax(at, "a quote without its closing quote"))
}

/// Up to the end of the line or to a `#` that a blank precedes.
fn unquoted_len(text: &str, line_end: usize) -> usize {
    let bytes = text.as_bytes();
    let is_comment =
        |at: &usize| bytes[*at] == b'#' && *at > 0 && matches!(bytes[at - 1], b' ' | b'\t');
    (0..line_end).find(is_comment).unwrap_or(line_end)
}

/// An unquoted value as a template in which only `${…}` is a reference: passwords and hashes
/// with a lone `$` are common in such files.
fn template(raw: &str) -> String {
    let mut out = String::new();
    let mut chars = raw.chars().peekable();
    while let Some(c) = chars.next() {
        push_dollar_aware(&mut out, c, chars.peek().copied());
    }
    out
}

/// The template of a double-quoted value and the offset of the closing quote.
fn double_quoted(text: &str) -> Option<(String, usize)> {
    let mut out = String::new();
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let next = chars.peek().map(|(_, next)| *next);
        match (c, next) {
            ('"', _) => return Some((out, at)),
            ('\\', Some(escaped @ ('n' | 'r' | 't' | '"' | '\\' | '$'))) => {
                chars.next();
                out.push_str(match escaped {
                    'n' => "\n",
                    'r' => "\r",
                    't' => "\t",
                    '"' => "\"",
                    '\\' => "\\",
                    _ => "$$",
                });
            }
            (c, next) => push_dollar_aware(&mut out, c, next),
        }
    }
    None
}

fn push_dollar_aware(out: &mut String, c: char, next: Option<char>) {
    if c == '$' && next != Some('{') {
        out.push('$');
    }
    out.push(c);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, format: EnvFormat) -> (String, Vec<String>) {
        let mut problems = Problems::default();
        let entries = parse_env(text, FileId(0), format, &mut problems);
        let entries: Vec<_> =
            entries.iter().map(|entry| format!("{}={:?}", entry.key, entry.value)).collect();
        let faults =
            problems.errors.iter().chain(&problems.warnings).map(|p| p.text("f")).collect();
        (entries.join(" "), faults)
    }

    #[test]
    fn the_format() {
        for (text, entries) in [
            ("A=1\nB = two words \n", r#"A="1" B="two words""#),
            ("export A=1\r\n# no\r\n\r\n  C=3 # yes\r\n", r#"A="1" C="3""#),
            ("A=a#b\nB=#x", r##"A="a#b" B="#x""##),
            ("A='lit $B ${C}\n2'\nB=1", r#"A="lit $B ${C}\n2" B="1""#),
            (r#"A="a\n\t\"\$x\\" # c"#, r#"A="a\n\t\"$x\\""#),
            ("A=1\nB=${A}${A}\nC=\"${A:-x}${NO:-y}\"\nD='${A}'", r#"A="1" B="11" C="1y" D="${A}""#),
            ("H=$2a$10$abc$$d", r#"H="$2a$10$abc$$d""#),
            ("A=\nB=''", r#"A="" B="""#),
            ("exports=1", r#"exports="1""#),
            ("A=x=y", r#"A="x=y""#),
        ] {
            assert_eq!(read(text, EnvFormat::Usual), (entries.to_owned(), vec![]), "{text}");
        }
        let raw = read("A='x' # ${B}\n", EnvFormat::Raw);
        assert_eq!(raw, (r##"A="'x' # ${B}""##.to_owned(), vec![]));
        let labels = read("a.b/c-d=1", EnvFormat::Labels);
        assert_eq!(labels.0, r#"a.b/c-d="1""#);
    }

    #[test]
    fn faults_have_positions_and_reading_goes_on() {
        let (entries, faults) =
            read("1A=x\nBARE\nA=\"x\" y\nC=${NO}\nD=${\n E F=1\nG='x", EnvFormat::Usual);
        assert_eq!(entries, r#"C="""#);
        assert_eq!(
            faults,
            [
                "f:1:1: `1A` is not a variable name",
                "f:3:7: text after the closing quote",
                "f:5:3: `${` without its closing brace",
                "f:6:2: expected `=` after E",
                "f:7:3: a quote without its closing quote",
                "f:2:1: BARE has no value and is skipped",
                "f:4:3: NO is not set by an earlier line of this file",
            ]
        );
    }

    #[test]
    fn references_cannot_grow_without_bound() {
        let mut text = format!("A0={}\n", "x".repeat(1000));
        for n in 1..40 {
            text.push_str(&format!("A{n}=${{A{0}}}${{A{0}}}\n", n - 1));
        }
        let (_, faults) = read(&text, EnvFormat::Usual);
        assert!(faults.iter().any(|fault| fault.contains("too large")), "{faults:?}");
    }
}
