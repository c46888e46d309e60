//! The raft member: inputs into raft-rs, its `Ready` into effects, one durable batch at a time.
//!
//! ```text
//!  inputs ─▶ queue ─▶ raft node ─▶ ready ─▶ Persist ──(Persisted)──▶ advance ─▶ Send, Apply ─┐
//!               ▲                                                                            │
//!               └─────────── the node rests while a batch is in flight ◀─────────────────────┘
//! ```

use std::fmt;
use std::mem;
use std::sync::Arc;

use jaco_kit_core::{Core, Mono, Now, OpId};
use raft::eraftpb::{Entry, EntryType, Message};
use raft::{RawNode, Ready, SnapshotStatus, StateRole};
use slog::o;

use crate::batch::{Batch, SnapshotFile, Trim};
use crate::config::Config;
use crate::convert::{change_to_pb, decode_change_v1, decode_change_v2, members_from_pb};
use crate::durable::{DurableLog, Members, Position, SnapshotMeta};
use crate::effect::{Committed, Effect, Payload, Refusal, Role, Status};
use crate::election::{ELECTION_TICKS, ElectionTimeouts};
use crate::error::Error;
use crate::filter;
use crate::input::{Input, MemberChange};
use crate::log::{Log, size_of_entry};
use crate::proposals::Proposals;
use crate::queue::Queue;
use crate::snapshots::Snapshots;

/// One member of the consensus.
///
/// Its first deadline is time zero: the first call of any kind starts it.
pub struct RaftCore {
    config: Config,
    node: RawNode<Log>,
    timeouts: ElectionTimeouts,
    election_timeout: usize,
    status: Status,
    /// Whether the last `Ready` was this leader's: only then may messages precede the disk.
    led_last_ready: bool,
    members: Members,
    /// Applied but not yet durable: the entry that made `members`.
    members_unsaved: Option<u64>,
    applied: Position,
    proposals: Proposals,
    snapshots: Snapshots,
    queue: Queue,
    in_flight: Option<InFlight>,
    batches: u64,
    next_tick: Mono,
    tick_due: bool,
    is_started: bool,
    is_halted: bool,
}

/// A batch on its way to the disk and the `Ready` that waits for it.
struct InFlight {
    batch: Arc<Batch>,
    /// None for a batch that only carries a local snapshot.
    ready: Option<Ready>,
}

impl RaftCore {
    /// A member that goes on from what its disk holds.
    ///
    /// The state machine must already be at `durable.snapshot`: later entries come as `Apply`.
    ///
    /// # Errors
    /// [`Error::StorageCorrupt`] if `durable` contradicts itself, [`Error::Config`] for settings
    /// that raft-rs refuses.
    pub fn new(config: Config, durable: DurableLog) -> Result<RaftCore, Error> {
        if config.raft_id == 0 {
            return Err(Error::Config("a raft id of zero".into()));
        }
        durable.validate()?;
        let settings = raft::Config {
            id: config.raft_id,
            election_tick: ELECTION_TICKS,
            heartbeat_tick: 1,
            applied: durable.snapshot.at.index,
            max_size_per_msg: config.limits.message_max,
            max_inflight_msgs: config.limits.inflight_messages_max,
            check_quorum: true,
            pre_vote: true,
            max_uncommitted_size: config.limits.uncommitted_max,
            max_committed_size_per_ready: config.limits.committed_per_ready_max,
            ..raft::Config::default()
        };
        let members = durable.snapshot.members.clone();
        let applied = durable.snapshot.at;
        let logger = slog::Logger::root(slog::Discard, o!());
        let node = RawNode::new(&settings, Log::new(durable), &logger)
            .map_err(|error| Error::Config(error.to_string()))?;
        let mut timeouts = ElectionTimeouts::new(config.seed);
        let election_timeout = timeouts.draw();
        let status = status_of(&node);
        let snapshots = Snapshots::new(config.snapshots.clone());
        let mut core = RaftCore {
            config,
            node,
            timeouts,
            election_timeout,
            status,
            led_last_ready: false,
            members,
            members_unsaved: None,
            applied,
            proposals: Proposals::default(),
            snapshots,
            queue: Queue::default(),
            in_flight: None,
            batches: 0,
            next_tick: Mono(0),
            tick_due: false,
            is_started: false,
            is_halted: false,
        };
        core.node.raft.set_randomized_election_timeout(core.election_timeout);
        Ok(core)
    }

    /// Role, term and leader as last reported.
    pub fn status(&self) -> Status {
        self.status
    }

    /// The member list in force: that of the last applied entry.
    pub fn members(&self) -> &Members {
        &self.members
    }

    /// The last applied entry.
    pub fn applied(&self) -> Position {
        self.applied
    }

    /// What this member knows to be durable.
    pub fn durable(&self) -> &DurableLog {
        self.node.raft.raft_log.store().durable()
    }

    /// Begins on the first call. A sole voter has nobody to wait for and campaigns at once.
    fn start(&mut self, now: Now, out: &mut Vec<Effect>) {
        if mem::replace(&mut self.is_started, true) {
            return;
        }
        self.next_tick = now.mono.plus(self.config.tick);
        out.push(Effect::RoleChanged(self.status));
        // Committed entries come first: one that changes the members forbids to campaign.
        self.pump(now, out);
        if self.is_sole_voter() && self.in_flight.is_none() && !self.is_halted {
            // The error says that the library refuses; the election timeout tries again.
            drop(self.node.campaign());
            self.observe(out);
        }
    }

    fn is_sole_voter(&self) -> bool {
        self.members.voters == [self.config.raft_id]
    }

    /// A leader without peers has nothing to send and nobody to hear from.
    fn needs_ticks(&self) -> bool {
        let is_alone = self.is_sole_voter() && self.members.learners.is_empty();
        let is_settled = is_alone && self.status.role == Role::Leader;
        !is_settled && !self.members.voters.is_empty()
    }

    /// Lets an input in, or refuses it at once.
    fn admit(&mut self, input: Input, out: &mut Vec<Effect>) {
        let Err(refused) = self.queue.push(input, &self.config.limits) else { return };
        if let Input::Propose { op, .. } | Input::ChangeMembers { op, .. } = refused {
            out.push(Effect::Failed { op, why: Refusal::Overloaded });
        }
    }

    /// Works until a batch is in flight or nothing is left to do.
    fn pump(&mut self, now: Now, out: &mut Vec<Effect>) {
        while self.in_flight.is_none() && !self.is_halted {
            if mem::take(&mut self.tick_due) {
                self.node.tick();
                self.observe(out);
            }
            while let Some(input) = self.queue.pop() {
                self.take(input, out);
                self.observe(out);
            }
            if self.node.has_ready() {
                self.begin_ready(out);
            } else if self.snapshots.taken.is_some() {
                let batch = Arc::new(self.batch(None));
                out.push(Effect::Persist(batch.clone()));
                self.in_flight = Some(InFlight { batch, ready: None });
            } else {
                break;
            }
        }
        self.serve_snapshots(now, out);
    }

    /// Feeds one input to the raft node.
    fn take(&mut self, input: Input, out: &mut Vec<Effect>) {
        match input {
            Input::Propose { op, data } => self.propose(op, data, out),
            Input::ChangeMembers { op, change } => self.change_members(op, change, out),
            Input::PeerMessage(message) => self.take_message(*message, out),
            Input::PeerUnreachable { peer } => self.node.report_unreachable(peer),
            Input::SnapshotReported { peer, installed } => {
                let status =
                    if installed { SnapshotStatus::Finish } else { SnapshotStatus::Failure };
                self.node.report_snapshot(peer, status);
                self.node.mut_store().set_image(None);
            }
            Input::SnapshotTaken { at, data } => self.take_snapshot(at, data),
            Input::SnapshotFailed { at } => {
                if self.snapshots.end(at).is_some() {
                    self.snapshots.retry();
                }
            }
            Input::SnapshotLoaded { at, data } => {
                if self.snapshots.loading == Some(at) {
                    self.snapshots.loading = None;
                    let is_newest = self.durable().snapshot.at == at;
                    self.node.mut_store().set_image(data.filter(|_| is_newest));
                }
            }
            // Handled before the queue: it ends the wait that the queue is for.
            Input::Persisted { .. } => {}
        }
    }

    fn propose(&mut self, op: OpId, data: Vec<u8>, out: &mut Vec<Effect>) {
        let refusal = if data.is_empty() || data.len() > self.config.limits.command_max {
            Refusal::Size
        } else if self.node.raft.state != StateRole::Leader {
            // The library would forward it and say nothing of its fate.
            Refusal::NotLeader { leader: self.status.leader }
        } else if self.node.propose(Vec::new(), data).is_ok() {
            return self.track(op);
        } else {
            Refusal::Overloaded
        };
        out.push(Effect::Failed { op, why: refusal });
    }

    fn change_members(&mut self, op: OpId, change: MemberChange, out: &mut Vec<Effect>) {
        let refusal = if self.node.raft.state != StateRole::Leader {
            Refusal::NotLeader { leader: self.status.leader }
        } else if !self.is_possible(change) {
            // The library would replace it by an empty entry, or panic when it is applied.
            Refusal::Membership
        } else if self.node.propose_conf_change(Vec::new(), change_to_pb(change)).is_ok() {
            return self.track(op);
        } else {
            Refusal::Overloaded
        };
        out.push(Effect::Failed { op, why: refusal });
    }

    fn is_possible(&self, change: MemberChange) -> bool {
        let takes_vote = match change {
            MemberChange::AddVoter(_) => false,
            MemberChange::AddLearner(id) | MemberChange::Remove(id) => {
                self.members.voters == [id] || id == self.config.raft_id
            }
        };
        change.raft_id() != 0 && !self.node.raft.has_pending_conf() && !takes_vote
    }

    /// The leader has just appended the proposal as its last entry.
    fn track(&mut self, op: OpId) {
        let at =
            Position { index: self.node.raft.raft_log.last_index(), term: self.node.raft.term };
        self.proposals.insert(at, op);
    }

    fn take_message(&mut self, message: Message, out: &mut Vec<Effect>) {
        let from = message.from;
        if let Err(what) = filter::check(&message, &self.node.raft) {
            out.push(Effect::PeerViolation { from, what });
            return;
        }
        // The only error left is a response from somebody who is no longer a member.
        drop(self.node.step(message));
    }

    /// Reports what changed and keeps the election timeout ours after each touch of the node.
    fn observe(&mut self, out: &mut Vec<Effect>) {
        let status = status_of(&self.node);
        if (status.role, status.term) != (self.status.role, self.status.term) {
            self.election_timeout = self.timeouts.draw();
            for op in self.proposals.drain() {
                out.push(Effect::Failed { op, why: Refusal::Unknown });
            }
        }
        // The library draws from a global source whenever it resets.
        self.node.raft.set_randomized_election_timeout(self.election_timeout);
        if status != self.status {
            self.status = status;
            out.push(Effect::RoleChanged(status));
        }
    }

    fn begin_ready(&mut self, out: &mut Vec<Effect>) {
        let mut ready = self.node.ready();
        let leads = self.status.role == Role::Leader;
        // Messages from before this leadership may be votes or acknowledgements: they wait.
        if mem::replace(&mut self.led_last_ready, leads) {
            push_send(ready.take_messages(), out);
        }
        if ready.must_sync() || self.snapshots.taken.is_some() {
            let batch = Arc::new(self.batch(Some(&ready)));
            out.push(Effect::Persist(batch.clone()));
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
    fn batch(&mut self, ready: Option<&Ready>) -> Batch {
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
        }
        batch
    }

    fn persisted(&mut self, seq: u64, result: Result<(), String>, out: &mut Vec<Effect>) {
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
        push_send(ready.take_persisted_messages(), out);
        push_send(ready.take_messages(), out);
        let mut committed = ready.take_committed_entries();
        let mut light = self.node.advance_append(ready);
        push_send(light.take_messages(), out);
        committed.append(&mut light.take_committed_entries());
        self.apply(committed, out);
        if !self.is_halted {
            self.node.advance_apply();
        }
        self.observe(out);
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
        let text = |error: &dyn fmt::Display| error.to_string();
        let conf = if entry.get_entry_type() == EntryType::EntryConfChange {
            let change = decode_change_v1(&entry.data).map_err(|error| text(&error))?;
            self.node.apply_conf_change(&change)
        } else {
            let change = decode_change_v2(&entry.data).map_err(|error| text(&error))?;
            self.node.apply_conf_change(&change)
        };
        let conf = conf.map_err(|error| text(&error))?;
        let members = members_from_pb(&conf).ok_or("a joint configuration")?;
        let is_newcomer = |id: &u64| !self.members.contains(*id);
        if members.voters.iter().chain(&members.learners).any(is_newcomer) {
            self.node.mut_store().require_image_from(entry.index);
        }
        self.check_replayed(entry.index, &members)?;
        self.members = members.clone();
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

    fn take_snapshot(&mut self, at: Position, data: Arc<Vec<u8>>) {
        if let Some(meta) = self.snapshots.end(at) {
            self.snapshots.taken = Some(SnapshotFile { meta, data });
        }
    }

    /// Starts what the snapshot policy or a peer asks for.
    fn serve_snapshots(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.is_halted {
            return;
        }
        if self.node.mut_store().take_image_wanted() {
            if !self.node.store().is_snapshot_recent() {
                self.snapshots.demand();
            } else if self.snapshots.loading.is_none() {
                let at = self.durable().snapshot.at;
                self.snapshots.loading = Some(at);
                out.push(Effect::LoadSnapshot(at));
            }
        }
        let is_newer = self.applied.index > self.durable().snapshot.at.index;
        if is_newer && self.snapshots.is_allowed(now) {
            let (at, members) = (self.applied, self.members.clone());
            self.snapshots.begin(now, SnapshotMeta { at, members: members.clone() });
            out.push(Effect::TakeSnapshot { at, members });
        }
    }

    fn halt(&mut self, error: Error, out: &mut Vec<Effect>) {
        self.is_halted = true;
        for op in self.proposals.drain() {
            out.push(Effect::Failed { op, why: Refusal::Unknown });
        }
        while let Some(input) = self.queue.pop() {
            if let Input::Propose { op, .. } | Input::ChangeMembers { op, .. } = input {
                out.push(Effect::Failed { op, why: Refusal::NotLeader { leader: None } });
            }
        }
        out.push(Effect::Fatal(error));
    }
}

impl Core for RaftCore {
    type Input = Input;
    type Effect = Effect;

    fn step(&mut self, now: Now, input: Input) -> Vec<Effect> {
        let mut out = Vec::new();
        if self.is_halted {
            if let Input::Propose { op, .. } | Input::ChangeMembers { op, .. } = input {
                out.push(Effect::Failed { op, why: Refusal::NotLeader { leader: None } });
            }
            return out;
        }
        self.start(now, &mut out);
        match input {
            Input::Persisted { seq, result } => self.persisted(seq, result, &mut out),
            other => self.admit(other, &mut out),
        }
        self.pump(now, &mut out);
        out
    }

    fn wake(&mut self, now: Now) -> Vec<Effect> {
        let mut out = Vec::new();
        if self.is_halted {
            return out;
        }
        self.start(now, &mut out);
        if self.needs_ticks() && now.mono >= self.next_tick {
            // One tick, however late: a member that was stopped must hear its peers before it
            // concludes that they are gone.
            self.tick_due = true;
            self.next_tick = now.mono.plus(self.config.tick);
        }
        self.pump(now, &mut out);
        out
    }

    fn deadline(&self) -> Option<Mono> {
        if self.is_halted {
            return None;
        }
        if !self.is_started {
            return Some(Mono(0));
        }
        let tick = self.needs_ticks().then_some(self.next_tick);
        let snapshot = self.snapshots.deadline();
        tick.into_iter().chain(snapshot).min()
    }

    fn check_invariants(&self) {
        let durable = self.durable();
        debug_assert_eq!(durable.validate(), Ok(()), "invariant 5: the durable log is consistent");
        let log = &self.node.raft.raft_log;
        debug_assert!(durable.snapshot.at.index <= self.applied.index, "invariant 5");
        debug_assert!(self.applied.index <= log.committed, "invariant 5: applied ≤ commit");
        debug_assert!(log.committed <= log.last_index(), "invariant 5: commit ≤ last");
    }
}

impl fmt::Debug for RaftCore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RaftCore")
            .field("raft_id", &self.config.raft_id)
            .field("status", &self.status)
            .field("members", &self.members)
            .field("applied", &self.applied)
            .finish_non_exhaustive()
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

fn push_send(messages: Vec<Message>, out: &mut Vec<Effect>) {
    if !messages.is_empty() {
        out.push(Effect::Send(messages));
    }
}

fn push_apply(entries: Vec<Committed>, out: &mut Vec<Effect>) {
    if !entries.is_empty() {
        out.push(Effect::Apply(entries));
    }
}

fn status_of(node: &RawNode<Log>) -> Status {
    let role = match node.raft.state {
        StateRole::Follower => Role::Follower,
        StateRole::PreCandidate => Role::PreCandidate,
        StateRole::Candidate => Role::Candidate,
        StateRole::Leader => Role::Leader,
    };
    let leader = Some(node.raft.leader_id).filter(|id| *id != raft::INVALID_ID);
    Status { role, term: node.raft.term, leader }
}
