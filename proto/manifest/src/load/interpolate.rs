//! `$VAR` and `${VAR…}` in one text.
//!
//! Works on text that YAML has already decoded, so a value can change what a scalar says but
//! never the structure around it. Only the branch that is taken is expanded, as in a shell.

use std::collections::BTreeMap;

/// Deepest nesting of forms: `${A:-${B:-…}}`.
const MAX_DEPTH: usize = 16;

/// Values by variable name.
pub type Variables = BTreeMap<String, String>;

/// An expanded text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Expanded {
    pub(crate) text: String,
    /// Variables without a value and without a default, and the byte offset of their `$`.
    pub(crate) unset: Vec<(String, usize)>,
}

/// Why a text cannot be expanded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Byte offset of the `$` of the faulty form.
    pub(crate) offset: usize,
    pub(crate) message: String,
    pub(crate) variable: Option<String>,
    pub(crate) suggestion: Option<&'static str>,
}

/// Expands `text`; the result may have at most `room` bytes.
pub(crate) fn expand(text: &str, variables: &Variables, room: usize) -> Result<Expanded, Failure> {
    let mut expander = Expander { variables, room, unset: Vec::new() };
    let text = expander.run(text, 0, 0)?;
    Ok(Expanded { text, unset: expander.unset })
}

/// How many bytes at the start of `text` form a variable name; 0 for none.
pub(crate) fn name_len(text: &str) -> usize {
    let legal = |(at, b): (usize, u8)| {
        b == b'_' || b.is_ascii_alphabetic() || (at > 0 && b.is_ascii_digit())
    };
    text.bytes().enumerate().take_while(|pair| legal(*pair)).count()
}

struct Expander<'a> {
    variables: &'a Variables,
    room: usize,
    unset: Vec<(String, usize)>,
}

/// The part of `${NAME<op>word}` after the name.
#[derive(Clone, Copy)]
enum Operator {
    Plain,
    Default,
    Required,
    Alternative,
}

impl Expander<'_> {
    /// Expands `text`, which starts at byte `base` of the scalar.
    fn run(&mut self, text: &str, base: usize, depth: usize) -> Result<String, Failure> {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            out.push_str(before);
            let dollar = base + text.len() - after.len() - 1;
            let name = name_len(after);
            rest = if let Some(tail) = after.strip_prefix('$') {
                out.push('$');
                tail
            } else if let Some(body) = after.strip_prefix('{') {
                let (body, tail) = split_at_brace(body)
                    .ok_or_else(|| failure(dollar, "`${` without its closing brace"))?;
                out.push_str(&self.form(body, dollar, depth + 1)?);
                tail
            } else if name > 0 {
                let (name, tail) = after.split_at(name);
                match self.variables.get(name) {
                    Some(value) => out.push_str(value),
                    None => self.unset.push((name.to_owned(), dollar)),
                }
                tail
            } else {
                let message = "`$` stands before neither a name nor a brace";
                return Err(Failure { suggestion: Some("$$"), ..failure(dollar, message) });
            };
            if out.len() > self.room {
                return Err(failure(dollar, "the values make the document too large"));
            }
        }
        out.push_str(rest);
        Ok(out)
    }

    /// What stands between the braces of `${…}`.
    fn form(&mut self, body: &str, dollar: usize, depth: usize) -> Result<String, Failure> {
        if depth > MAX_DEPTH {
            let message = format!("forms nested deeper than {MAX_DEPTH} levels");
            return Err(failure(dollar, message));
        }
        let (name, rest) = body.split_at(name_len(body));
        if name.is_empty() {
            return Err(failure(dollar, "`${` needs a name of letters, digits and `_`"));
        }
        let (or_empty, rest) = match rest.strip_prefix(':') {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let (operator, word) = match (rest.chars().next(), or_empty) {
            (None, false) => (Operator::Plain, ""),
            (Some('-'), _) => (Operator::Default, &rest[1..]),
            (Some('?'), _) => (Operator::Required, &rest[1..]),
            (Some('+'), _) => (Operator::Alternative, &rest[1..]),
            _ => {
                let message = format!("unknown form `${{{name}…}}`: use `:-`, `:?` or `:+`");
                return Err(Failure {
                    variable: Some(name.to_owned()),
                    ..failure(dollar, message)
                });
            }
        };
        let value = self.variables.get(name).filter(|value| !or_empty || !value.is_empty());
        let word_base = dollar + 2 + body.len() - word.len();
        match (operator, value) {
            (Operator::Plain | Operator::Default | Operator::Required, Some(value)) => {
                Ok(value.clone())
            }
            (Operator::Plain, None) => {
                self.unset.push((name.to_owned(), dollar));
                Ok(String::new())
            }
            (Operator::Default, None) | (Operator::Alternative, Some(_)) => {
                self.run(word, word_base, depth)
            }
            (Operator::Alternative, None) => Ok(String::new()),
            (Operator::Required, None) => {
                let reason = self.run(word, word_base, depth)?;
                let state = if or_empty { "is not set or empty" } else { "is not set" };
                let message = match reason.trim() {
                    "" => format!("variable {name} {state}"),
                    reason => format!("variable {name} {state}: {reason}"),
                };
                Err(Failure { variable: Some(name.to_owned()), ..failure(dollar, message) })
            }
        }
    }
}

fn failure(offset: usize, message: impl Into<String>) -> Failure {
    Failure { offset, message: message.into(), variable: None, suggestion: None }
}

/// Splits what follows `${` at the brace that closes it. Plain braces count too, so that a
/// default may be a JSON object.
fn split_at_brace(text: &str) -> Option<(&str, &str)> {
    let mut open = 0_usize;
    for (at, b) in text.bytes().enumerate() {
        match b {
            b'{' => open += 1,
            b'}' if open == 0 => return Some((&text[..at], &text[at + 1..])),
            b'}' => open -= 1,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn variables() -> Variables {
        [("A", "a"), ("EMPTY", ""), ("DOLLAR", "$A ${A}"), ("_x1", "u")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into()
    }

    fn check(text: &str) -> Result<String, String> {
        let result = expand(text, &variables(), 1 << 20);
        result.map(|expanded| expanded.text).map_err(|f| format!("{}: {}", f.offset, f.message))
    }

    #[test]
    fn every_form() {
        for (text, result) in [
            ("$A-${A}.$_x1", "a-a.u"),
            ("$NO|${NO}|", "||"),
            ("${A:-d}${EMPTY:-d}${NO:-d}", "add"),
            ("${A-d}${EMPTY-d}${NO-d}", "ad"),
            ("${A:?m}${A?m}${EMPTY?m}", "aa"),
            ("${A:+alt}${EMPTY:+alt}${NO:+alt}", "alt"),
            ("${A+alt}${EMPTY+alt}${NO+alt}", "altalt"),
            ("$$A $${A} $$$$", "$A ${A} $$"),
            ("${NO:-${NO2:-${A}}}", "a"),
            ("${NO:-{\"k\": \"}\"}", "{\"k\": \"}\""),
            ("${NO:-{\"k\": {}}}!", "{\"k\": {}}!"),
            ("${NO:-a:b?c+d-e # f}", "a:b?c+d-e # f"),
            ("$DOLLAR", "$A ${A}"),
            ("${A:-${broken}", "`${`"),
            ("日本${A}語", "日本a語"),
        ] {
            match check(text) {
                Ok(out) => assert_eq!(out, result, "{text}"),
                Err(message) => assert!(message.contains(result), "{text}: {message}"),
            }
        }
    }

    #[test]
    fn faults_point_at_their_dollar() {
        for (text, offset, message) in [
            ("cost: 5$", 8 - 1, "neither"),
            ("a $1", 2, "neither"),
            ("${}", 0, "needs a name"),
            ("${ A}", 0, "needs a name"),
            ("x${A!}", 1, "unknown form"),
            ("x${A:}", 1, "unknown form"),
            ("${A", 0, "closing brace"),
            ("${NO:?set it, please}", 0, "variable NO is not set or empty: set it, please"),
            ("${NO?}", 0, "variable NO is not set"),
            ("${NO:-${NO2:?deep}}", 6, "variable NO2 is not set or empty: deep"),
        ] {
            let fault = expand(text, &variables(), 1 << 20).unwrap_err();
            assert_eq!(fault.offset, offset, "{text}");
            assert!(fault.message.contains(message), "{text}: {}", fault.message);
        }
    }

    #[test]
    fn nesting_and_size_have_limits() {
        let nested = |n: usize| format!("{}x{}", "${NO:-".repeat(n), "}".repeat(n));
        assert_eq!(check(&nested(16)), Ok("x".to_owned()));
        assert!(check(&nested(17)).unwrap_err().contains("nested deeper"));
        let fault = expand(&"$A".repeat(100), &variables(), 50).unwrap_err();
        assert!(fault.message.contains("too large"));
    }

    proptest! {
        #[test]
        fn text_without_a_dollar_stays(text in "[^$]{0,40}") {
            prop_assert_eq!(check(&text), Ok(text));
        }

        #[test]
        fn doubled_dollars_become_single_ones(text in "\\PC{0,40}") {
            prop_assert_eq!(check(&text.replace('$', "$$")), Ok(text));
        }

        #[test]
        fn nothing_panics(text in "[$${}A:?+-]{0,40}|\\PC{0,20}") {
            let _ = check(&text);
        }
    }
}
