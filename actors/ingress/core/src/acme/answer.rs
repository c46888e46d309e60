//! What an answer means for its subject.

use super::core::AcmeCore;
use super::effect::{Answer, Call, CallFailure, Effect};
use super::lanes::{Subject, Waiting};
use super::times;
use jaco_kit_core::{Now, OpId};
use jaco_model::command::AcmeChange;
use jaco_model::entity::{AcmeOrder, OrderState};
use jaco_model::spec::Challenge;
use std::time::Duration;

impl AcmeCore {
    /// The outcome of a call; one that nobody waits for is dropped.
    pub(super) fn answered(
        &mut self,
        now: Now,
        op: OpId,
        result: Result<Answer, CallFailure>,
    ) -> Vec<Effect> {
        let is_it = |waiting: &Option<Waiting>| *waiting == Some(Waiting::Call(op));
        let found = self.lanes.iter_mut().find(|(_, lane)| is_it(&lane.waiting));
        let Some((subject, lane)) = found else { return Vec::new() };
        lane.waiting = None;
        let subject = subject.clone();
        match (&subject, result) {
            (Subject::Domain(domain), Ok(answer)) => {
                self.domain_answer(now, &subject, domain, answer)
            }
            (Subject::Account(directory, contact), Ok(Answer::Account { url, credentials })) => {
                let (directory, contact) = (directory.clone(), contact.clone());
                let change = AcmeChange::Account { directory, contact, url, credentials };
                vec![self.propose(now, subject, change)]
            }
            (Subject::Clock(directory, contact), Ok(_)) => {
                let (directory, contact) = (directory.clone(), contact.clone());
                let change = AcmeChange::Clock { directory, contact, suspicion: None };
                vec![self.propose(now, subject, change)]
            }
            (Subject::Record(domain, token), Ok(_)) => {
                let (domain, token) = (domain.clone(), token.clone());
                vec![self.propose(now, subject, AcmeChange::RecordRemoved { domain, token })]
            }
            (Subject::Account(..) | Subject::Sweep, Ok(_)) => Vec::new(),
            (_, Err(failure)) => self.call_failed(now, &subject, failure),
        }
    }

    fn domain_answer(
        &mut self,
        now: Now,
        subject: &Subject,
        domain: &str,
        answer: Answer,
    ) -> Vec<Effect> {
        if let Answer::Advice { id, window, explanation, retry_after } = answer {
            let advice = self.advice(now, domain, id, window, explanation, retry_after);
            return advice.into_iter().collect();
        }
        let Some(live) = self.state.acme_orders.get(domain).cloned() else { return Vec::new() };
        if let Answer::Waiting { retry_after, detail } = answer {
            return self.waiting(now, subject, &live, retry_after, &detail);
        }
        if let Answer::Invalid { kind, detail } = answer {
            let class = match (kind.as_str(), &live.state) {
                (_, OrderState::Preflight) => "preflight",
                ("mismatch", _) => "order_lost",
                ("caa" | "rejectedIdentifier", _) => "operator",
                _ => "validation",
            };
            return vec![self.failed(now, &live, class, detail, None)];
        }
        if self.is_of_record(subject, &live, &answer) {
            return Vec::new();
        }
        let domain = domain.to_owned();
        let change = match (answer, live.url.clone()) {
            (Answer::Proven, None) => AcmeChange::Preflighted { domain },
            (Answer::Order { url }, None) => AcmeChange::Ordered { domain, url },
            (Answer::Challenge { url, token, key_authorisation, record }, Some(order)) => {
                let key_authorisation =
                    record.as_ref().map_or(key_authorisation, |_| String::new());
                AcmeChange::Challenge { domain, order, url, token, key_authorisation, record }
            }
            (Answer::Told, Some(order)) => AcmeChange::Validating { domain, order },
            (Answer::Proven, Some(_)) if live.state == OrderState::Validating => {
                return vec![self.ask(now, subject.clone(), Call::NewKey)];
            }
            (Answer::Proven, Some(order)) => AcmeChange::Validating { domain, order },
            (Answer::Key(key), Some(order)) => AcmeChange::Finalizing { domain, order, key },
            (Answer::Certificate { chain, not_before, not_after }, Some(order)) => {
                AcmeChange::Issued { domain, order, chain, not_before, not_after }
            }
            _ => return Vec::new(),
        };
        vec![self.propose(now, subject.clone(), change)]
    }

    /// Takes an answer about the record of a challenge that the authority was not told of yet.
    fn is_of_record(&mut self, subject: &Subject, live: &AcmeOrder, answer: &Answer) -> bool {
        let is_ready = live.state == OrderState::ChallengeReady;
        if !is_ready || live.challenge == Challenge::Http {
            return false;
        }
        let lane = self.lanes.entry(subject.clone()).or_default();
        match answer {
            Answer::Told if !lane.is_published => lane.is_published = true,
            Answer::Proven if !lane.is_visible => lane.is_visible = true,
            _ => return false,
        }
        (lane.misses, lane.rest_until) = (0, None);
        true
    }

    fn waiting(
        &mut self,
        now: Now,
        subject: &Subject,
        live: &AcmeOrder,
        asked: Option<Duration>,
        detail: &str,
    ) -> Vec<Effect> {
        if let (OrderState::ChallengeReady, Challenge::Dns(provider)) =
            (&live.state, &live.challenge)
        {
            let limit = self.propagation(provider).unwrap_or_default();
            let lane = self.lanes.entry(subject.clone()).or_default();
            let since = *lane.gate_since.get_or_insert(now.mono);
            if since.plus(limit) <= now.mono {
                let name = jaco_model::name::challenge_name(&live.domain);
                let limit = limit.as_secs();
                let detail =
                    format!("the record {name} is not to be seen {limit} s after: {detail}");
                return vec![self.failed(now, live, "dns", detail, None)];
            }
        }
        match asked {
            Some(asked) if asked > times::PATIENCE => self.pause(now, live, asked, detail),
            _ => {
                self.rest(now, subject, times::poll);
                let lane = self.lanes.entry(subject.clone()).or_default();
                let until = asked.map(|asked| now.mono.plus(asked));
                lane.rest_until = lane.rest_until.max(until);
                Vec::new()
            }
        }
    }
}
