//! The core: takes facts and outcomes in, keeps at most one thing under way per subject.

use super::effect::{Answer, CallFailure, Effect};
use super::input::{Input, PeerProgress, Settings};
use super::lanes::{Lanes, Subject, View, Waiting};
use super::times;
use jaco_kit_core::{Core, Mono, Now, OpId, OpIds};
use jaco_model::command::{AcmeChange, AcmeStep};
use jaco_model::entity::AcmeOrder;
use jaco_model::{ErrorCode, Fault, NodeId, WallMs};
use jaco_state::{State, is_acme_due};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Wait before a proposal without an outcome, or a refused step, is tried again.
const PROPOSE_AGAIN: Duration = Duration::from_secs(1);
/// An order is given up after that.
pub(super) const ORDER_LIMIT: Duration = Duration::from_secs(3600);
/// Hold of an account whose authority names none.
const HOLD: Duration = Duration::from_secs(3600);

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
            settings,
            state: Arc::new(State::default()),
            term: None,
            progress: BTreeMap::new(),
            lanes: Lanes::new(),
            wake_at: None,
            ops: OpIds::default(),
        }
    }

    /// Cluster time: never before that of the state.
    pub(super) fn wall(&self, now: Now) -> WallMs {
        WallMs(now.wall.0).max(self.state.cluster_time())
    }

    pub(super) fn next_op(&mut self) -> OpId {
        self.ops.next_id()
    }

    /// Sends a step and holds the subject until the state shows it.
    pub(super) fn propose(&mut self, now: Now, subject: Subject, change: AcmeChange) -> Effect {
        let op = self.next_op();
        let due = is_acme_due(&self.state, self.wall(now));
        let seen = View::of(&self.state, &subject, due);
        let step = AcmeStep { term: self.term.unwrap_or(0), change: change.clone() };
        let lane = self.lanes.entry(subject).or_default();
        lane.waiting = Some(Waiting::Step { change, op: Some(op), accepted: false, seen });
        Effect::Propose { op, step }
    }

    /// Frees the subjects whose step is in the state.
    fn settle(&mut self, now: Now) {
        let due = is_acme_due(&self.state, self.wall(now));
        let state = &self.state;
        for (subject, lane) in &mut self.lanes {
            let Some(Waiting::Step { seen, .. }) = &lane.waiting else { continue };
            if *seen != View::of(state, subject, due) {
                lane.waiting = None;
                lane.misses = 0;
                lane.gate_since = None;
                lane.rest_until = None;
            }
        }
    }

    fn proposed(&mut self, now: Now, op: OpId, result: Result<(), Fault>) {
        let is_it = |waiting: &Option<Waiting>| matches!(waiting, Some(Waiting::Step { op: Some(sent), .. }) if *sent == op);
        let Some(lane) = self.lanes.values_mut().find(|lane| is_it(&lane.waiting)) else { return };
        match result {
            Ok(()) => {
                // These may change nothing, and then nothing would show that they are done.
                let is_silent = |change: &AcmeChange| {
                    matches!(change, AcmeChange::Sweep | AcmeChange::Hold { .. })
                };
                match &mut lane.waiting {
                    Some(Waiting::Step { change, .. }) if is_silent(change) => {
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

    fn answered(&mut self, now: Now, op: OpId, result: Result<Answer, CallFailure>) -> Vec<Effect> {
        let is_it = |waiting: &Option<Waiting>| *waiting == Some(Waiting::Call(op));
        let found = self.lanes.iter_mut().find(|(_, lane)| is_it(&lane.waiting));
        let Some((subject, lane)) = found else { return Vec::new() };
        lane.waiting = None;
        let subject = subject.clone();
        match (&subject, result) {
            (Subject::Domain(domain), Ok(answer)) => {
                self.domain_answer(now, &subject, domain, answer)
            }
            (Subject::Domain(domain), Err(failure)) => {
                self.domain_failure(now, &subject, domain, failure)
            }
            (Subject::Account(directory, contact), Ok(Answer::Account { url, credentials })) => {
                let (directory, contact) = (directory.clone(), contact.clone());
                let change = AcmeChange::Account { directory, contact, url, credentials };
                vec![self.propose(now, subject, change)]
            }
            (_, Err(CallFailure::Problem { retry_after, .. })) => {
                self.rest(now, &subject, retry_after);
                Vec::new()
            }
            (_, Err(CallFailure::Transport { retry_after, .. })) => {
                self.rest(now, &subject, retry_after);
                Vec::new()
            }
            (Subject::Account(..) | Subject::Sweep, Ok(_)) => Vec::new(),
        }
    }

    fn rest(&mut self, now: Now, subject: &Subject, asked: Option<Duration>) {
        let lane = self.lanes.entry(subject.clone()).or_default();
        let wait = times::transient(lane.misses, asked);
        lane.misses = lane.misses.saturating_add(1);
        lane.rest_until = Some(now.mono.plus(wait));
    }

    fn domain_answer(
        &mut self,
        now: Now,
        subject: &Subject,
        domain: &str,
        answer: Answer,
    ) -> Vec<Effect> {
        let Some(live) = self.state.acme_orders.get(domain).cloned() else { return Vec::new() };
        let domain = domain.to_owned();
        let change = match (answer, live.url.clone()) {
            (Answer::Order { url }, None) => AcmeChange::Ordered { domain, url },
            (Answer::Challenge { url, token, key_authorisation }, Some(order)) => {
                AcmeChange::Challenge { domain, order, url, token, key_authorisation, record: None }
            }
            (Answer::Told, Some(order)) => AcmeChange::Validating { domain, order },
            (Answer::Proven, Some(order)) => match live.state.as_str() {
                "validating" => return vec![self.ask(subject.clone(), super::Call::NewKey)],
                _ => AcmeChange::Validating { domain, order },
            },
            (Answer::Key(key), Some(order)) => AcmeChange::Finalizing { domain, order, key },
            (Answer::Certificate { chain, not_before, not_after }, Some(order)) => {
                AcmeChange::Issued { domain, order, chain, not_before, not_after }
            }
            (Answer::Waiting { retry_after }, Some(_)) => {
                let lane = self.lanes.entry(subject.clone()).or_default();
                // Authorities need a second or a few; then it is not worth asking often.
                let own = Duration::from_millis(500 << lane.misses.min(6));
                lane.misses = lane.misses.saturating_add(1);
                lane.rest_until = Some(now.mono.plus(times::longer(own, retry_after)));
                return Vec::new();
            }
            (Answer::Invalid { detail }, Some(_)) => {
                return vec![self.failed(now, &live, "validation", detail, None)];
            }
            _ => return Vec::new(),
        };
        vec![self.propose(now, subject.clone(), change)]
    }

    fn domain_failure(
        &mut self,
        now: Now,
        subject: &Subject,
        domain: &str,
        failure: CallFailure,
    ) -> Vec<Effect> {
        let Some(live) = self.state.acme_orders.get(domain).cloned() else { return Vec::new() };
        let (kind, detail, status, asked) = match failure {
            CallFailure::Problem { kind, detail, status, retry_after } => {
                (kind, detail, status, retry_after)
            }
            CallFailure::Transport { retry_after, .. } => {
                self.rest(now, subject, retry_after);
                return Vec::new();
            }
        };
        let account = Subject::Account(live.directory.clone(), live.contact.clone());
        let (directory, contact) = (live.directory.clone(), live.contact.clone());
        match kind.as_str() {
            "rateLimited" => self.limited(now, &live, account, detail, asked),
            _ if status == 429 => self.limited(now, &live, account, detail, asked),
            "badNonce" | "serverInternal" => {
                self.rest(now, subject, asked);
                Vec::new()
            }
            _ if status >= 500 => {
                self.rest(now, subject, asked);
                Vec::new()
            }
            "accountDoesNotExist" => {
                let known = self.state.acme_accounts.get(&(directory.clone(), contact.clone()));
                let lost = known.map(|known| AcmeChange::AccountLost {
                    directory,
                    contact,
                    url: known.url.clone(),
                });
                let mut effects = vec![self.failed(now, &live, "account_lost", detail, asked)];
                effects.extend(lost.map(|change| self.propose(now, account, change)));
                effects
            }
            _ if status == 404 => vec![self.failed(now, &live, "order_lost", detail, asked)],
            _ => vec![self.failed(now, &live, "refused", detail, asked)],
        }
    }

    /// The circuit breaker: nothing more of this account for a while.
    fn limited(
        &mut self,
        now: Now,
        live: &AcmeOrder,
        account: Subject,
        detail: String,
        asked: Option<Duration>,
    ) -> Vec<Effect> {
        let wait = Some(asked.unwrap_or(HOLD));
        let until = times::after(self.wall(now), times::longer(Duration::ZERO, wait));
        let (directory, contact) = (live.directory.clone(), live.contact.clone());
        let hold = AcmeChange::Hold { directory, contact, until };
        vec![self.propose(now, account, hold), self.failed(now, live, "rate_limited", detail, wait)]
    }

    pub(super) fn failed(
        &mut self,
        now: Now,
        live: &AcmeOrder,
        class: &str,
        detail: String,
        asked: Option<Duration>,
    ) -> Effect {
        let known = self.state.certificates.get(&live.domain);
        let before = known.and_then(|known| known.failure.as_ref());
        let retry_at = times::retry_at(self.wall(now), live.attempt, before, asked);
        let change = AcmeChange::Failed {
            domain: live.domain.clone(),
            order: live.url.clone(),
            class: class.to_owned(),
            detail,
            retry_at,
        };
        self.propose(now, Subject::Domain(live.domain.clone()), change)
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
