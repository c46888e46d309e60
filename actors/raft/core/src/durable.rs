//! The durable state of one member as a value: what is on disk, and the rules it obeys.
//!
//! The store reads it at start, the core mirrors it, and tests hold it as the model of a disk. One
//! function says what a batch does to it.

use std::collections::BTreeSet;

use raft::eraftpb::{Entry, EntryType, HardState};

use crate::batch::{Batch, Trim};
use crate::error::Error;

/// A place in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Counts entries from 1; 0 stands before the first.
    pub index: u64,
    /// The term of the entry.
    pub term: u64,
}

/// A member list by raft id; both lists ascend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// They vote and count for commit.
    pub voters: Vec<u64>,
    /// They only receive.
    pub learners: Vec<u64>,
}

impl Members {
    /// Whether `raft_id` is in either list.
    pub fn contains(&self, raft_id: u64) -> bool {
        self.voters.contains(&raft_id) || self.learners.contains(&raft_id)
    }

    /// Whether the lists ascend, share no id, name no zero, and somebody votes.
    pub fn is_valid(&self) -> bool {
        let ascends = |ids: &[u64]| ids.windows(2).all(|pair| pair[0] < pair[1]);
        let all: BTreeSet<u64> = self.voters.iter().chain(&self.learners).copied().collect();
        !self.voters.is_empty()
            && ascends(&self.voters)
            && ascends(&self.learners)
            && all.len() == self.voters.len() + self.learners.len()
            && !all.contains(&0)
    }
}

/// Where a snapshot stands and who the members are there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SnapshotMeta {
    /// The last entry it contains; index 0 while there is none.
    pub at: Position,
    /// The member list at that entry.
    pub members: Members,
}

/// Everything one member has on disk, except the bytes of snapshots.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DurableLog {
    /// Term, vote and commit index.
    pub hard_state: HardState,
    /// The newest snapshot.
    pub snapshot: SnapshotMeta,
    /// The newest durable member list and the index of the entry that made it so. The list in
    /// force after a start is the snapshot's, since the entries after it are applied again.
    pub members: (u64, Members),
    /// The last entry dropped from the log; the first one kept follows it.
    pub truncated: Position,
    /// The log after `truncated`, contiguous.
    pub entries: Vec<Entry>,
}

impl DurableLog {
    /// The index of the last entry, or of `truncated` if there is none.
    pub fn last_index(&self) -> u64 {
        self.truncated.index + self.entries.len() as u64
    }

    /// The index of the last entry after the snapshot that carries something; 0 if there is none.
    /// The snapshot's own entry may be an empty one, which a state machine never hears of.
    pub fn last_command_index(&self) -> u64 {
        let says = |entry: &&Entry| !entry.data.is_empty() && entry.index > self.snapshot.at.index;
        self.entries.iter().rev().find(says).map_or(0, |entry| entry.index)
    }

    /// Whether nobody but `raft_id` votes, by everything that is on this disk: then nothing can be
    /// committed that is not here. The snapshot alone may be older than the other voters.
    pub fn is_only_voter(&self, raft_id: u64) -> bool {
        let (saved_at, members) = &self.members;
        let is_newer = |entry: &Entry| entry.index > *saved_at;
        let changes = |entry: &Entry| entry.entry_type != EntryType::EntryNormal as i32;
        members.voters == [raft_id] && !self.entries.iter().any(|e| is_newer(e) && changes(e))
    }

    /// The term at `index`, if the log still knows it.
    pub fn term(&self, index: u64) -> Option<u64> {
        if index == self.truncated.index {
            return Some(self.truncated.term);
        }
        self.entry(index).map(|entry| entry.term)
    }

    /// The entry at `index`, if the log holds it.
    pub fn entry(&self, index: u64) -> Option<&Entry> {
        self.entries.get(self.offset(index)?)
    }

    /// What `batch` makes of this state.
    pub fn apply(&mut self, batch: &Batch) {
        self.hard_state = batch.hard_state.clone();
        if let Some(file) = &batch.snapshot {
            self.snapshot = file.meta.clone();
        }
        match batch.trim {
            Trim::Keep => {}
            Trim::Prefix(to) => {
                let kept = self.offset(to.index + 1).unwrap_or(0).min(self.entries.len());
                self.entries.drain(..kept);
                self.truncated = to;
            }
            Trim::Whole(to) => {
                self.entries.clear();
                self.truncated = to;
            }
        }
        if let Some(first) = batch.entries.first() {
            self.entries.truncate(self.offset(first.index).unwrap_or(0));
            self.entries.extend_from_slice(&batch.entries);
        }
        if let Some(members) = &batch.members {
            self.members = members.clone();
        }
    }

    /// Checks everything that raft-rs would otherwise answer with a panic.
    ///
    /// # Errors
    /// [`Error::StorageCorrupt`] that names the first value out of place.
    pub fn validate(&self) -> Result<(), Error> {
        self.check_log()?;
        self.check_snapshot()?;
        self.check_hard_state()?;
        self.check_members()
    }

    /// The place of `index` in `entries`; `None` at or before `truncated`.
    fn offset(&self, index: u64) -> Option<usize> {
        let after = index.checked_sub(self.truncated.index)?.checked_sub(1)?;
        usize::try_from(after).ok()
    }

    fn check_log(&self) -> Result<(), Error> {
        let mut before = self.truncated;
        for entry in &self.entries {
            let next = before.index.saturating_add(1);
            require(entry.index == next, "entry index", entry.index, || next.to_string())?;
            require(entry.term >= before.term, "entry term", entry.term, || {
                format!("at least {} at index {next}", before.term)
            })?;
            require(
                EntryType::from_i32(entry.entry_type).is_some(),
                "entry type",
                entry.entry_type,
                || format!("a known type at index {next}"),
            )?;
            before = Position { index: entry.index, term: entry.term };
        }
        Ok(())
    }

    fn check_snapshot(&self) -> Result<(), Error> {
        let Position { index, term } = self.snapshot.at;
        let last = self.last_index();
        require(self.truncated.index <= index, "truncated index", self.truncated.index, || {
            format!("at most the snapshot index {index}")
        })?;
        require(index <= last, "snapshot index", index, || {
            format!("at most the last index {last}")
        })?;
        require(self.term(index) == Some(term), "snapshot term", term, || {
            format!("{:?}, the term of its entry", self.term(index))
        })
    }

    fn check_hard_state(&self) -> Result<(), Error> {
        let (commit, last) = (self.hard_state.commit, self.last_index());
        require(commit >= self.snapshot.at.index, "commit index", commit, || {
            format!("at least the snapshot index {}", self.snapshot.at.index)
        })?;
        require(commit <= last, "commit index", commit, || {
            format!("at most the last index {last}")
        })?;
        let last_term = self.term(last).unwrap_or(0);
        require(self.hard_state.term >= last_term, "term", self.hard_state.term, || {
            format!("at least {last_term}, the term of the last entry")
        })
    }

    fn check_members(&self) -> Result<(), Error> {
        let (index, members) = &self.members;
        let snapshot = &self.snapshot;
        if snapshot.at.index == 0 {
            let none = Members::default();
            return require(
                *members == none && snapshot.members == none,
                "members",
                "some",
                || "none before the first snapshot".into(),
            );
        }
        for (what, list) in [("members", members), ("snapshot members", &snapshot.members)] {
            require(list.is_valid(), what, format!("{list:?}"), || {
                "ascending ids without zero or repetition, and a voter".into()
            })?;
        }
        let commit = self.hard_state.commit;
        require(*index <= commit, "members index", index, || {
            format!("at most the commit index {commit}")
        })?;
        // The newest list was made before the snapshot: then it is the one inside.
        let is_same = *index > snapshot.at.index || *members == snapshot.members;
        require(is_same, "members", format!("{members:?}"), || {
            format!("{:?}, as in the snapshot", snapshot.members)
        })
    }
}

fn require(
    holds: bool,
    what: &'static str,
    found: impl ToString,
    expected: impl FnOnce() -> String,
) -> Result<(), Error> {
    if holds {
        return Ok(());
    }
    Err(Error::StorageCorrupt { what, found: found.to_string(), expected: expected() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(
        snapshot_voters: &[u64],
        saved: (u64, &[u64]),
        entries: &[(EntryType, u64)],
    ) -> DurableLog {
        let list = |voters: &[u64]| Members { voters: voters.to_vec(), learners: Vec::new() };
        let at = Position { index: 4, term: 1 };
        let entry = |(kind, index): &(EntryType, u64)| Entry {
            entry_type: *kind as i32,
            term: 1,
            index: *index,
            data: vec![1],
            ..Entry::default()
        };
        DurableLog {
            snapshot: SnapshotMeta { at, members: list(snapshot_voters) },
            members: (saved.0, list(saved.1)),
            truncated: at,
            entries: entries.iter().map(entry).collect(),
            ..DurableLog::default()
        }
    }

    #[test]
    fn a_voter_is_alone_only_if_its_whole_log_says_so() {
        use EntryType::{EntryConfChange, EntryNormal};
        assert!(log(&[7], (4, &[7]), &[(EntryNormal, 5)]).is_only_voter(7));
        assert!(!log(&[7], (4, &[7]), &[]).is_only_voter(8));
        // The snapshot is from before the others came.
        assert!(!log(&[7], (5, &[7, 8, 9]), &[(EntryConfChange, 5)]).is_only_voter(7));
        assert!(!log(&[7], (4, &[7]), &[(EntryConfChange, 5)]).is_only_voter(7), "not yet applied");
        assert!(log(&[7, 8], (5, &[7]), &[(EntryConfChange, 5)]).is_only_voter(7), "alone again");
    }

    #[test]
    fn a_log_without_commands_asks_for_none() {
        let mut log = log(&[7], (4, &[7]), &[]);
        assert_eq!(log.last_command_index(), 0, "the snapshot may end with an empty entry");
        log.entries = vec![
            Entry { index: 5, term: 1, data: vec![1], ..Entry::default() },
            Entry { index: 6, term: 2, ..Entry::default() },
        ];
        assert_eq!(log.last_command_index(), 5);
    }
}
