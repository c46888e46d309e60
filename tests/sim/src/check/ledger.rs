//! What the whole cluster has shown so far, to compare everything new with: leaders by term,
//! entries by place, states by index.

use jaco_raft_core::eraftpb::{Entry, EntryType};
use jaco_raft_core::{Batch, Committed, DurableLog, Members, Payload};
use jaco_state::State;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Everything seen.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Leader by term.
    leaders: BTreeMap<u64, u64>,
    /// Term of the entry before and hash of the content, by index and term.
    entries: BTreeMap<(u64, u64), (u64, u64)>,
    /// By index of what some member took for committed: its term, and the term in which it did so.
    committed: BTreeMap<u64, (u64, u64)>,
    /// Up to where a majority of disks was seen to hold what is committed.
    secured: u64,
    /// State hash and cluster time by index.
    states: BTreeMap<u64, ([u8; 32], u64)>,
    /// Members by the index of the entry that made them so.
    configurations: BTreeMap<u64, Members>,
    /// Logs of disks that were lost, by raft id.
    graves: BTreeMap<u64, DurableLog>,
    /// The newest state that any member has reached.
    pub(crate) newest: Arc<State>,
}

impl Ledger {
    /// The first state of a cluster.
    pub(crate) fn found(&mut self, state: &State, members: Members) {
        self.newest = Arc::new(state.clone());
        self.secured = state.applied_index;
        self.configurations.insert(state.applied_index, members);
    }

    /// Keeps the log of a lost disk.
    pub(crate) fn bury(&mut self, raft_id: u64, log: DurableLog) {
        self.graves.insert(raft_id, log);
    }

    /// The log of a disk that was lost.
    pub(crate) fn grave(&self, raft_id: u64) -> Option<&DurableLog> {
        self.graves.get(&raft_id)
    }

    /// The newest member list that is in force anywhere.
    pub(crate) fn members(&self) -> Members {
        self.configurations.values().next_back().cloned().unwrap_or_default()
    }

    /// Up to where answers may be given.
    pub(crate) fn secured(&self) -> u64 {
        self.secured
    }

    /// Invariant 1.
    pub(crate) fn leads(&mut self, term: u64, raft_id: u64) -> Result<(), String> {
        let known = *self.leaders.entry(term).or_insert(raft_id);
        if known == raft_id {
            return Ok(());
        }
        Err(format!("invariant 1: {known:x} and {raft_id:x} lead in term {term}"))
    }

    /// A new leader has everything that was committed in earlier terms (invariant 3).
    pub(crate) fn is_complete(&self, leads: u64, log: &DurableLog) -> Result<(), String> {
        let mut earlier = self.committed.iter().rev().filter(|(_, (_, in_term))| *in_term < leads);
        let Some((index, (term, _))) = earlier.next() else { return Ok(()) };
        if *index <= log.truncated.index || log.term(*index) == Some(*term) {
            return Ok(());
        }
        let found = log.term(*index);
        Err(format!("invariant 3: a leader has {found:?} at {index}, committed in term {term}"))
    }

    /// A batch is durable: what it says agrees with what others have (invariants 2 and 5).
    pub(crate) fn written(&mut self, batch: &Batch, log: &DurableLog) -> Result<(), String> {
        log.validate().map_err(|error| format!("invariant 5: {error}"))?;
        for entry in &batch.entries {
            // The batch may also have dropped the entry before.
            let Some(before) = log.term(entry.index - 1) else { continue };
            let content = (before, hash(entry));
            let known = *self.entries.entry((entry.index, entry.term)).or_insert(content);
            if known != content {
                let (index, term) = (entry.index, entry.term);
                let (known, found) = (known.0, content.0);
                return Err(format!(
                    "invariant 2: two entries at index {index} of term {term}, after terms {known} and {found}"
                ));
            }
        }
        check_one_change(log)
    }

    /// Committed entries never change (invariant 2).
    pub(crate) fn commit(&mut self, index: u64, term: u64, in_term: u64) -> Result<(), String> {
        let (known, first) = self.committed.entry(index).or_insert((term, in_term));
        *first = in_term.min(*first);
        let known = *known;
        if known == term {
            return Ok(());
        }
        Err(format!("invariant 2: index {index} is committed in terms {known} and {term}"))
    }

    /// Notes that a majority holds everything up to there.
    pub(crate) fn secure(&mut self, index: u64) {
        self.secured = self.secured.max(index);
    }

    /// Notes new member lists, which differ from the one before by one member at most.
    pub(crate) fn reconfigure(&mut self, entries: &[Committed]) -> Result<(), String> {
        for entry in entries {
            let Payload::Members(members) = &entry.payload else { continue };
            let old = self.configurations.insert(entry.index, members.clone());
            if old.is_some_and(|old| old != *members) {
                return Err(format!("invariant 2: index {} makes two member lists", entry.index));
            }
            let before = self.configurations.range(..entry.index).next_back();
            let voted = before.map(|(_, before)| &before.voters[..]).unwrap_or_default();
            let gone = voted.iter().filter(|id| !members.voters.contains(id)).count();
            let come = members.voters.iter().filter(|id| !voted.contains(id)).count();
            if gone + come > 1 {
                let now = &members.voters;
                return Err(format!("invariant 8: voters change from {voted:x?} to {now:x?}"));
            }
        }
        Ok(())
    }

    /// The member lists of which one was in force when `index` was committed.
    pub(crate) fn lists_at(&self, index: u64) -> impl Iterator<Item = &Members> {
        self.configurations.range(..=index).rev().take(2).map(|(_, members)| members)
    }

    /// Invariants 6 and 25.
    pub(crate) fn reached(&mut self, state: &State) -> Result<(), String> {
        let Some(cluster) = &state.cluster else { return Ok(()) };
        let (index, time) = (state.applied_index, cluster.cluster_time.0);
        let here = (state.hash(), time);
        if *self.states.entry(index).or_insert(here) != here {
            return Err(format!("invariant 6: two states at index {index}"));
        }
        let before = self.states.range(..index).next_back();
        if before.is_some_and(|(_, (_, before))| *before > time) {
            return Err(format!("invariant 25: cluster time goes back at index {index}"));
        }
        if index > self.newest.applied_index {
            self.newest = Arc::new(state.clone());
        }
        Ok(())
    }
}

/// Invariant 8: after the last committed entry there is at most one change of the members.
fn check_one_change(log: &DurableLog) -> Result<(), String> {
    let is_change = |entry: &&Entry| {
        entry.index > log.hard_state.commit && entry.get_entry_type() != EntryType::EntryNormal
    };
    let changes: Vec<u64> = log.entries.iter().filter(is_change).map(|entry| entry.index).collect();
    // The commit index may lag behind on disk; one change may be applied and another under way.
    if changes.len() > 2 {
        return Err(format!("invariant 8: changes of the members at {changes:?} are under way"));
    }
    Ok(())
}

/// FNV-1a over what an entry says.
fn hash(entry: &Entry) -> u64 {
    let kind = entry.entry_type.to_le_bytes();
    kind.iter()
        .chain(&entry.data)
        .chain(&entry.context)
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        })
}
