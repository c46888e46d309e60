//! Scalars and small collections of them, read the way their field needs.
//!
//! Interpolated text has no YAML type, so a number in quotes is a number where one is expected.

use super::cx::{Cx, Fields, Item};
use super::units;
use crate::node::Value;
use crate::{Problem, Reason};
use jaco_model::Millis;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

impl<'n> Item<'n> {
    /// Any scalar as text.
    pub(super) fn text(&self, cx: &mut Cx) -> Option<&'n str> {
        match &self.node.value {
            Value::Scalar { text, .. } => Some(text),
            Value::Null | Value::List(_) | Value::Map(_) => {
                self.wrong_kind(cx, "text");
                None
            }
        }
    }

    pub(super) fn string(&self, cx: &mut Cx) -> Option<String> {
        self.text(cx).map(str::to_owned)
    }

    /// Text that must not be empty.
    pub(super) fn word(&self, cx: &mut Cx) -> Option<String> {
        let text = self.text(cx)?;
        if text.trim().is_empty() {
            cx.fail(&self.place, Reason::Format, "must not be empty");
            return None;
        }
        Some(text.to_owned())
    }

    /// `true`, `false`, and the words older compose files use for them.
    pub(super) fn boolean(&self, cx: &mut Cx) -> Option<bool> {
        let text = self.text(cx)?;
        match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" => Some(true),
            "false" | "no" | "off" => Some(false),
            _ => {
                let message = format!("expected true or false, got \"{text}\"");
                cx.fail(&self.place, Reason::Type, message);
                None
            }
        }
    }

    /// A whole number within a range.
    pub(super) fn int(&self, cx: &mut Cx, range: RangeInclusive<i64>) -> Option<i64> {
        let text = self.text(cx)?;
        let Ok(number) = text.parse::<i64>() else {
            let message = format!("expected a whole number, got \"{text}\"");
            cx.fail(&self.place, Reason::Type, message);
            return None;
        };
        if !range.contains(&number) {
            let message = range_message(&range, number);
            cx.fail(&self.place, Reason::Range, message);
            return None;
        }
        Some(number)
    }

    /// A count, at most a million.
    pub(super) fn count(&self, cx: &mut Cx, least: i64) -> Option<u32> {
        u32::try_from(self.int(cx, least..=1_000_000)?).ok()
    }

    /// A port, 1 to 65535.
    pub(super) fn port(&self, cx: &mut Cx) -> Option<u16> {
        u16::try_from(self.int(cx, 1..=65_535)?).ok()
    }

    /// A duration with its unit.
    pub(super) fn duration(&self, cx: &mut Cx) -> Option<Millis> {
        let text = self.text(cx)?;
        let parsed = units::duration(text);
        if parsed.is_none() {
            let message = format!("expected a duration such as 30s or 1m30s, got \"{text}\"");
            let mut problem =
                Problem::invalid(self.place.at, &self.place.path, Reason::Format, message);
            if text.parse::<u32>().is_ok() {
                problem.suggestion = Some(format!("{text}s"));
            }
            cx.push(problem);
        }
        parsed
    }

    /// A duration within a range.
    pub(super) fn duration_in(&self, cx: &mut Cx, range: RangeInclusive<Millis>) -> Option<Millis> {
        let duration = self.duration(cx)?;
        if !range.contains(&duration) {
            let (least, most) = (range.start(), range.end());
            let message = format!("must be between {least} and {most}, got {duration}");
            cx.fail(&self.place, Reason::Range, message);
            return None;
        }
        Some(duration)
    }

    /// A size in bytes.
    pub(super) fn size(&self, cx: &mut Cx) -> Option<i64> {
        let text = self.text(cx)?;
        self.parsed(cx, text, units::size(text), "a size such as 512m or 1g")
    }

    /// Cores in billionths.
    pub(super) fn nano_cpus(&self, cx: &mut Cx) -> Option<i64> {
        let text = self.text(cx)?;
        let nano =
            self.parsed(cx, text, units::nano_cpus(text), "a number of cores such as 0.5")?;
        Some(nano).filter(|nano| *nano > 0)
    }

    /// A share between 0 and 1 in parts per million.
    pub(super) fn ppm(&self, cx: &mut Cx) -> Option<u32> {
        let text = self.text(cx)?;
        self.parsed(cx, text, units::ppm(text), "a number between 0 and 1")
    }

    /// Permission bits. A bare `444` is decimal in YAML and hardly ever meant so.
    pub(super) fn file_mode(&self, cx: &mut Cx) -> Option<u32> {
        let text = self.text(cx)?;
        let mode = self.parsed(cx, text, units::file_mode(text), "permission bits such as 0444")?;
        let looks_octal = text.len() == 3 && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
        if looks_octal && !text.starts_with('0') {
            cx.warn(&self.place, format!("read as decimal (octal {mode:04o}); write 0{text}"));
        }
        Some(mode)
    }

    fn parsed<T>(&self, cx: &mut Cx, text: &str, value: Option<T>, wanted: &str) -> Option<T> {
        if value.is_none() {
            let message = format!("expected {wanted}, got \"{text}\"");
            cx.fail(&self.place, Reason::Format, message);
        }
        value
    }

    /// One word of a closed list.
    pub(super) fn choice<T: Copy>(&self, cx: &mut Cx, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(cx)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            cx.unknown_word(&self.place, text, &words);
        }
        found
    }

    /// A list of texts.
    pub(super) fn strings(&self, cx: &mut Cx) -> Vec<String> {
        self.list(cx).iter().filter_map(|item| item.string(cx)).collect()
    }

    /// A list of texts, or one text.
    pub(super) fn one_or_more_strings(&self, cx: &mut Cx) -> Vec<String> {
        self.one_or_many().iter().filter_map(|item| item.string(cx)).collect()
    }

    /// A command: a list as it is, a text split like a shell does.
    pub(super) fn command(&self, cx: &mut Cx) -> Option<Vec<String>> {
        if self.is_list() {
            return Some(self.strings(cx));
        }
        match units::split_command(self.text(cx)?) {
            Ok(words) => Some(words),
            Err(error) => {
                cx.fail(&self.place, Reason::Format, error.to_string());
                None
            }
        }
    }

    /// A map, or a list of `key=value`. A key without a value reads as empty.
    pub(super) fn pairs(&self, cx: &mut Cx) -> BTreeMap<String, String> {
        if self.is_list() {
            return self.list(cx).iter().filter_map(|item| item.pair(cx)).collect();
        }
        if self.is_scalar() {
            self.wrong_kind(cx, "a map or a list");
            return BTreeMap::new();
        }
        let mut pairs = BTreeMap::new();
        for (key, _, value) in self.entries(cx) {
            if value.node.is_null() {
                pairs.insert(key.to_owned(), String::new());
            } else if let Some(text) = value.string(cx) {
                pairs.insert(key.to_owned(), text);
            }
        }
        pairs
    }

    fn pair(&self, cx: &mut Cx) -> Option<(String, String)> {
        let text = self.text(cx)?;
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        if key.trim().is_empty() {
            let message = format!("expected key=value, got \"{text}\"");
            cx.fail(&self.place, Reason::Format, message);
            return None;
        }
        Some((key.to_owned(), value.to_owned()))
    }
}

fn range_message(range: &RangeInclusive<i64>, number: i64) -> String {
    let (least, most) = (*range.start(), *range.end());
    if most == i64::MAX {
        return format!("must be at least {least}, got {number}");
    }
    format!("must be between {least} and {most}, got {number}")
}

impl<'n> Fields<'n> {
    pub(super) fn string(&self, cx: &mut Cx, key: &str) -> Option<String> {
        self.get(key)?.string(cx)
    }

    pub(super) fn word(&self, cx: &mut Cx, key: &str) -> Option<String> {
        self.get(key)?.word(cx)
    }

    pub(super) fn boolean(&self, cx: &mut Cx, key: &str) -> Option<bool> {
        self.get(key)?.boolean(cx)
    }

    pub(super) fn int(&self, cx: &mut Cx, key: &str, range: RangeInclusive<i64>) -> Option<i64> {
        self.get(key)?.int(cx, range)
    }

    pub(super) fn count(&self, cx: &mut Cx, key: &str, least: i64) -> Option<u32> {
        self.get(key)?.count(cx, least)
    }

    pub(super) fn duration(&self, cx: &mut Cx, key: &str) -> Option<Millis> {
        self.get(key)?.duration(cx)
    }

    pub(super) fn size(&self, cx: &mut Cx, key: &str) -> Option<i64> {
        self.get(key)?.size(cx)
    }

    pub(super) fn strings(&self, cx: &mut Cx, key: &str) -> Vec<String> {
        self.get(key).map(|item| item.strings(cx)).unwrap_or_default()
    }

    pub(super) fn one_or_more_strings(&self, cx: &mut Cx, key: &str) -> Vec<String> {
        self.get(key).map(|item| item.one_or_more_strings(cx)).unwrap_or_default()
    }

    pub(super) fn pairs(&self, cx: &mut Cx, key: &str) -> BTreeMap<String, String> {
        self.get(key).map(|item| item.pairs(cx)).unwrap_or_default()
    }

    pub(super) fn choice<T: Copy>(&self, cx: &mut Cx, key: &str, words: &[(&str, T)]) -> Option<T> {
        self.get(key)?.choice(cx, words)
    }
}
