//! What the state keeps about commands themselves: answers for retries, and audit lines.

use jaco_model::command::Reply;
use jaco_model::entity::AuditEvent;
use jaco_model::{Fault, RequestId, WallMs};
use serde::{Deserialize, Serialize};

/// What a user's command answered, so that a retry with the same id gets the same answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestRecord {
    /// The client's id.
    pub id: RequestId,
    /// BLAKE3 of the command, as hex: the same id must mean the same command.
    pub digest: String,
    /// What it answered, also when it was refused.
    pub result: Result<Reply, Fault>,
    /// The log index at which it took effect.
    pub index: u64,
    /// When, in cluster time.
    pub at: WallMs,
}

/// One numbered line of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditLine {
    /// Its number; grows by one with every line.
    pub number: u64,
    /// What happened.
    pub event: AuditEvent,
}

impl AuditLine {
    /// What the line counts for the size limit of the log, in bytes.
    pub(crate) fn size(&self) -> u64 {
        let event = &self.event;
        let pairs = event.payload.iter().map(|(key, value)| key.len() + value.len());
        let text = event.kind.len() + event.identity.as_str().len() + pairs.sum::<usize>();
        text as u64 + AuditLine::FIXED_SIZE
    }

    /// What the number, the time and the index count for.
    const FIXED_SIZE: u64 = 24;
}
