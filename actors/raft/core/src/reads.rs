//! Reads that wait: for a majority to confirm that this member leads, then for the state machine.
//!
//! ```text
//!  open ─▶ asked ─(a majority answered)─▶ confirmed ─(applied)─▶ answered
//!    ▲        │
//!    └─ 1 s ──┘   three times, then it ends without an answer
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use jaco_kit_core::{Mono, OpId};

/// How long one question may take.
const TRY: Duration = Duration::from_secs(1);
/// Questions per read. The library drops some without a word.
const TRIES: u32 = 3;

/// Every read between its question and its answer.
#[derive(Debug)]
pub(crate) struct Reads {
    /// Tells this core's questions from those of its earlier lives.
    nonce: u64,
    questions: u64,
    open: BTreeMap<OpId, Read>,
}

#[derive(Debug)]
struct Read {
    stage: Stage,
    /// The first question that may answer it.
    first: u64,
    tries: u32,
    until: Mono,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Open,
    Asked,
    Confirmed(u64),
}

impl Reads {
    pub(crate) fn new(nonce: u64) -> Reads {
        Reads { nonce, questions: 0, open: BTreeMap::new() }
    }

    /// A new read, to be asked.
    pub(crate) fn insert(&mut self, now: Mono, op: OpId) {
        let first = self.questions + 1;
        let read = Read { stage: Stage::Open, first, tries: 1, until: now.plus(TRY) };
        self.open.insert(op, read);
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    /// The contexts of the questions to ask now, each unlike any before.
    pub(crate) fn ask(&mut self, term: u64) -> Vec<Vec<u8>> {
        let mut contexts = Vec::new();
        for (op, read) in &mut self.open {
            if read.stage == Stage::Open {
                self.questions += 1;
                read.stage = Stage::Asked;
                let parts = [self.nonce, term, self.questions, op.0];
                contexts.push(parts.map(u64::to_le_bytes).concat());
            }
        }
        contexts
    }

    /// A majority answered the question with this context, asked at the commit index `index`.
    pub(crate) fn confirm(&mut self, context: &[u8], index: u64) {
        let (words, rest) = context.as_chunks::<8>();
        let words: Vec<u64> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
        let ([nonce, _, question, op], []) = (&words[..], rest) else { return };
        let Some(read) = self.open.get_mut(&OpId(*op)) else { return };
        if *nonce == self.nonce && *question >= read.first {
            read.stage = Stage::Confirmed(index);
        }
    }

    /// Ends those that the state machine has reached; with their indexes.
    pub(crate) fn answer(&mut self, applied: u64) -> Vec<(OpId, u64)> {
        let is_ready = |_: &OpId, read: &mut Read| match read.stage {
            Stage::Confirmed(index) => index <= applied,
            Stage::Open | Stage::Asked => false,
        };
        let index = |read: Read| match read.stage {
            Stage::Confirmed(index) => index,
            Stage::Open | Stage::Asked => 0,
        };
        self.open.extract_if(.., is_ready).map(|(op, read)| (op, index(read))).collect()
    }

    /// Ends those that nobody confirmed: leadership is over. The others are still good.
    pub(crate) fn lose(&mut self) -> Vec<OpId> {
        let is_lost = |_: &OpId, read: &mut Read| !matches!(read.stage, Stage::Confirmed(_));
        self.open.extract_if(.., is_lost).map(|(op, _)| op).collect()
    }

    /// Ends all.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = OpId> + use<> {
        std::mem::take(&mut self.open).into_keys()
    }

    /// When [`Reads::pass`] has something to do.
    pub(crate) fn deadline(&self) -> Option<Mono> {
        self.open.values().map(|read| read.until).min()
    }

    /// The time passes: late ones are asked again, or end and are returned.
    pub(crate) fn pass(&mut self, now: Mono) -> Vec<OpId> {
        for read in self.open.values_mut().filter(|read| read.until <= now) {
            read.until = now.plus(TRY);
            read.tries += 1;
            if read.stage == Stage::Asked {
                read.stage = Stage::Open;
            }
        }
        let is_over = |_: &OpId, read: &mut Read| read.tries > TRIES;
        self.open.extract_if(.., is_over).map(|(op, _)| op).collect()
    }
}
