//! Inputs that wait while a batch is on its way to the disk.

use std::collections::VecDeque;

use crate::config::Limits;
use crate::input::Input;
use crate::log::size_of_entry;

/// A queue bounded in number and bytes.
///
/// Only proposals and peer messages count: they come at any rate. The rest answers an effect, so
/// there are few of them and none may be lost.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    inputs: VecDeque<Input>,
    len: usize,
    bytes: usize,
}

impl Queue {
    /// Gives the input back if there is no room for it.
    pub(crate) fn push(&mut self, input: Input, limits: &Limits) -> Result<(), Input> {
        if let Some(bytes) = weight(&input) {
            let is_full =
                self.len >= limits.queue_len_max || self.bytes + bytes > limits.queue_bytes_max;
            // A message larger than the whole queue must still get through an empty one.
            if is_full && self.len > 0 {
                return Err(input);
            }
            self.len += 1;
            self.bytes += bytes;
        }
        self.inputs.push_back(input);
        Ok(())
    }

    pub(crate) fn pop(&mut self) -> Option<Input> {
        let input = self.inputs.pop_front()?;
        if let Some(bytes) = weight(&input) {
            self.len -= 1;
            self.bytes -= bytes;
        }
        Some(input)
    }
}

/// Bytes of what counts against the bound; `None` for what does not count.
fn weight(input: &Input) -> Option<usize> {
    match input {
        Input::Propose { data, .. } => Some(data.len()),
        Input::ChangeMembers { .. } | Input::ReadIndex { .. } => Some(0),
        Input::PeerMessage(message) => {
            let entries: u64 = message.entries.iter().map(size_of_entry).sum();
            let snapshot = message.snapshot.as_ref().map_or(0, |s| s.data.len());
            Some(usize::try_from(entries).unwrap_or(usize::MAX).saturating_add(snapshot))
        }
        Input::Persisted { .. }
        | Input::PeerUnreachable { .. }
        | Input::SnapshotReported { .. }
        | Input::SnapshotTaken { .. }
        | Input::SnapshotFailed { .. }
        | Input::SnapshotLoaded { .. }
        | Input::Roster(_)
        | Input::TransferLeadership => None,
    }
}
