//! A `Ready` of the library: first the disk, then what depends on it, then the state machine.

use std::mem;
use std::sync::Arc;

use raft::Ready;
use raft::eraftpb::{Entry, EntryType, Message};

use super::{InFlight, RaftCore};
use crate::batch::{Batch, SnapshotFile, Trim};
use crate::coalesce::coalesce;
use crate::convert::{decode_change_v1, decode_change_v2, members_from_pb};
use crate::durable::{Members, Position, SnapshotMeta};
use crate::effect::{Committed, Effect, Payload, Refusal, Role};
use crate::error::Error;
use crate::log::size_of_entry;
#[cfg(feature = "seeded-bugs")]
use crate::seeded::{self, SeededBug};

impl RaftCore {
    pub(super) fn begin_ready(&mut self, out: &mut Vec<Effect>) {
        let mut ready = self.node.ready();
        let leads = self.status.role == Role::Leader;
        // Messages from before this leadership may be votes or acknowledgements: they wait.
        if mem::replace(&mut self.led_last_ready, leads) {
            self.send(ready.take_messages(), out);
        }
        let is_due = self.snapshots.taken.is_some() || self.members_unsaved.is_some();
        if ready.must_sync() || is_due {
            let batch = Arc::new(self.batch(Some(&ready)));
            #[cfg(feature = "seeded-bugs")]
            if self.has_bug(SeededBug::PersistedMessagesEarly) {
                self.send(ready.take_persisted_messages(), out);
            }
            out.push(Effect::Persist(batch.clone()));
            #[cfg(feature = "seeded-bugs")]
            if self.has_bug(SeededBug::AckBeforeFsync) {
                self.finish(InFlight { batch: batch.clone(), ready: Some(ready) }, out);
                // `Persisted` writes the same batch into the mirror again, which changes nothing.
                self.in_flight = Some(InFlight { batch, ready: None });
                return;
            }
            self.in_flight = Some(InFlight { batch, ready: Some(ready) });
            return;
        }
        // At most the commit index moved. It goes with the next batch: until then a restart learns
        // it again from the leader, or by leading.
        let hard_state = self.node.raft.hard_state();
        let batch = Arc::new(Batch { hard_state, ..Batch::default() });
        self.finish(InFlight { batch, ready: Some(ready) }, out);
    }

    /// Everything that became due for the disk, as one batch.
    pub(super) fn batch(&mut self, ready: Option<&Ready>) -> Batch {
        self.batches += 1;
        let mut batch = Batch {
            seq: self.batches,
            hard_state: self.node.raft.hard_state(),
            ..Batch::default()
        };
        if let Some(index) = self.members_unsaved.take() {
            batch.members = Some((index, self.members.clone()));
        }
        if let Some(file) = self.snapshots.taken.take() {
            batch.trim = self.snapshots.trim(self.durable(), file.meta.at);
            batch.snapshot = Some(file);
        }
        let Some(ready) = ready else { return batch };
        batch.entries = ready.entries().clone();
        if !ready.snapshot().is_empty() {
            install(ready.snapshot(), &mut batch);
            #[cfg(feature = "seeded-bugs")]
            if self.has_bug(SeededBug::CommitNotRaisedWithSnapshot) {
                batch.hard_state.commit = self.durable().hard_state.commit;
            }
        }
        batch
    }

    pub(super) fn persisted(
        &mut self,
        seq: u64,
        result: Result<(), String>,
        out: &mut Vec<Effect>,
    ) {
        let is_awaited = self.in_flight.as_ref().is_some_and(|it| it.batch.seq == seq);
        let Some(in_flight) = self.in_flight.take_if(|_| is_awaited) else { return };
        match result {
            Ok(()) => self.finish(in_flight, out),
            Err(error) => self.halt(Error::StorageFailed(error), out),
        }
    }

    /// The batch is durable, or had nothing that must be: everything that waited for it follows.
    fn finish(&mut self, in_flight: InFlight, out: &mut Vec<Effect>) {
        let InFlight { batch, ready } = in_flight;
        self.node.mut_store().apply(&batch);
        let Some(mut ready) = ready else { return };
        if let (Trim::Whole(at), Some(file)) = (batch.trim, &batch.snapshot) {
            self.restore(at, file, out);
        }
        let mut messages = ready.take_persisted_messages();
        messages.append(&mut ready.take_messages());
        self.confirm_reads(ready.take_read_states());
        let mut committed = ready.take_committed_entries();
        let mut light = self.node.advance_append(ready);
        messages.append(&mut light.take_messages());
        self.send(messages, out);
        committed.append(&mut light.take_committed_entries());
        self.apply(committed, out);
        if !self.is_halted {
            self.node.advance_apply();
            self.answer_reads(out);
        }
        self.observe(out);
    }

    fn send(&self, messages: Vec<Message>, out: &mut Vec<Effect>) {
        if !messages.is_empty() {
            out.push(Effect::Send(coalesce(messages, self.config.limits.message_max)));
        }
    }

    fn restore(&mut self, at: Position, file: &SnapshotFile, out: &mut Vec<Effect>) {
        self.members = file.meta.members.clone();
        self.members_unsaved = None;
        self.applied = at;
        self.snapshots.forget();
        let (members, data) = (self.members.clone(), file.data.clone());
        out.push(Effect::Restore { at, members, data });
    }

    fn apply(&mut self, entries: Vec<Entry>, out: &mut Vec<Effect>) {
        let mut applied = Vec::new();
        for entry in entries {
            self.snapshots.count_applied(size_of_entry(&entry));
            self.applied = Position { index: entry.index, term: entry.term };
            let op = self.proposals.take(self.applied);
            let (index, term) = (entry.index, entry.term);
            #[cfg(feature = "seeded-bugs")]
            if self.has_bug(SeededBug::SkipEmptyConfEntry) && seeded::says_nothing(&entry) {
                continue;
            }
            // The type comes before emptiness: an empty configuration change is legal.
            let payload = match entry.get_entry_type() {
                EntryType::EntryNormal if entry.data.is_empty() => {
                    // The library put it in the place of a second membership change.
                    let why = Refusal::Membership;
                    out.extend(op.map(|op| Effect::Failed { op, why }));
                    continue;
                }
                EntryType::EntryNormal => Payload::Command(entry.data),
                EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => {
                    match self.apply_members(&entry) {
                        Ok(members) => Payload::Members(members),
                        Err(reason) => {
                            push_apply(applied, out);
                            return self.halt(Error::MembershipChange { index, reason }, out);
                        }
                    }
                }
            };
            applied.push(Committed { index, term, op, payload });
        }
        push_apply(applied, out);
    }

    fn apply_members(&mut self, entry: &Entry) -> Result<Members, String> {
        let conf = if entry.get_entry_type() == EntryType::EntryConfChange {
            self.node.apply_conf_change(&decode_change_v1(&entry.data)?)
        } else {
            self.node.apply_conf_change(&decode_change_v2(&entry.data)?)
        };
        let conf = conf.map_err(|error| error.to_string())?;
        let members = members_from_pb(&conf).ok_or("a joint configuration")?;
        let is_newcomer = |id: &u64| !self.members.contains(*id);
        if members.voters.iter().chain(&members.learners).any(is_newcomer) {
            self.node.mut_store().require_image_from(entry.index);
        }
        self.check_replayed(entry.index, &members)?;
        self.members = members.clone();
        self.step_down_without_vote();
        self.watch.call();
        // Replaying after a restart must not put an older list in the place of a newer one.
        if entry.index > self.durable().members.0 {
            self.members_unsaved = Some(entry.index);
        }
        Ok(members)
    }

    /// After a restart the log must lead to the member list that was durable before it.
    fn check_replayed(&self, index: u64, members: &Members) -> Result<(), String> {
        let (saved_index, saved) = &self.durable().members;
        if *saved_index == index && saved != members {
            return Err(format!("leads to {members:?}, but {saved:?} is durable"));
        }
        Ok(())
    }
}

/// Puts a snapshot of the leader into `batch`; it takes the place of the whole log.
fn install(snapshot: &raft::eraftpb::Snapshot, batch: &mut Batch) {
    let metadata = snapshot.get_metadata();
    let at = Position { index: metadata.index, term: metadata.term };
    // The filter has let no other list through.
    let members = members_from_pb(metadata.get_conf_state()).unwrap_or_default();
    batch.trim = Trim::Whole(at);
    batch.members = Some((at.index, members.clone()));
    let data = Arc::new(snapshot.data.clone());
    batch.snapshot = Some(SnapshotFile { meta: SnapshotMeta { at, members }, data });
}

fn push_apply(entries: Vec<Committed>, out: &mut Vec<Effect>) {
    if !entries.is_empty() {
        out.push(Effect::Apply(entries));
    }
}
