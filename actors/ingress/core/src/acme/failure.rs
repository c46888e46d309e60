//! What becomes of an order, an account or a record when a call brought nothing.

use super::core::AcmeCore;
use super::effect::{CallFailure, Effect};
use super::lanes::Subject;
use super::times;
use jaco_kit_core::Now;
use jaco_model::command::AcmeChange;
use jaco_model::entity::{AcmeOrder, ClockSuspicion, OrderState};
use std::time::Duration;

/// An order is given up after that.
pub(super) const ORDER_LIMIT: Duration = Duration::from_secs(3600);
/// Hold of an account whose authority names none.
const HOLD: Duration = Duration::from_secs(3600);
/// Shortest wait where somebody has to do something first.
const OPERATOR: Duration = Duration::from_secs(3600);

/// What an authority refused, in parts.
struct Refusal {
    kind: String,
    detail: String,
    status: u16,
    asked: Option<Duration>,
}

impl AcmeCore {
    pub(super) fn call_failed(
        &mut self,
        now: Now,
        subject: &Subject,
        failure: CallFailure,
    ) -> Vec<Effect> {
        if let CallFailure::Clock { authority } = failure {
            let place = self.place_of(subject);
            let cluster = self.wall(now);
            let suspicion = Some(ClockSuspicion { authority, cluster });
            return place.map_or_else(Vec::new, |(directory, contact)| {
                let clock = Subject::Clock(directory.clone(), contact.clone());
                vec![self.propose(now, clock, AcmeChange::Clock { directory, contact, suspicion })]
            });
        }
        match subject {
            Subject::Domain(domain) => match self.state.acme_orders.get(domain).cloned() {
                Some(live) => self.order_failed(now, subject, &live, failure),
                None => self.no_advice(now, domain, &failure).into_iter().collect(),
            },
            Subject::Account(directory, contact) => {
                let key = (directory.clone(), contact.clone());
                vec![self.account_failed(now, key, failure)]
            }
            Subject::Clock(..) | Subject::Record(..) | Subject::Sweep => {
                self.rest(now, subject, times::transient);
                Vec::new()
            }
        }
    }

    /// The authority and the contact that a subject has to do with.
    fn place_of(&self, subject: &Subject) -> Option<(String, String)> {
        match subject {
            Subject::Account(directory, contact) | Subject::Clock(directory, contact) => {
                Some((directory.clone(), contact.clone()))
            }
            Subject::Domain(domain) => match self.state.acme_orders.get(domain) {
                Some(live) => Some((live.directory.clone(), live.contact.clone())),
                None => {
                    let issued = self.state.certificates.get(domain)?.issued.as_ref()?;
                    Some((issued.directory.clone(), self.settings.contact.clone()))
                }
            },
            Subject::Record(..) | Subject::Sweep => None,
        }
    }

    fn account_failed(&mut self, now: Now, key: (String, String), failure: CallFailure) -> Effect {
        let standing = self.state.acme_standings.get(&key);
        let before = standing.and_then(|standing| standing.failure.as_ref());
        let attempts = before.map_or(0, |failure| failure.attempts);
        let (detail, wait) = match failure {
            CallFailure::Problem { kind, detail, status, retry_after } => {
                let is_passing = status >= 500 || matches!(kind.as_str(), "badNonce");
                let own = match is_passing {
                    true => times::transient(attempts),
                    false => times::ladder(attempts.saturating_add(1)),
                };
                let asked = retry_after.or((status == 429).then_some(HOLD));
                (detail, times::longer(own, asked))
            }
            CallFailure::Transport { detail, retry_after } => {
                (detail, times::longer(times::transient(attempts), retry_after))
            }
            CallFailure::Provider { detail } => (detail, times::transient(attempts)),
            CallFailure::Clock { .. } => (String::new(), HOLD),
        };
        let retry_at = times::after(self.wall(now), wait);
        let (directory, contact) = key.clone();
        let change = AcmeChange::AccountFailed { directory, contact, detail, retry_at };
        self.propose(now, Subject::Account(key.0, key.1), change)
    }

    fn order_failed(
        &mut self,
        now: Now,
        subject: &Subject,
        live: &AcmeOrder,
        failure: CallFailure,
    ) -> Vec<Effect> {
        match failure {
            CallFailure::Problem { kind, detail, status, retry_after } => {
                let refusal = Refusal { kind, detail, status, asked: retry_after };
                self.refused(now, subject, live, refusal)
            }
            CallFailure::Transport { detail, retry_after } => {
                self.no_answer(now, subject, live, retry_after, &detail)
            }
            CallFailure::Provider { detail } => {
                let lane = self.lanes.entry(subject.clone()).or_default();
                if lane.misses < times::PROVIDER_TRIES {
                    self.rest(now, subject, times::transient);
                    return Vec::new();
                }
                let is_preflight = live.state == OrderState::Preflight;
                let class = if is_preflight { "preflight" } else { "dns" };
                vec![self.failed(now, live, class, detail, None)]
            }
            CallFailure::Clock { .. } => Vec::new(),
        }
    }

    fn refused(
        &mut self,
        now: Now,
        subject: &Subject,
        live: &AcmeOrder,
        refusal: Refusal,
    ) -> Vec<Effect> {
        let Refusal { kind, detail, status, asked } = refusal;
        match kind.as_str() {
            "rateLimited" => self.limited(now, live, detail, asked),
            _ if status == 429 => self.limited(now, live, detail, asked),
            "badNonce" => {
                self.rest(now, subject, times::nonce);
                Vec::new()
            }
            _ if kind == "serverInternal" || status >= 500 => {
                self.no_answer(now, subject, live, asked, &detail)
            }
            "accountDoesNotExist" => self.account_lost(now, live, detail, asked),
            // Whatever it has against the order, it may like it better without this.
            _ if live.url.is_none() && live.replaces.is_some() => {
                let change = AcmeChange::NotReplacing { domain: live.domain.clone() };
                self.lanes.entry(subject.clone()).or_default().is_unsent = true;
                vec![self.propose(now, subject.clone(), change)]
            }
            // What a challenge is refused for: the authority has looked at once.
            "unauthorized" | "connection" | "dns" | "incorrectResponse" | "tls"
                if live.url.is_some() =>
            {
                vec![self.failed(now, live, "validation", detail, asked)]
            }
            "caa"
            | "rejectedIdentifier"
            | "externalAccountRequired"
            | "userActionRequired"
            | "unauthorized" => {
                let wait = Some(times::longer(OPERATOR, asked));
                vec![self.failed(now, live, "operator", detail, wait)]
            }
            _ if status == 404 => vec![self.failed(now, live, "order_lost", detail, asked)],
            _ => vec![self.failed(now, live, "refused", detail, asked)],
        }
    }

    /// Nobody answered, or only that something is wrong there.
    fn no_answer(
        &mut self,
        now: Now,
        subject: &Subject,
        live: &AcmeOrder,
        asked: Option<Duration>,
        detail: &str,
    ) -> Vec<Effect> {
        if let Some(asked) = asked.filter(|asked| *asked > times::PATIENCE) {
            return self.pause(now, live, asked, detail);
        }
        self.rest(now, subject, times::transient);
        let lane = self.lanes.entry(subject.clone()).or_default();
        lane.rest_until = lane.rest_until.max(asked.map(|asked| now.mono.plus(asked)));
        Vec::new()
    }

    /// The authority wants to hear nothing of an order for so long that the next leader must know.
    pub(super) fn pause(
        &mut self,
        now: Now,
        live: &AcmeOrder,
        asked: Duration,
        detail: &str,
    ) -> Vec<Effect> {
        let until = times::after(self.wall(now), times::longer(Duration::ZERO, Some(asked)));
        if until >= times::after(live.started_at, ORDER_LIMIT) {
            let detail = format!("the authority asks to wait until {until}: {detail}");
            return vec![self.failed(now, live, "timeout", detail, Some(asked))];
        }
        let (domain, order) = (live.domain.clone(), live.url.clone());
        let change = AcmeChange::Wait { domain, order, until };
        vec![self.propose(now, Subject::Domain(live.domain.clone()), change)]
    }

    fn account_lost(
        &mut self,
        now: Now,
        live: &AcmeOrder,
        detail: String,
        asked: Option<Duration>,
    ) -> Vec<Effect> {
        let (directory, contact) = (live.directory.clone(), live.contact.clone());
        let account = Subject::Account(directory.clone(), contact.clone());
        let known = self.state.acme_accounts.get(&(directory.clone(), contact.clone()));
        let url = known.map(|known| known.url.clone());
        let lost = url.map(|url| AcmeChange::AccountLost { directory, contact, url });
        let mut effects = vec![self.failed(now, live, "account_lost", detail, asked)];
        effects.extend(lost.map(|change| self.propose(now, account, change)));
        effects
    }

    /// The circuit breaker: nothing more of this account for a while.
    fn limited(
        &mut self,
        now: Now,
        live: &AcmeOrder,
        detail: String,
        asked: Option<Duration>,
    ) -> Vec<Effect> {
        let wait = Some(asked.unwrap_or(HOLD));
        let until = times::after(self.wall(now), times::longer(Duration::ZERO, wait));
        let (directory, contact) = (live.directory.clone(), live.contact.clone());
        let account = Subject::Account(directory.clone(), contact.clone());
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

    /// Whether an order may go on as far as its provider of DNS is concerned.
    pub(super) fn lacks_provider(&self, live: &AcmeOrder) -> Option<String> {
        let jaco_model::spec::Challenge::Dns(name) = &live.challenge else { return None };
        let is_needed =
            !matches!(live.state, OrderState::Validating | OrderState::Finalizing { .. });
        let is_unknown = is_needed && self.propagation(name).is_none();
        is_unknown.then(|| format!("no DNS provider is called {name}"))
    }
}
