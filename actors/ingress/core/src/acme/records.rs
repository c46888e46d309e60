//! Records of DNS-01: published and seen everywhere before the authority looks, removed after.

use super::core::AcmeCore;
use super::effect::{Call, Effect, Record};
use super::lanes::Subject;
use jaco_kit_core::Now;
use jaco_model::entity::{AcmeOrder, ChallengeToken};
use jaco_model::name::challenge_name;
use jaco_state::own_provider;
use std::time::Duration;

impl AcmeCore {
    /// The next call about the record of a challenge; `None` when the authority may look.
    pub(super) fn record_call(&self, subject: &Subject, live: &AcmeOrder) -> Option<Call> {
        let key = (live.domain.clone(), live.token.clone().unwrap_or_default());
        let record = self.record(self.state.challenge_tokens.get(&key)?)?;
        let lane = self.lanes.get(subject);
        match lane.map(|lane| (lane.is_published, lane.is_visible)) {
            Some((true, true)) => None,
            Some((true, false)) => Some(Call::Propagated(record)),
            _ => Some(Call::Publish(record)),
        }
    }

    /// Whether the record is being removed for an order before: a token may come back.
    pub(super) fn is_being_removed(&self, live: &AcmeOrder) -> bool {
        let token = live.token.clone().unwrap_or_default();
        let lane = self.lanes.get(&Subject::Record(live.domain.clone(), token));
        lane.is_some_and(|lane| lane.waiting.is_some())
    }

    /// Removes the records of orders that have ended.
    pub(super) fn remove_records(&mut self, now: Now) -> Vec<Effect> {
        let tokens: Vec<_> = self.state.challenge_tokens.values().cloned().collect();
        let ended = tokens.into_iter().filter(|token| token.expires_at.is_some());
        let mut effects = Vec::new();
        for token in ended {
            let Some(record) = self.record(&token) else { continue };
            // What is not known now may be known to the next configuration.
            if self.propagation(&record.provider).is_none() {
                continue;
            }
            let subject = Subject::Record(token.domain.clone(), token.token.clone());
            if self.is_free(now, &subject) {
                effects.push(self.ask(now, subject, Call::Unpublish(record)));
            }
        }
        effects
    }

    /// How long a record of a provider is waited for; `None` when nobody knows the provider.
    pub(super) fn propagation(&self, provider: &str) -> Option<Duration> {
        let own = own_provider(&self.state, provider).map(|(own, _)| own.propagation.std());
        own.or_else(|| self.settings.providers.get(provider).copied())
    }

    fn record(&self, token: &ChallengeToken) -> Option<Record> {
        let record = token.record.as_ref()?;
        let own = own_provider(&self.state, &record.provider);
        Some(Record {
            provider: record.provider.clone(),
            own: own.map(|(provider, secret)| Box::new((provider.clone(), secret.cloned()))),
            name: challenge_name(&token.domain),
            value: record.value.clone(),
        })
    }
}
