//! The raft member: inputs into raft-rs, its `Ready` into effects, one durable batch at a time.
//!
//! ```text
//!  inputs ─▶ queue ─▶ raft node ─▶ ready ─▶ Persist ──(Persisted)──▶ advance ─▶ Send, Apply ─┐
//!               ▲                                                                            │
//!               └─────────── the node rests while a batch is in flight ◀─────────────────────┘
//! ```

mod intake;
mod members;
mod reads;
mod ready;
mod status;

use std::mem;
use std::sync::Arc;

use jaco_kit_core::{Core, Mono, Now};
use raft::{RawNode, ReadOnlyOption, Ready};
use slog::o;
use status::status_of;

use crate::batch::Batch;
use crate::config::Config;
use crate::durable::{DurableLog, Members, Position, SnapshotMeta};
use crate::effect::{Effect, Refusal, Role, Status};
use crate::election::{ELECTION_TICKS, ElectionTimeouts};
use crate::error::Error;
use crate::input::Input;
use crate::log::Log;
use crate::membership::watch::Watch;
use crate::proposals::Proposals;
use crate::queue::Queue;
use crate::reads::Reads;
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
    reads: Reads,
    watch: Watch,
    snapshots: Snapshots,
    queue: Queue,
    in_flight: Option<InFlight>,
    batches: u64,
    /// The time of the call being worked on.
    now: Now,
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
            // A lease is only as good as the clock; a stopped leader would answer from the past.
            read_only_option: ReadOnlyOption::Safe,
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
        // Another stream of the same seed, so that the questions of two lives differ.
        let reads = Reads::new(ElectionTimeouts::new(!config.seed).random());
        let watch = Watch::new(
            config.tick.saturating_mul(u32::try_from(ELECTION_TICKS).unwrap_or(u32::MAX)),
        );
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
            reads,
            watch,
            snapshots,
            queue: Queue::default(),
            in_flight: None,
            batches: 0,
            now: Now::default(),
            next_tick: Mono(0),
            tick_due: false,
            is_started: false,
            is_halted: false,
        };
        core.node.raft.set_randomized_election_timeout(core.election_timeout);
        Ok(core)
    }

    /// What every call begins with.
    fn begin(&mut self, now: Now, out: &mut Vec<Effect>) {
        self.now = now;
        self.watch.pass(now.mono);
        self.expire_reads(out);
        self.start(out);
    }

    /// Begins on the first call. A sole voter has nobody to wait for and campaigns at once.
    fn start(&mut self, out: &mut Vec<Effect>) {
        if mem::replace(&mut self.is_started, true) {
            return;
        }
        self.next_tick = self.now.mono.plus(self.config.tick);
        out.push(Effect::RoleChanged(self.status));
        // Committed entries come first: one that changes the members forbids to campaign.
        self.pump(out);
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
        if let Some(op) = refused.op() {
            out.push(Effect::Failed { op, why: Refusal::Overloaded });
        }
    }

    /// Works until a batch is in flight or nothing is left to do.
    fn pump(&mut self, out: &mut Vec<Effect>) {
        while self.in_flight.is_none() && !self.is_halted {
            if mem::take(&mut self.tick_due) {
                self.node.tick();
                self.observe(out);
                self.sample_members();
            }
            while let Some(input) = self.queue.pop() {
                self.take(input, out);
                self.observe(out);
            }
            self.steer_members();
            self.ask_reads();
            // Or a member with nothing else to do would never answer, which is another mistake.
            #[cfg(feature = "seeded-bugs")]
            if self.has_bug(crate::seeded::SeededBug::LeaseReads) {
                self.answer_reads(out);
            }
            if self.node.has_ready() {
                self.begin_ready(out);
            } else if self.snapshots.taken.is_some() || self.members_unsaved.is_some() {
                // A member list counts from here on, so a restart must find it: whoever made it may
                // be the one that is lost.
                let batch = Arc::new(self.batch(None));
                out.push(Effect::Persist(batch.clone()));
                self.in_flight = Some(InFlight { batch, ready: None });
            } else {
                break;
            }
        }
        self.serve_snapshots(out);
    }

    /// Reports what changed and keeps the election timeout ours after each touch of the node.
    fn observe(&mut self, out: &mut Vec<Effect>) {
        let status = status_of(&self.node);
        if (status.role, status.term) != (self.status.role, self.status.term) {
            self.election_timeout = self.timeouts.draw();
            for op in self.proposals.drain() {
                out.push(Effect::Failed { op, why: Refusal::Unknown });
            }
            // A read changes nothing, so it may go on elsewhere.
            let why = Refusal::NotLeader { leader: status.leader };
            out.extend(self.reads.lose().into_iter().map(|op| Effect::Failed { op, why }));
            if status.role == Role::Leader || self.status.role == Role::Leader {
                self.watch.restart(self.now.mono, status.role == Role::Leader);
            }
        }
        // The library draws from a global source whenever it resets.
        self.node.raft.set_randomized_election_timeout(self.election_timeout);
        if status != self.status {
            self.status = status;
            out.push(Effect::RoleChanged(status));
        }
    }

    /// Starts what the snapshot policy or a peer asks for.
    fn serve_snapshots(&mut self, out: &mut Vec<Effect>) {
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
        if self.applied.index <= self.durable().snapshot.at.index {
            self.snapshots.rest();
        } else if self.snapshots.is_allowed(self.now) {
            let (at, members) = (self.applied, self.members.clone());
            self.snapshots.begin(self.now, SnapshotMeta { at, members: members.clone() });
            out.push(Effect::TakeSnapshot { at, members });
        }
    }

    fn halt(&mut self, error: Error, out: &mut Vec<Effect>) {
        self.is_halted = true;
        for op in self.proposals.drain() {
            out.push(Effect::Failed { op, why: Refusal::Unknown });
        }
        for op in self.reads.drain() {
            out.push(Effect::Failed { op, why: Refusal::NotLeader { leader: None } });
        }
        while let Some(input) = self.queue.pop() {
            if let Some(op) = input.op() {
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
        self.step_all(now, vec![input])
    }

    /// Proposals that came in together share a batch, and with it an fsync.
    fn step_all(&mut self, now: Now, inputs: Vec<Input>) -> Vec<Effect> {
        let mut out = Vec::new();
        if !self.is_halted {
            self.begin(now, &mut out);
        }
        for input in inputs {
            match input {
                _ if self.is_halted => {
                    let why = Refusal::NotLeader { leader: None };
                    out.extend(input.op().map(|op| Effect::Failed { op, why }));
                }
                Input::Persisted { seq, result } => self.persisted(seq, result, &mut out),
                other => self.admit(other, &mut out),
            }
        }
        if !self.is_halted {
            self.pump(&mut out);
        }
        out
    }

    fn wake(&mut self, now: Now) -> Vec<Effect> {
        let mut out = Vec::new();
        if self.is_halted {
            return out;
        }
        self.begin(now, &mut out);
        if self.needs_ticks() && now.mono >= self.next_tick {
            // One tick, however late: a member that was stopped must hear its peers before it
            // concludes that they are gone.
            self.tick_due = true;
            self.next_tick = now.mono.plus(self.config.tick);
        }
        self.pump(&mut out);
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
        let others = [self.snapshots.deadline(), self.reads.deadline(), self.watch.deadline()];
        tick.into_iter().chain(others.into_iter().flatten()).min()
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
