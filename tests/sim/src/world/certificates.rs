//! The ways to the certificate authority and back: requests and answers are late, are lost and are
//! refused, and a daemon that has asked may have ended before the authority hears of it.

use super::World;
use crate::authority::Arrived;
use crate::clock::START;
use crate::event::{Event, Life};
use crate::host::Host;
use crate::phase::Phase;
use crate::queue::{MILLI, Micros, SECOND};
use jaco_ingress_core::acme::{Call, CallFailure, Input, is_skewed};
use jaco_kit_core::OpId;
use jaco_model::WallMs;
use jaco_state::State;
use jaco_wiring::Delivery;
use std::time::Duration;

/// A request on its way.
#[derive(Debug)]
pub(crate) struct Petition {
    op: OpId,
    /// Cluster time of who asks.
    at: WallMs,
    term: u64,
    call: Call,
    fate: Fate,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Fine,
    /// It does not arrive.
    Lost,
    /// It is carried out, and nobody hears of it.
    Unheard,
    /// 503.
    Busy,
    /// `badNonce`.
    Nonce,
    /// `rateLimited`.
    Limited,
}

impl World {
    /// A request of a daemon sets out.
    pub(crate) fn petition(&mut self, life: Life, op: OpId, at: WallMs, call: Call) {
        let fates = [Fate::Fine, Fate::Lost, Fate::Unheard, Fate::Busy, Fate::Nonce, Fate::Limited];
        let fate = match self.phase {
            Phase::Chaos => fates[self.random.weighted(&[70, 5, 10, 5, 8, 2])],
            _ => Fate::Fine,
        };
        let term = self.host(life.host).running().map_or(0, |p| p.raft.status().term);
        let delay = self.way();
        let petition = Petition { op, at, term, call, fate };
        self.after(delay, Event::Petition(life, Box::new(petition)));
    }

    /// A request arrives, whether or not who sent it still lives.
    pub(crate) fn petition_arrives(&mut self, life: Life, petition: Petition) {
        let Petition { op, at, term, call, fate } = petition;
        let now = WallMs(START + self.now / MILLI);
        let result = if is_skewed(at, now) {
            Err(CallFailure::Clock { authority: now })
        } else if let Some(failure) = refusal(fate) {
            Err(failure)
        } else {
            let is_answered = self.is_answered(&call);
            match self.authority.serve(Arrived { call: &call, term, is_answered, now }) {
                Err(what) => return self.violate(format!("certificates: {what}")),
                Ok(_) if fate == Fate::Unheard => Err(silence()),
                Ok(result) => result,
            }
        };
        let number = u64::from(result.is_ok());
        self.trace.note(self.now, &[13, life.host.number(), op.0, number], || {
            format!("{}   authority ({fate:?}): {call:?}: {result:?}", life.host)
        });
        let delay = match &result {
            Err(CallFailure::Transport { detail, .. }) if *detail == SILENCE => 10 * SECOND,
            _ => self.way(),
        };
        let input = Input::Answered { op, result };
        self.after(delay, Event::Tell(life, Box::new(Delivery::Acme(input))));
    }

    /// How long a request or an answer is on its way.
    fn way(&mut self) -> Micros {
        let is_slow = self.phase == Phase::Chaos && self.random.chance(400);
        self.random.between(MILLI, if is_slow { 4 * SECOND } else { 400 * MILLI })
    }

    /// Whether a node that the authority happens to reach answers its challenge.
    fn is_answered(&mut self, call: &Call) -> bool {
        let Some(key) = self.authority.token_of(call) else { return false };
        let shown = |host: &Host| Some((host.id, host.running()?.published.clone()?));
        let nodes: Vec<_> = self.hosts.iter().filter_map(shown).collect();
        let looked_at = self.random.pick(&nodes);
        looked_at.is_some_and(|(_, state)| state.challenge_tokens.contains_key(&key))
    }

    /// Once all is well there is a certificate of each domain, or a reason to wait for one.
    pub(crate) fn check_certificates(&self, state: &State) -> Result<(), String> {
        let mut standings = state.acme_standings.values();
        let is_off = standings.any(|known| known.failure.is_some() || known.clock.is_some());
        let held = state.acme_accounts.values().filter_map(|account| account.held_until);
        let waits = held.max().is_some_and(|until| until > state.cluster_time());
        for domain in jaco_state::acme_domains(state).keys() {
            let known = state.certificates.get(domain);
            let is_known = known.is_some_and(|one| one.issued.is_some() || one.failure.is_some());
            if !is_known && !waits && !is_off {
                return Err(format!("{domain} has no certificate: {:?}", state.acme_orders));
            }
        }
        Ok(())
    }
}

/// What a lost request looks like.
const SILENCE: &str = "no answer";

fn silence() -> CallFailure {
    CallFailure::Transport { detail: SILENCE.to_owned(), retry_after: None }
}

fn refusal(fate: Fate) -> Option<CallFailure> {
    let problem = |kind: &str, status, retry_after| CallFailure::Problem {
        kind: kind.to_owned(),
        detail: String::new(),
        status,
        retry_after,
    };
    match fate {
        Fate::Fine | Fate::Unheard => None,
        Fate::Lost => Some(silence()),
        Fate::Busy => Some(CallFailure::Transport { detail: "503".to_owned(), retry_after: None }),
        Fate::Nonce => Some(problem("badNonce", 400, None)),
        Fate::Limited => Some(problem("rateLimited", 429, Some(Duration::from_secs(5)))),
    }
}
