//! [`Word`]: what a node says with every probe and every answer to one.
//!
//! The bytes are JSON. A reader skips fields it does not know and gives missing ones their zero, so
//! the next version may add some; lengths are bounded, because a word comes from outside.

use jaco_model::NodeId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Longest encoded word in bytes.
const BYTES_MAX: usize = 8 << 10;

/// Most suspects in one word.
pub(crate) const SUSPECTS_MAX: usize = 64;

/// What one node says about itself and whom it cannot reach.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Word {
    /// Number of the speaker's last change between up and down that it has applied.
    pub epoch: u64,
    /// The speaker's own observations are not to be trusted.
    pub impaired: bool,
    /// The speaker ends soon on purpose and comes back.
    pub pausing: bool,
    /// Peers that failed the speaker's last probes; at most 64.
    pub suspects: BTreeSet<NodeId>,
    /// The last index the speaker has applied.
    pub applied_index: u64,
    /// By how much the speaker's timer was late at worst in the last two seconds, in milliseconds.
    pub stalled_ms: u32,
    /// The hash of the speaker's state at some index, which must be the listener's there. Carried,
    /// not looked at, by liveness.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Checkpoint>,
}

/// The hash of a state at one index of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Everything up to here was applied.
    pub index: u64,
    /// In hex.
    pub hash: String,
}

/// The bytes are not a word that this version accepts.
#[derive(Debug, thiserror::Error)]
pub enum NotAWord {
    /// Longer than any word may be.
    #[error("a word of {0} bytes")]
    TooLong(usize),
    /// More suspects than a word may name.
    #[error("a word with {0} suspects")]
    TooManySuspects(usize),
    /// Not the expected JSON.
    #[error("malformed word")]
    Malformed(#[source] serde_json::Error),
}

impl Word {
    /// The word as bytes for a peer.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("numbers, flags and texts are always JSON")
    }

    /// Reads what a peer sent.
    ///
    /// # Errors
    /// [`NotAWord`] when it is malformed or too large.
    pub fn decode(bytes: &[u8]) -> Result<Word, NotAWord> {
        if bytes.len() > BYTES_MAX {
            return Err(NotAWord::TooLong(bytes.len()));
        }
        let word: Word = serde_json::from_slice(bytes).map_err(NotAWord::Malformed)?;
        if word.suspects.len() > SUSPECTS_MAX {
            return Err(NotAWord::TooManySuspects(word.suspects.len()));
        }
        Ok(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(suspects: usize) -> Word {
        Word {
            epoch: 3,
            impaired: true,
            pausing: false,
            suspects: (0..suspects).map(|n| NodeId::new(format!("{n:032x}"))).collect(),
            applied_index: 77,
            stalled_ms: 12,
            checkpoint: Some(Checkpoint { index: 1_024, hash: "ab".repeat(32) }),
        }
    }

    #[test]
    fn the_largest_word_survives_a_round_trip() {
        let word = word(SUSPECTS_MAX);
        assert_eq!(Word::decode(&word.encode()).unwrap(), word);
    }

    #[test]
    fn too_many_suspects_are_refused() {
        let bytes = word(SUSPECTS_MAX + 1).encode();
        assert!(matches!(Word::decode(&bytes), Err(NotAWord::TooManySuspects(65))));
        let bytes = word(1_000).encode();
        assert!(matches!(Word::decode(&bytes), Err(NotAWord::TooLong(_))));
    }

    #[test]
    fn unknown_fields_are_skipped_and_missing_ones_are_zero() {
        let read = Word::decode(br#"{"epoch":2,"from_the_future":[1]}"#).unwrap();
        assert_eq!(read, Word { epoch: 2, ..Word::default() });
    }

    #[test]
    fn garbage_is_refused() {
        for bytes in [&b""[..], b"[]]", b"{\"epoch\":-1}", b"\xff\xfe", b"{\"suspects\":7}"] {
            assert!(matches!(Word::decode(bytes), Err(NotAWord::Malformed(_))), "{bytes:?}");
        }
    }

    #[test]
    fn the_bytes_stay_what_they_are() {
        let text = String::from_utf8(word(1).encode()).unwrap();
        let expected = concat!(
            r#"{"epoch":3,"impaired":true,"pausing":false,"#,
            r#""suspects":["00000000000000000000000000000000"],"#,
            r#""applied_index":77,"stalled_ms":12}"#
        );
        let bare = Word { checkpoint: None, ..word(1) };
        assert_eq!(String::from_utf8(bare.encode()).unwrap(), expected);
        let with_more = format!(
            r#"{},"checkpoint":{{"index":1024,"hash":"{}"}}}}"#,
            expected.trim_end_matches('}'),
            "ab".repeat(32)
        );
        assert_eq!(text, with_more);
    }
}
