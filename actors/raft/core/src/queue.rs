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
            // A snapshot comes rarely and one at a time, is larger than any bound, and whoever sent it
            // waits for what becomes of it.
            if message.snapshot.as_ref().is_some_and(|snapshot| !snapshot.data.is_empty()) {
                return None;
            }
            let entries: u64 = message.entries.iter().map(size_of_entry).sum();
            Some(usize::try_from(entries).unwrap_or(usize::MAX))
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

#[cfg(test)]
mod tests {
    use super::*;
    use raft::eraftpb::{Message, Snapshot};

    #[test]
    fn a_snapshot_always_finds_room() {
        let limits = Limits { queue_len_max: 1, queue_bytes_max: 8, ..Limits::default() };
        let mut queue = Queue::default();
        let message = || Input::PeerMessage(Box::default());
        assert!(queue.push(message(), &limits).is_ok());
        assert!(queue.push(message(), &limits).is_err());
        let snapshot = Snapshot { data: vec![0; 100], metadata: None };
        let message = Message { snapshot: Some(snapshot), ..Message::default() };
        assert!(queue.push(Input::PeerMessage(Box::new(message)), &limits).is_ok());
        assert!(queue.pop().is_some() && queue.pop().is_some() && queue.pop().is_none());
        assert_eq!((queue.len, queue.bytes), (0, 0));
    }
}
