//! The envelope of one replicated log entry.

use prost::Message;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Error;
use crate::pb::log::LogEntry;

/// The envelope version that [`encode_entry`] writes.
pub const ENTRY_FORMAT: u32 = 1;

/// What every entry says about itself, whatever command it carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryHeader {
    /// Chosen by the client: a command with the same id takes effect once.
    pub request_id: [u8; 16],
    /// Cluster time of the proposal, milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// Who asked: a token name, `local(<uid>)`, `bootstrap` or `system`.
    pub identity: String,
}

/// Turns a command into the bytes that raft replicates.
///
/// # Errors
/// [`Error::Body`] if the command does not serialise, for example a map with keys that JSON lacks.
pub fn encode_entry<T: Serialize>(header: &EntryHeader, command: &T) -> Result<Vec<u8>, Error> {
    let entry = LogEntry {
        format: ENTRY_FORMAT,
        request_id: header.request_id.to_vec(),
        at_ms: header.at_ms,
        identity: header.identity.clone(),
        body: serde_json::to_vec(command).map_err(Error::Body)?,
    };
    Ok(entry.encode_to_vec())
}

/// Reads back what [`encode_entry`] wrote.
///
/// # Errors
/// [`Error::UnknownFormat`] for an envelope of a newer version: the caller must stop applying, for
/// a skipped entry would make members differ. Any other error means damaged bytes.
pub fn decode_entry<T: DeserializeOwned>(bytes: &[u8]) -> Result<(EntryHeader, T), Error> {
    let entry =
        LogEntry::decode(bytes).map_err(|source| Error::Envelope { what: "log entry", source })?;
    if entry.format != ENTRY_FORMAT {
        return Err(Error::UnknownFormat {
            what: "log entry",
            found: entry.format,
            supported: ENTRY_FORMAT,
        });
    }
    let header = EntryHeader {
        request_id: fixed("request_id", &entry.request_id)?,
        at_ms: entry.at_ms,
        identity: entry.identity,
    };
    let command = serde_json::from_slice(&entry.body).map_err(Error::Body)?;
    Ok((header, command))
}

/// A field of exactly `N` bytes.
pub(crate) fn fixed<const N: usize>(field: &'static str, bytes: &[u8]) -> Result<[u8; N], Error> {
    bytes.try_into().map_err(|_| Error::FieldSize { field, found: bytes.len(), expected: N })
}
