//! Members compare the hashes of their states, so that a state that went its own way is found and
//! stops serving before it spreads.

use crate::member::Member;
use crate::step::{Io, Step};
use jaco_liveness_core::{Checkpoint, Word};
use jaco_model::NodeId;
use std::collections::BTreeMap;

/// A state is hashed each time the log has grown by so many entries.
const EVERY: u64 = 1_024;

/// What is known of the states of all members at the last common index.
#[derive(Debug, Default)]
pub(crate) struct Checkpoints {
    mine: Option<Checkpoint>,
    /// What each other member said last.
    others: BTreeMap<NodeId, Checkpoint>,
    /// The index for which a difference was reported.
    reported: u64,
}

impl Member {
    /// Called before the entry at `index` is applied: everything before it is.
    pub(crate) fn checkpoint_before(&mut self, index: u64) {
        let boundary = index / EVERY * EVERY;
        if index != boundary && self.state.applied_index < boundary {
            self.note_checkpoint(boundary);
        }
    }

    /// Called after the entry at `index` was applied.
    pub(crate) fn checkpoint_after(&mut self, index: u64) {
        if index.is_multiple_of(EVERY) {
            self.note_checkpoint(index);
        }
    }

    fn note_checkpoint(&mut self, index: u64) {
        let hash = self.state.hash().iter().map(|byte| format!("{byte:02x}")).collect();
        self.checkpoints.mine = Some(Checkpoint { index, hash });
    }

    /// What this member tells others of its state, with a word of liveness.
    pub fn with_checkpoint(&self, word: Word) -> Word {
        Word { checkpoint: self.checkpoints.mine.clone(), ..word }
    }

    /// What another member said with a word of liveness.
    pub fn heard(&mut self, from: &NodeId, word: &Word) -> Vec<Step> {
        let mut steps: Vec<Step> = self.heard_progress(from, word).into_iter().collect();
        steps.extend(self.compare(from, word));
        steps
    }

    fn compare(&mut self, from: &NodeId, word: &Word) -> Vec<Step> {
        let Some(theirs) = &word.checkpoint else { return Vec::new() };
        self.checkpoints.others.insert(from.clone(), theirs.clone());
        self.checkpoints.others.retain(|node, _| self.state.nodes.contains_key(node));
        let Some(mine) = &self.checkpoints.mine else { return Vec::new() };
        let at_index = |other: &&Checkpoint| other.index == mine.index;
        let (mut same, mut counts) = (1_usize, BTreeMap::<&str, usize>::new());
        for other in self.checkpoints.others.values().filter(at_index) {
            if other.hash == mine.hash {
                same += 1;
            } else {
                *counts.entry(&other.hash).or_default() += 1;
            }
        }
        let against = counts.values().copied().max().unwrap_or(0);
        let needed = self.state.nodes.len() / 2 + 1;
        // One word: more than half of all members agree, and not with this one.
        let is_minority = against >= needed;
        if against == 0 || (self.checkpoints.reported >= mine.index && !is_minority) {
            return Vec::new();
        }
        let index = mine.index;
        self.checkpoints.reported = index;
        vec![Step::Io(Io::Diverged { index, same, against, is_minority })]
    }
}
