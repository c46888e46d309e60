//! What is to be done next, from the state and what is under way.

use super::core::AcmeCore;
use super::effect::{AccountRef, Call, Effect};
use super::failure::ORDER_LIMIT;
use super::lanes::{Subject, Waiting};
use super::times;
use jaco_kit_core::Now;
use jaco_model::command::AcmeChange;
use jaco_model::entity::{AcmeAccount, AcmeOrder, OrderState};
use jaco_model::spec::Challenge;
use jaco_model::{NodeId, WallMs};
use jaco_state::{acme_domains, is_acme_due, token_over_at};
use std::sync::Arc;
use std::time::Duration;

/// How long a node that is not alive is waited for.
const GATE_LIMIT: Duration = Duration::from_secs(10);

impl AcmeCore {
    /// Everything that can be done now; sets the time of the next look.
    pub(super) fn drive(&mut self, now: Now) -> Vec<Effect> {
        self.wake_at = None;
        if self.term.is_none() || !self.settings.enabled {
            return Vec::new();
        }
        self.wake_at = Some(now.mono.plus(times::LOOK_AGAIN));
        let mut effects = self.propose_again(now);
        effects.extend(self.look_at_clocks(now));
        let live: Vec<_> = self.state.acme_orders.values().cloned().collect();
        for order in &live {
            effects.extend(self.advance(now, order));
        }
        effects.extend(self.remove_records(now));
        let seed = self.settings.seed;
        let mut wanted: Vec<_> = acme_domains(&self.state).into_iter().collect();
        wanted.sort_by_key(|(domain, _)| times::hash(domain, seed));
        let domains: Vec<String> = wanted.iter().map(|(domain, _)| domain.clone()).collect();
        effects.extend(self.poll_advice(now, &domains));
        effects.extend(self.begin(now, wanted));
        let is_due = is_acme_due(&self.state, self.wall(now));
        if is_due && self.is_free(now, &Subject::Sweep) {
            effects.push(self.propose(now, Subject::Sweep, AcmeChange::Sweep));
        }
        let ends = self.state.challenge_tokens.values().filter_map(|token| token_over_at(token));
        if let Some(end) = ends.min() {
            self.look_at_wall(now, end);
        }
        effects
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
                None => again.push((subject.clone(), change.as_ref().clone())),
            }
        }
        later.into_iter().for_each(|at| self.look_at(at));
        again.into_iter().map(|(subject, change)| self.propose(now, subject, change)).collect()
    }

    /// An account; asks for one when there is none.
    pub(super) fn account(
        &mut self,
        now: Now,
        directory: &str,
        contact: &str,
    ) -> Result<Arc<AcmeAccount>, Option<Box<Effect>>> {
        let key = (directory.to_owned(), contact.to_owned());
        if let Some(account) = self.state.acme_accounts.get(&key) {
            return Ok(account.clone());
        }
        let standing = self.state.acme_standings.get(&key);
        let retry = standing.and_then(|standing| standing.failure.as_ref()).map(|f| f.retry_at);
        if let Some(at) = retry.filter(|at| *at > self.wall(now)) {
            self.look_at_wall(now, at);
            return Err(None);
        }
        let subject = Subject::Account(key.0.clone(), key.1.clone());
        if !self.is_free(now, &subject) {
            return Err(None);
        }
        let call = Call::NewAccount { directory: key.0, contact: key.1 };
        Err(Some(Box::new(self.ask(now, subject, call))))
    }

    fn advance(&mut self, now: Now, live: &AcmeOrder) -> Option<Effect> {
        let subject = Subject::Domain(live.domain.clone());
        let is_under_way = self.lanes.get(&subject).is_some_and(|lane| lane.waiting.is_some());
        if is_under_way || self.is_suspect(&live.directory) {
            return None;
        }
        let limit = times::after(live.started_at, ORDER_LIMIT);
        if self.wall(now) >= limit {
            let detail = "the order was not done within an hour".to_owned();
            return Some(self.failed(now, live, "timeout", detail, None));
        }
        self.look_at_wall(now, limit);
        if let Some(detail) = self.lacks_provider(live) {
            return Some(self.failed(now, live, "dns", detail, None));
        }
        if !self.is_free(now, &subject) || !self.is_time(now, live.not_before) {
            return None;
        }
        let account = match self.account(now, &live.directory, &live.contact) {
            Ok(account) => account,
            Err(effect) => return effect.map(|effect| *effect),
        };
        let is_held = live.url.is_none()
            && (self.is_being_held(&live.directory, &live.contact)
                || !self.is_time(now, account.held_until));
        if is_held {
            return None;
        }
        let call = self.call(now, &subject, live, &account)?;
        Some(self.ask(now, subject, call))
    }

    /// Whether a hold of an account is being written.
    pub(super) fn is_being_held(&self, directory: &str, contact: &str) -> bool {
        let subject = Subject::Account(directory.to_owned(), contact.to_owned());
        let change = self.lanes.get(&subject).and_then(|lane| lane.change());
        matches!(change, Some(AcmeChange::Hold { .. }))
    }

    fn is_time(&mut self, now: Now, at: Option<WallMs>) -> bool {
        let Some(at) = at.filter(|at| *at > self.wall(now)) else { return true };
        self.look_at_wall(now, at);
        false
    }

    /// The next request about an order; `None` while others must do something first.
    fn call(
        &mut self,
        now: Now,
        subject: &Subject,
        live: &AcmeOrder,
        known: &AcmeAccount,
    ) -> Option<Call> {
        let directory = live.directory.clone();
        let domain = live.domain.clone();
        if live.state == OrderState::Preflight {
            let (account, challenge) = (known.url.clone(), live.challenge.clone());
            return Some(Call::Preflight { directory, account, domain, challenge });
        }
        let account = AccountRef { directory, credentials: known.credentials.clone() };
        let Some(order) = live.url.clone() else {
            let lane = self.lanes.entry(subject.clone()).or_default();
            let look = !std::mem::take(&mut lane.is_unsent);
            let (account_url, replaces) = (known.url.clone(), live.replaces.clone());
            return Some(Call::NewOrder { account, account_url, domain, replaces, look });
        };
        let dns = live.challenge != Challenge::Http;
        Some(match &live.state {
            OrderState::Preflight | OrderState::Ordering => Call::Challenge { account, order, dns },
            OrderState::ChallengeReady if dns => {
                if self.is_being_removed(live) {
                    return None;
                }
                match self.record_call(subject, live) {
                    Some(call) => call,
                    None => Call::Tell { account, order, dns },
                }
            }
            OrderState::ChallengeReady => {
                if !self.is_everywhere(now, subject, live) {
                    return None;
                }
                Call::Tell { account, order, dns }
            }
            OrderState::Validating => Call::Poll { account, order },
            OrderState::Finalizing { key } => {
                Call::Finalize { account, order, domain, key: key.clone() }
            }
        })
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
}
