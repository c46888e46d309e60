//! What is wrong with a manifest, where, and what to do about it.

use crate::node::{FileId, Position};
use jaco_model::{ErrorCode, Fault};
use std::fmt;

/// Why a value was refused, for `validation_failed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// No such key or value.
    Unknown,
    /// Known, but not to be had here.
    Unsupported,
    /// A map where a list belongs, and the like.
    Type,
    /// Too small, too large, too many.
    Range,
    /// Text that does not follow its grammar.
    Format,
    /// Missing.
    Required,
    /// Two values that exclude each other.
    Conflict,
}

impl Reason {
    /// The word in `details.reason`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Reason::Unknown => "unknown",
            Reason::Unsupported => "unsupported",
            Reason::Type => "type",
            Reason::Range => "range",
            Reason::Format => "format",
            Reason::Required => "required",
            Reason::Conflict => "conflict",
        }
    }
}

/// One fault or warning at one place of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub at: Position,
    /// The field's path, such as `services.web.ports[1].published`; empty for the whole file.
    pub path: String,
    /// The code.
    pub code: ErrorCode,
    /// Why, for `validation_failed`.
    pub reason: Option<Reason>,
    /// What is wrong, without position and path.
    pub message: String,
    /// A known key or value close to what was written.
    pub suggestion: Option<String>,
    /// Further details of the code's closed set, such as `service` or `modern_equivalent`.
    pub details: Vec<(&'static str, String)>,
}

impl Problem {
    /// `validation_failed` at a place.
    pub fn invalid(
        at: Position,
        path: impl Into<String>,
        reason: Reason,
        message: impl Into<String>,
    ) -> Problem {
        let mut problem = Problem::new(ErrorCode::ValidationFailed, at, path, message);
        problem.reason = Some(reason);
        problem
    }

    /// Any other code at a place.
    pub fn new(
        code: ErrorCode,
        at: Position,
        path: impl Into<String>,
        message: impl Into<String>,
    ) -> Problem {
        Problem {
            at,
            path: path.into(),
            code,
            reason: None,
            message: message.into(),
            suggestion: None,
            details: Vec::new(),
        }
    }

    /// The same problem with a suggestion.
    #[must_use]
    pub fn suggest(mut self, suggestion: impl Into<String>) -> Problem {
        self.suggestion = Some(suggestion.into());
        self
    }

    /// The same problem with one more detail.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl fmt::Display) -> Problem {
        self.details.push((key, value.to_string()));
        self
    }

    /// As one line of text: `file:line:column: path: message (did you mean "x"?)`. Line 0 stands
    /// for the file as a whole and is left out.
    pub fn text(&self, file: &str) -> String {
        let Position { line, column, .. } = self.at;
        let mut text = match line {
            0 => format!("{file}: "),
            _ => format!("{file}:{line}:{column}: "),
        };
        if !self.path.is_empty() {
            text.push_str(&self.path);
            text.push_str(": ");
        }
        text.push_str(&self.message);
        if let Some(suggestion) = &self.suggestion {
            text.push_str(&format!(" (did you mean \"{suggestion}\"?)"));
        }
        text
    }

    /// As a fault of the API.
    pub fn fault(&self, file: &str) -> Fault {
        let field = self.path.rsplit('.').next().unwrap_or_default();
        let mut fault = Fault::new(self.code, self.text(file)).with("file", file);
        if self.at.line > 0 {
            fault = fault.with("line", self.at.line).with("column", self.at.column);
        }
        if !self.path.is_empty() {
            fault = fault.with("path", &self.path).with("field", field);
        }
        if let Some(reason) = self.reason {
            fault = fault.with("reason", reason.as_str());
        }
        if let Some(suggestion) = &self.suggestion {
            fault = fault.with("suggestion", suggestion);
        }
        self.details.iter().fold(fault, |fault, (key, value)| fault.with(key, value))
    }
}

/// Faults and warnings of one run, and the names of the files they point into.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems {
    /// File names as the user wrote them, by [`FileId`].
    pub files: Vec<String>,
    /// What stops an apply.
    pub errors: Vec<Problem>,
    /// What does not.
    pub warnings: Vec<Problem>,
}

impl Problems {
    /// Most faults that one run reports.
    pub const MAX_REPORTED: usize = 50;

    /// A file's name; `?` for one that is not in the list.
    pub fn file(&self, id: FileId) -> &str {
        self.files.get(usize::from(id.0)).map_or("?", String::as_str)
    }

    /// Sorts by file, line and column, drops repeats, and cuts to [`Problems::MAX_REPORTED`].
    pub fn finish(&mut self) {
        for list in [&mut self.errors, &mut self.warnings] {
            list.sort_by(|a, b| (a.at, &a.path, &a.message).cmp(&(b.at, &b.path, &b.message)));
            list.dedup();
            list.truncate(Problems::MAX_REPORTED);
        }
    }

    /// All errors as faults of the API, in order.
    pub fn faults(&self) -> Vec<Fault> {
        self.errors.iter().map(|problem| problem.fault(self.file(problem.at.file))).collect()
    }
}
