//! The state as named sections of bytes, and back.
//!
//! Each format version is a module that is never changed once released; a golden file in
//! `testdata/` holds its bytes. An older version is read by its own module and carried forward, an
//! unknown one is refused. Files, checksums and transport belong to others.

mod lines;
mod v1;
mod v2;
mod v3;
mod v4;
mod v5;

use crate::State;

/// One part of a snapshot: entities of one type, one JSON value a line, in key order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Which type, such as `nodes`; the first section is `state`.
    pub name: String,
    /// Lines in `bytes`.
    pub count: u64,
    /// UTF-8; every line ends with a newline.
    pub bytes: Vec<u8>,
}

/// Why sections are no state.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Written by a newer program, or not by this one at all.
    #[error("snapshot format {0} is unknown; this version reads 1 to 5")]
    UnknownVersion(u32),
    /// A section is absent or stands in another place.
    #[error("snapshot has no section {0}")]
    MissingSection(&'static str),
    /// A section of no known type.
    #[error("snapshot has an unknown section {0}")]
    UnknownSection(String),
    /// A section's lines are more or fewer than it says.
    #[error("section {section} has {found} lines instead of {expected}")]
    Count {
        /// The section.
        section: &'static str,
        /// Lines it should have.
        expected: u64,
        /// Lines it has.
        found: u64,
    },
    /// A line is not an entity of its section.
    #[error("line {line} of section {section} is unreadable")]
    Line {
        /// The section.
        section: &'static str,
        /// Line, from 1.
        line: u64,
        /// What the parser says.
        #[source]
        source: serde_json::Error,
    },
}

impl State {
    /// The whole state in the newest format. Equal states give equal bytes.
    pub fn to_sections(&self) -> Vec<Section> {
        v5::write(self)
    }

    /// The state that [`State::to_sections`] of this or an earlier version wrote.
    pub fn from_sections(sections: &[Section]) -> Result<State, SnapshotError> {
        match lines::format(sections)? {
            v1::FORMAT => v1::read(sections),
            v2::FORMAT => v2::read(sections),
            v3::FORMAT => v3::read(sections),
            v4::FORMAT => v4::read(sections),
            v5::FORMAT => v5::read(sections),
            other => Err(SnapshotError::UnknownVersion(other)),
        }
    }
}
