//! What is to be done next, from the state and what is under way.

use super::core::{AcmeCore, ORDER_LIMIT};
use super::effect::{AccountRef, Call, Effect};
use super::input::Settings;
use super::lanes::{Subject, Waiting};
use super::times;
use jaco_kit_core::{Mono, Now};
use jaco_model::command::AcmeChange;
use jaco_model::entity::{AcmeOrder, CaKind, OrderState};
use jaco_model::spec::Challenge;
use jaco_model::{NodeId, WallMs};
use jaco_state::{acme_domains, is_acme_due};
use std::time::Duration;

/// Most orders at a time.
const LIVE_MAX: usize = 10;
/// How long a node that is not alive is waited for.
const GATE_LIMIT: Duration = Duration::from_secs(10);
/// The longest sleep: clocks may be set.
const LOOK_AGAIN: Duration = Duration::from_secs(600);

/// A domain that may be ordered for.
struct Candidate {
    domain: String,
    contact: String,
    directory: String,
    kind: CaKind,
}

impl AcmeCore {
    /// Everything that can be done now; sets the time of the next look.
    pub(super) fn drive(&mut self, now: Now) -> Vec<Effect> {
        self.wake_at = None;
        if self.term.is_none() || !self.settings.enabled {
            return Vec::new();
        }
        self.wake_at = Some(now.mono.plus(LOOK_AGAIN));
        let mut effects = self.propose_again(now);
        let live: Vec<_> = self.state.acme_orders.values().cloned().collect();
        for order in &live {
            effects.extend(self.advance(now, order));
        }
        effects.extend(self.begin(now));
        let is_due = is_acme_due(&self.state, self.wall(now));
        if is_due && self.is_free(now, &Subject::Sweep) {
            effects.push(self.propose(now, Subject::Sweep, AcmeChange::Sweep));
        }
        self.look_for_tokens(now);
        effects
    }

    fn look_at(&mut self, at: Mono) {
        self.wake_at = Some(self.wake_at.map_or(at, |wake| wake.min(at)));
    }

    fn look_at_wall(&mut self, now: Now, at: WallMs) {
        let wait = Duration::from_millis(at.0.saturating_sub(self.wall(now).0).max(1));
        self.look_at(now.mono.plus(wait.min(LOOK_AGAIN)));
    }

    fn look_for_tokens(&mut self, now: Now) {
        let ends = self.state.challenge_tokens.values().filter_map(|token| token.expires_at);
        if let Some(end) = ends.min() {
            self.look_at_wall(now, end);
        }
    }

    /// Whether nothing is under way about a subject; else looks again when its rest is over.
    fn is_free(&mut self, now: Now, subject: &Subject) -> bool {
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

    /// Steps whose proposal had no outcome.
    fn propose_again(&mut self, now: Now) -> Vec<Effect> {
        let mut again = Vec::new();
        let mut later = Vec::new();
        for (subject, lane) in &self.lanes {
            let Some(Waiting::Step { change, op: None, accepted: false, .. }) = &lane.waiting
            else {
                continue;
            };
            match lane.rest_until.filter(|until| *until > now.mono) {
                Some(until) => later.push(until),
                None => again.push((subject.clone(), change.clone())),
            }
        }
        later.into_iter().for_each(|at| self.look_at(at));
        again.into_iter().map(|(subject, change)| self.propose(now, subject, change)).collect()
    }

    /// Sends a call about a subject.
    pub(super) fn ask(&mut self, subject: Subject, call: Call) -> Effect {
        let op = self.next_op();
        self.lanes.entry(subject).or_default().waiting = Some(Waiting::Call(op));
        Effect::Ca { op, call }
    }

    /// The account of an order; asks for one when there is none.
    fn account(
        &mut self,
        now: Now,
        directory: &str,
        contact: &str,
    ) -> Result<AccountRef, Option<Box<Effect>>> {
        let key = (directory.to_owned(), contact.to_owned());
        if let Some(account) = self.state.acme_accounts.get(&key) {
            let credentials = account.credentials.clone();
            return Ok(AccountRef { directory: key.0, credentials });
        }
        let subject = Subject::Account(key.0.clone(), key.1.clone());
        if !self.is_free(now, &subject) {
            return Err(None);
        }
        let call = Call::NewAccount { directory: key.0, contact: key.1 };
        Err(Some(Box::new(self.ask(subject, call))))
    }

    fn advance(&mut self, now: Now, live: &AcmeOrder) -> Option<Effect> {
        let subject = Subject::Domain(live.domain.clone());
        let is_under_way = self.lanes.get(&subject).is_some_and(|lane| lane.waiting.is_some());
        if is_under_way {
            return None;
        }
        let limit = times::after(live.started_at, ORDER_LIMIT);
        if self.wall(now) >= limit {
            let detail = "the order was not done within an hour".to_owned();
            return Some(self.failed(now, live, "timeout", detail, None));
        }
        self.look_at_wall(now, limit);
        if !self.is_free(now, &subject) {
            return None;
        }
        let account = match self.account(now, &live.directory, &live.contact) {
            Ok(account) => account,
            Err(effect) => return effect.map(|effect| *effect),
        };
        let domain = live.domain.clone();
        let Some(order) = live.url.clone() else {
            return Some(self.ask(subject, Call::NewOrder { account, domain }));
        };
        let call = match &live.state {
            OrderState::Preflight => return None,
            OrderState::Ordering => Call::Challenge { account, order },
            OrderState::ChallengeReady => {
                if !self.is_everywhere(now, &subject, live) {
                    return None;
                }
                Call::Tell { account, order }
            }
            OrderState::Validating => Call::Poll { account, order },
            OrderState::Finalizing { key } => {
                Call::Finalize { account, order, domain, key: key.clone() }
            }
        };
        Some(self.ask(subject, call))
    }

    /// Whether every node that may be asked can answer the order's challenge.
    fn is_everywhere(&mut self, now: Now, subject: &Subject, live: &AcmeOrder) -> bool {
        let key = (live.domain.clone(), live.token.clone().unwrap_or_default());
        let index = self.state.challenge_tokens.get(&key).map_or(u64::MAX, |token| token.index);
        let missing: Vec<NodeId> = self
            .state
            .nodes
            .keys()
            .filter(|node| **node != self.settings.me)
            .filter(|node| self.progress.get(*node).is_none_or(|peer| peer.applied < index))
            .cloned()
            .collect();
        if missing.is_empty() {
            return true;
        }
        let lane = self.lanes.entry(subject.clone()).or_default();
        let since = *lane.gate_since.get_or_insert(now.mono);
        let limit = since.plus(GATE_LIMIT);
        if now.mono < limit {
            self.look_at(limit);
            return false;
        }
        let is_up = |node: &NodeId| self.progress.get(node).is_some_and(|peer| peer.up);
        !missing.iter().any(is_up)
    }

    /// Begins orders, in an order that spreads domains evenly.
    fn begin(&mut self, now: Now) -> Vec<Effect> {
        let seed = self.settings.seed;
        let mut wanted: Vec<_> = acme_domains(&self.state).into_iter().collect();
        wanted.retain(|(_, wish)| wish.challenge == Challenge::Http);
        wanted.sort_by_key(|(domain, _)| times::hash(domain, seed));
        let mut effects = Vec::new();
        let mut n_live = self.state.acme_orders.len() + self.n_beginning();
        for (domain, wish) in wanted {
            if n_live >= LIVE_MAX {
                break;
            }
            let subject = Subject::Domain(domain.clone());
            if self.state.acme_orders.contains_key(&domain) || !self.is_free(now, &subject) {
                continue;
            }
            let Some(candidate) = self.candidate(now, domain, wish.contact) else { continue };
            match self.account(now, &candidate.directory, &candidate.contact) {
                Err(effect) => effects.extend(effect.map(|effect| *effect)),
                Ok(_) => {
                    let Candidate { domain, contact, directory, kind } = candidate;
                    let begin = AcmeChange::Begin {
                        domain,
                        directory,
                        contact,
                        kind,
                        challenge: Challenge::Http,
                        replaces: None,
                        preflight: false,
                        counted: true,
                    };
                    effects.push(self.propose(now, subject, begin));
                    n_live += 1;
                }
            }
        }
        effects
    }

    fn n_beginning(&self) -> usize {
        let begins = |waiting: &Option<Waiting>| {
            matches!(waiting, Some(Waiting::Step { change: AcmeChange::Begin { .. }, .. }))
        };
        self.lanes.values().filter(|lane| begins(&lane.waiting)).count()
    }

    /// The order that a domain needs now, if any.
    fn candidate(&mut self, now: Now, domain: String, contact: String) -> Option<Candidate> {
        let wall = self.wall(now);
        let known = self.state.certificates.get(&domain).cloned();
        let issued = known.as_ref().and_then(|known| known.issued.as_ref());
        let due = issued
            .map(|issued| times::renew_at(issued, times::hash(&domain, self.settings.seed) >> 8));
        let retry = known.as_ref().and_then(|known| known.failure.as_ref()).map(|f| f.retry_at);
        let contact = if contact.is_empty() { self.settings.contact.clone() } else { contact };
        let is_staged = known.as_ref().is_some_and(|known| known.staged_at.is_some());
        let (directory, kind) = self.authority(issued.is_some() || is_staged);
        let account = self.state.acme_accounts.get(&(directory.clone(), contact.clone()));
        let held = account.and_then(|account| account.held_until);
        let at = [due, retry, held].into_iter().flatten().max();
        if let Some(at) = at.filter(|at| *at > wall) {
            self.look_at_wall(now, at);
            return None;
        }
        Some(Candidate { domain, contact, directory, kind })
    }

    /// Where the next order goes: a domain's first one is rehearsed where that is possible.
    fn authority(&self, is_known: bool) -> (String, CaKind) {
        let settings = &self.settings;
        match settings.directory.as_str() {
            Settings::PRODUCTION if is_known || settings.skip_staging => {
                (settings.directory.clone(), CaKind::Production)
            }
            Settings::PRODUCTION => (Settings::STAGING.to_owned(), CaKind::Staging),
            _ => (settings.directory.clone(), CaKind::Custom),
        }
    }
}
