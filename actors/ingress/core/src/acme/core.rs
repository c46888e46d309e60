//! The core: takes facts and outcomes in, keeps at most one thing under way per subject.

use super::effect::{Call, Effect};
use super::input::{Input, PeerProgress, Settings};
use super::lanes::{Lanes, Subject, View, Waiting};
use super::times;
use jaco_kit_core::{Core, Mono, Now, OpId, OpIds};
use jaco_model::command::{AcmeChange, AcmeStep};
use jaco_model::{ErrorCode, Fault, NodeId, WallMs};
use jaco_state::{State, is_acme_due};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Wait before a proposal without an outcome, or a refused step, is tried again.
const PROPOSE_AGAIN: Duration = Duration::from_secs(1);

/// Decides on the leader which certificates are ordered, and step by step how.
#[derive(Debug)]
pub struct AcmeCore {
    pub(super) settings: Settings,
    pub(super) state: Arc<State>,
    pub(super) term: Option<u64>,
    pub(super) progress: BTreeMap<NodeId, PeerProgress>,
    pub(super) lanes: Lanes,
    pub(super) wake_at: Option<Mono>,
    ops: OpIds,
}

impl AcmeCore {
    /// The core of a node that has seen no state yet.
    pub fn new(settings: Settings) -> AcmeCore {
        AcmeCore {
            ops: OpIds::of_epoch(settings.epoch),
            settings,
            state: Arc::new(State::default()),
            term: None,
            progress: BTreeMap::new(),
            lanes: Lanes::new(),
            wake_at: None,
        }
    }

    /// Cluster time: never before that of the state.
    pub(super) fn wall(&self, now: Now) -> WallMs {
        WallMs(now.wall.0).max(self.state.cluster_time())
    }

    /// Sends a step and holds the subject until the state shows it.
    pub(super) fn propose(&mut self, now: Now, subject: Subject, change: AcmeChange) -> Effect {
        let op = self.ops.next_id();
        let due = is_acme_due(&self.state, self.wall(now));
        let seen = View::of(&self.state, &subject, due);
        let step = AcmeStep { term: self.term.unwrap_or(0), change: change.clone() };
        let lane = self.lanes.entry(subject).or_default();
        lane.waiting =
            Some(Waiting::Step { change: Box::new(change), op: Some(op), accepted: false, seen });
        Effect::Propose { op, step }
    }

    /// Sends a call about a subject.
    pub(super) fn ask(&mut self, now: Now, subject: Subject, call: Call) -> Effect {
        let (op, at) = (self.ops.next_id(), self.wall(now));
        self.lanes.entry(subject).or_default().waiting = Some(Waiting::Call(op));
        Effect::Ask { op, at, call }
    }

    /// Frees the subjects whose step is in the state.
    fn settle(&mut self, now: Now) {
        let due = is_acme_due(&self.state, self.wall(now));
        let (state, term) = (&self.state, self.term);
        for (subject, lane) in &mut self.lanes {
            let Some(Waiting::Step { seen, change, .. }) = &lane.waiting else { continue };
            if *seen == View::of(state, subject, due) {
                continue;
            }
            let is_ours = match subject {
                Subject::Domain(domain) => {
                    let order = state.acme_orders.get(domain);
                    order.is_some_and(|order| order.url.is_none() && Some(order.term) == term)
                }
                _ => false,
            };
            let is_unsent = match change.as_ref() {
                AcmeChange::Begin { .. } => is_ours,
                AcmeChange::Preflighted { .. }
                | AcmeChange::NotReplacing { .. }
                | AcmeChange::Wait { .. } => is_ours && lane.is_unsent,
                _ => false,
            };
            lane.settle(is_unsent);
        }
    }

    fn proposed(&mut self, now: Now, op: OpId, result: Result<(), Fault>) {
        let is_it = |waiting: &Option<Waiting>| matches!(waiting, Some(Waiting::Step { op: Some(sent), .. }) if *sent == op);
        let Some(lane) = self.lanes.values_mut().find(|lane| is_it(&lane.waiting)) else { return };
        match result {
            Ok(()) => {
                match &mut lane.waiting {
                    // It may change nothing, and then nothing would show that it is done.
                    Some(Waiting::Step { change, .. }) if **change == AcmeChange::Sweep => {
                        lane.waiting = None;
                        lane.rest_until = Some(now.mono.plus(PROPOSE_AGAIN));
                    }
                    Some(Waiting::Step { op, accepted, .. }) => (*op, *accepted) = (None, true),
                    Some(Waiting::Call(_)) | None => {}
                }
            }
            Err(fault) if is_refusal(&fault) => {
                lane.waiting = None;
                lane.rest_until = Some(now.mono.plus(PROPOSE_AGAIN));
            }
            Err(_) => {
                if let Some(Waiting::Step { op, .. }) = &mut lane.waiting {
                    *op = None;
                }
                lane.rest_until = Some(now.mono.plus(PROPOSE_AGAIN));
            }
        }
    }

    /// Does nothing about a subject for a while.
    pub(super) fn rest(&mut self, now: Now, subject: &Subject, wait: fn(u32) -> Duration) {
        let lane = self.lanes.entry(subject.clone()).or_default();
        let own = wait(lane.misses);
        lane.misses = lane.misses.saturating_add(1);
        lane.rest_until = Some(now.mono.plus(own));
    }

    /// Whether nothing is under way about a subject; else looks again when its rest is over.
    pub(super) fn is_free(&mut self, now: Now, subject: &Subject) -> bool {
        let Some(lane) = self.lanes.get(subject) else { return true };
        if lane.waiting.is_some() {
            return false;
        }
        match lane.rest_until {
            Some(until) if until > now.mono => {
                self.look_at(until);
                false
            }
            _ => true,
        }
    }

    pub(super) fn look_at(&mut self, at: Mono) {
        self.wake_at = Some(self.wake_at.map_or(at, |wake| wake.min(at)));
    }

    pub(super) fn look_at_wall(&mut self, now: Now, at: WallMs) {
        let wait = Duration::from_millis(at.0.saturating_sub(self.wall(now).0).max(1));
        self.look_at(now.mono.plus(wait.min(times::LOOK_AGAIN)));
    }
}

/// Whether the state said no, rather than nobody said anything.
fn is_refusal(fault: &Fault) -> bool {
    matches!(fault.code, ErrorCode::Conflict | ErrorCode::NotFound | ErrorCode::Forbidden)
}

impl Core for AcmeCore {
    type Input = Input;
    type Effect = Effect;

    fn step(&mut self, now: Now, input: Input) -> Vec<Effect> {
        let mut effects = match input {
            Input::StateChanged(state) => {
                self.state = state;
                self.settle(now);
                Vec::new()
            }
            Input::Leadership(term) => {
                if self.term != term {
                    self.lanes.clear();
                }
                self.term = term;
                Vec::new()
            }
            Input::Progress(progress) => {
                self.progress = progress;
                Vec::new()
            }
            Input::Proposed { op, result } => {
                self.proposed(now, op, result);
                Vec::new()
            }
            Input::Answered { op, result } => self.answered(now, op, result),
        };
        effects.extend(self.drive(now));
        effects
    }

    fn wake(&mut self, now: Now) -> Vec<Effect> {
        self.drive(now)
    }

    fn deadline(&self) -> Option<Mono> {
        self.wake_at
    }
}
