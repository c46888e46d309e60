//! What can be wrong with bytes that claim to be ours.

/// Why an entry, a snapshot or a peer frame was not accepted. Offsets are bytes from its start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The protobuf envelope does not parse.
    #[error("cannot parse the {what}")]
    Envelope {
        /// Which message.
        what: &'static str,
        /// What the parser said.
        #[source]
        source: prost::DecodeError,
    },
    /// The version is not one this build can read.
    #[error("{what} has format {found}; this version of jaco reads up to {supported}")]
    UnknownFormat {
        /// Which kind of bytes.
        what: &'static str,
        /// The version found.
        found: u32,
        /// The newest version this build reads.
        supported: u32,
    },
    /// A field of fixed size has another one.
    #[error("field {field} has {found} bytes, not {expected}")]
    FieldSize {
        /// The field.
        field: &'static str,
        /// Bytes found.
        found: usize,
        /// Bytes required.
        expected: usize,
    },
    /// The command inside the entry does not parse or does not serialise.
    #[error("cannot convert the command of a log entry")]
    Body(#[source] serde_json::Error),
    /// The bytes do not start with the magic number of a snapshot.
    #[error("not a snapshot: the magic number is missing")]
    Magic,
    /// The bytes end inside a field, or a length in them points past their end.
    #[error("snapshot ends at byte {len} inside the {what} at byte {offset}")]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// Where it starts.
        offset: usize,
        /// How many bytes there are.
        len: usize,
    },
    /// A checksum does not match.
    #[error("checksum of the {what} at byte {offset} does not match")]
    Checksum {
        /// What it covers.
        what: &'static str,
        /// Where that starts.
        offset: usize,
    },
    /// The structure contradicts itself although the checksums match.
    #[error("snapshot is malformed at byte {offset}: {reason}")]
    Malformed {
        /// Where.
        offset: usize,
        /// What was expected.
        reason: &'static str,
    },
    /// A frame of the peer port is empty or too large.
    #[error("a peer frame of {found} bytes; at least one and at most 8 MiB are allowed")]
    FrameSize {
        /// Bytes found, without the length before it.
        found: usize,
    },
    /// A frame of the peer port parses but is none that this version knows.
    #[error("not a peer frame: {reason}")]
    Frame {
        /// What is wrong.
        reason: &'static str,
    },
    /// A section is too large for the format.
    #[error("section {name} is too large for a snapshot")]
    TooLarge {
        /// The name of the section.
        name: String,
    },
}
