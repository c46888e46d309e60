//! Fewer messages that say the same.
//!
//! The library makes one message per peer for each proposal, and one acknowledgement for each
//! message. Proposals that shared a batch go out together, so their entries can share a message;
//! an acknowledgement covers every earlier one (Raft §5.3: entries up to its index match).

use raft::eraftpb::{Message, MessageType};

use crate::log::size_of_entry;

/// Joins messages to the same peer that continue one another; the order of the rest stays.
///
/// A message of entries grows to at most `max` bytes of them, unless it was larger already.
pub(crate) fn coalesce(messages: Vec<Message>, max: u64) -> Vec<Message> {
    let mut joined: Vec<(Message, u64)> = Vec::with_capacity(messages.len());
    for message in messages {
        let bytes = message.entries.iter().map(size_of_entry).sum();
        // Only the newest to that peer: what stands between two must stay between them.
        let newest = joined.iter_mut().rev().find(|(earlier, _)| earlier.to == message.to);
        match newest {
            Some((earlier, size)) if *size + bytes <= max && continues(earlier, &message) => {
                *size += bytes;
                append(earlier, message);
            }
            Some((earlier, _)) if covers(earlier, &message) => *earlier = message,
            _ => joined.push((message, bytes)),
        }
    }
    joined.into_iter().map(|(message, _)| message).collect()
}

fn is_plain(message: &Message, kind: MessageType) -> bool {
    message.msg_type == kind as i32 && !message.reject && message.context.is_empty()
}

/// Whether the entries of `next` follow those of `earlier`.
fn continues(earlier: &Message, next: &Message) -> bool {
    let kind = MessageType::MsgAppend;
    let (index, term) = match earlier.entries.last() {
        Some(last) => (last.index, last.term),
        None => (earlier.index, earlier.log_term),
    };
    is_plain(earlier, kind)
        && is_plain(next, kind)
        && earlier.term == next.term
        && (index, term) == (next.index, next.log_term)
}

fn append(earlier: &mut Message, next: Message) {
    earlier.entries.extend(next.entries);
    earlier.commit = earlier.commit.max(next.commit);
}

/// Whether `next` acknowledges all that `earlier` does.
fn covers(earlier: &Message, next: &Message) -> bool {
    let kind = MessageType::MsgAppendResponse;
    is_plain(earlier, kind)
        && is_plain(next, kind)
        && earlier.request_snapshot == next.request_snapshot
        && earlier.term == next.term
        && (earlier.index, earlier.commit) <= (next.index, next.commit)
        && earlier.commit <= next.commit
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use raft::eraftpb::Entry;

    fn append_to(to: u64, after: u64, count: u64, commit: u64) -> Message {
        let entry = |index| Entry { index, term: 2, data: vec![7; 10], ..Entry::default() };
        Message {
            msg_type: MessageType::MsgAppend as i32,
            to,
            term: 2,
            index: after,
            log_term: 2,
            commit,
            entries: (after + 1..=after + count).map(entry).collect(),
            ..Message::default()
        }
    }

    fn answer(index: u64, reject: bool) -> Message {
        let kind = MessageType::MsgAppendResponse as i32;
        Message { msg_type: kind, to: 1, term: 2, index, reject, ..Message::default() }
    }

    #[test]
    fn entries_of_one_batch_share_a_message() {
        let messages = vec![
            append_to(1, 5, 1, 4),
            append_to(2, 5, 1, 4),
            append_to(1, 6, 2, 4),
            append_to(2, 6, 1, 4),
            append_to(1, 8, 0, 7),
        ];
        let joined = coalesce(messages, 1_000);
        assert_eq!(joined, [append_to(1, 5, 3, 7), append_to(2, 5, 2, 4)]);
    }

    #[test]
    fn what_does_not_continue_stays_apart() {
        let apart = [
            vec![append_to(1, 5, 1, 4), append_to(1, 7, 1, 4)],
            vec![append_to(1, 5, 1, 4), answer(9, false), append_to(1, 6, 1, 4)],
            vec![append_to(1, 5, 1, 4), Message { term: 3, ..append_to(1, 6, 1, 4) }],
            vec![append_to(1, 5, 1, 4), Message { log_term: 1, ..append_to(1, 6, 1, 4) }],
            vec![answer(9, true), answer(10, false)],
            vec![answer(9, false), answer(10, true)],
            vec![answer(10, false), answer(9, false)],
            vec![answer(9, false), Message { term: 3, ..answer(10, false) }],
        ];
        for messages in apart {
            assert_eq!(coalesce(messages.clone(), 1_000), messages);
        }
        assert_eq!(coalesce(vec![append_to(1, 5, 1, 4), append_to(1, 6, 1, 4)], 1).len(), 2);
    }

    #[test]
    fn the_last_acknowledgement_stands_for_all() {
        let joined = coalesce(vec![answer(9, false), answer(10, false), answer(10, false)], 1);
        assert_eq!(joined, [answer(10, false)]);
    }

    proptest! {
        /// Every entry and the highest commit index arrive, in order, at whom they were meant for.
        #[test]
        fn nothing_is_lost(
            steps in prop::collection::vec((1_u64..4, 0_u64..4, any::<bool>()), 0..40),
            max in 0_u64..200,
        ) {
            let mut next = [0, 10, 20, 30_u64];
            let mut messages = Vec::new();
            for (at, (to, count, heartbeat)) in (0_u64..).zip(steps) {
                let peer = usize::try_from(to).unwrap();
                if heartbeat {
                    let kind = MessageType::MsgHeartbeat as i32;
                    messages.push(Message { msg_type: kind, to, term: 2, ..Message::default() });
                }
                messages.push(append_to(to, next[peer], count, at));
                next[peer] += count;
            }
            let joined = coalesce(messages.clone(), max);
            for to in 1..4 {
                let said = |messages: &[Message]| {
                    let of: Vec<Message> =
                        messages.iter().filter(|message| message.to == to).cloned().collect();
                    let entries: Vec<u64> =
                        of.iter().flat_map(|message| &message.entries).map(|e| e.index).collect();
                    let others = of.iter().filter(|message| !is_plain(message, MessageType::MsgAppend));
                    (entries, of.iter().map(|message| message.commit).max(), others.count())
                };
                prop_assert_eq!(said(&joined), said(&messages));
            }
            prop_assert!(joined.len() <= messages.len());
        }
    }
}
