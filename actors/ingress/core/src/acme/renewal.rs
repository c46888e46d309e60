//! Advice about renewals (RFC 9773): when it is asked for, and what is made of it.

use super::core::AcmeCore;
use super::effect::{Call, CallFailure, Effect};
use super::lanes::{Subject, Waiting};
use super::times;
use jaco_kit_core::{Now, mix};
use jaco_model::WallMs;
use jaco_model::command::AcmeChange;
use jaco_model::entity::{Certificate, IssuedCertificate, RenewalAdvice, RenewalWindow};
use std::time::Duration;

/// Most questions at a time.
const POLLS_MAX: usize = 4;
/// Between two questions where the authority does not say (RFC 9773 §4.3.2).
const POLL: Duration = Duration::from_secs(6 * 3600);
/// Never asked more often.
const POLL_LEAST: Duration = Duration::from_secs(60);
/// After a question that brought nothing.
const POLL_FAILED: Duration = Duration::from_secs(3600);
/// Where the authority gives no advice at all.
const POLL_NONE: Duration = Duration::from_secs(86_400);
/// Over how long renewals are spread whose window is over.
const SPREAD: u64 = 600_000;

/// What is known about the renewal of the certificate that is served.
pub(super) fn advice_of(known: &Certificate) -> Option<&RenewalAdvice> {
    let issued = known.issued.as_ref()?;
    known.ari.as_ref().filter(|advice| advice.of == issued.issued_at)
}

/// The instant at which a certificate is renewed whose authority suggests a window; `None` when the
/// window makes no sense.
fn choose(
    issued: &IssuedCertificate,
    (start, end): (WallMs, WallMs),
    now: WallMs,
    draw: u64,
) -> Option<WallMs> {
    let length = end.0.checked_sub(start.0).filter(|length| *length > 0)?;
    if end > now {
        return Some(WallMs(start.0 + draw % length));
    }
    // At once, but not all of them: a window in the past often is one of many.
    let left = issued.not_after.0.saturating_sub(now.0) / 20;
    Some(WallMs(now.0.saturating_add(draw % SPREAD.min(left).max(1))))
}

impl AcmeCore {
    /// Asks for advice about the certificates that are due for it.
    pub(super) fn poll_advice(&mut self, now: Now, wanted: &[String]) -> Vec<Effect> {
        let mut effects = Vec::new();
        let mut n_polls = self.n_polls();
        for domain in wanted {
            if self.state.acme_orders.contains_key(domain) {
                continue;
            }
            let Some(known) = self.state.certificates.get(domain).cloned() else { continue };
            let Some(issued) = &known.issued else { continue };
            let next = advice_of(&known).map_or(WallMs(0), |advice| advice.next_poll);
            if next > self.wall(now) {
                self.look_at_wall(now, next);
                continue;
            }
            let subject = Subject::Domain(domain.clone());
            if n_polls >= POLLS_MAX || self.is_suspect(&issued.directory) {
                continue;
            }
            if self.is_free(now, &subject) {
                let (directory, chain) = (issued.directory.clone(), issued.chain.clone());
                effects.push(self.ask(now, subject, Call::RenewalInfo { directory, chain }));
                n_polls += 1;
            }
        }
        effects
    }

    fn n_polls(&self) -> usize {
        let polls = self.lanes.iter().filter(|(subject, lane)| match subject {
            Subject::Domain(domain) => {
                matches!(lane.waiting, Some(Waiting::Call(_)))
                    && !self.state.acme_orders.contains_key(domain)
            }
            _ => false,
        });
        polls.count()
    }

    /// The step that keeps what the authority said.
    pub(super) fn advice(
        &mut self,
        now: Now,
        domain: &str,
        id: Option<String>,
        window: Option<(WallMs, WallMs)>,
        explanation: Option<String>,
        asked: Option<Duration>,
    ) -> Option<Effect> {
        let known = self.state.certificates.get(domain)?.clone();
        let issued = known.issued.as_ref()?;
        let before = advice_of(&known).and_then(|advice| advice.window.as_ref());
        let wall = self.wall(now);
        // The instant is drawn once: drawn anew at each question it would come too early.
        let kept = before.filter(|old| Some((old.start, old.end)) == window).cloned();
        let seed = mix::fnv(domain.bytes(), self.settings.seed);
        let made = || {
            let (start, end) = window?;
            let draw = mix::mix(seed ^ start.0.rotate_left(32) ^ end.0 ^ issued.issued_at.0);
            let chosen_at = choose(issued, (start, end), wall, draw)?;
            Some(RenewalWindow { start, end, chosen_at, explanation })
        };
        let wait = match (&id, asked) {
            (None, _) => POLL_NONE,
            (Some(_), asked) => times::longer(POLL_LEAST, Some(asked.unwrap_or(POLL))),
        };
        let advice = RenewalAdvice {
            of: issued.issued_at,
            id: id.unwrap_or_default(),
            window: kept.or_else(made),
            next_poll: times::after(wall, wait),
        };
        Some(self.advise(now, domain, advice))
    }

    /// The question brought nothing: what was known before stays.
    pub(super) fn no_advice(
        &mut self,
        now: Now,
        domain: &str,
        failure: &CallFailure,
    ) -> Option<Effect> {
        let known = self.state.certificates.get(domain)?.clone();
        let of = known.issued.as_ref()?.issued_at;
        let asked = match failure {
            CallFailure::Problem { retry_after, .. } => *retry_after,
            CallFailure::Transport { retry_after, .. } => *retry_after,
            CallFailure::Clock { .. } | CallFailure::Provider { .. } => None,
        };
        let next_poll = times::after(self.wall(now), times::longer(POLL_FAILED, asked));
        let before = advice_of(&known).cloned();
        let none = RenewalAdvice { of, id: String::new(), window: None, next_poll };
        let advice = RenewalAdvice { next_poll, ..before.unwrap_or(none) };
        Some(self.advise(now, domain, advice))
    }

    fn advise(&mut self, now: Now, domain: &str, advice: RenewalAdvice) -> Effect {
        let domain = domain.to_owned();
        let subject = Subject::Domain(domain.clone());
        self.propose(now, subject, AcmeChange::Advice { domain, advice })
    }
}
