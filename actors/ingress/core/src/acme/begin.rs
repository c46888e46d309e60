//! Which domains an order is begun for, and when.

use super::core::AcmeCore;
use super::effect::Effect;
use super::input::Settings;
use super::lanes::Subject;
use super::renewal::advice_of;
use super::times;
use jaco_kit_core::Now;
use jaco_model::WallMs;
use jaco_model::command::AcmeChange;
use jaco_model::entity::{CaKind, Certificate};
use jaco_state::{AcmeWish, order_allowed_at};

/// Most orders at a time.
const LIVE_MAX: usize = 10;

/// An order that may be begun.
struct Candidate {
    contact: String,
    directory: String,
    kind: CaKind,
    replaces: Option<String>,
    /// The domain has no certificate yet.
    is_new: bool,
}

impl AcmeCore {
    /// Begins orders for domains, in their order, which spreads them evenly.
    pub(super) fn begin(&mut self, now: Now, wanted: Vec<(String, AcmeWish)>) -> Vec<Effect> {
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
            let Some(candidate) = self.candidate(now, &domain, &wish) else { continue };
            match self.account(now, &candidate.directory, &candidate.contact) {
                Err(effect) => effects.extend(effect.map(|effect| *effect)),
                Ok(_) => {
                    let begin = AcmeChange::Begin {
                        domain,
                        directory: candidate.directory,
                        contact: candidate.contact,
                        kind: candidate.kind,
                        challenge: wish.challenge,
                        counted: candidate.replaces.is_none(),
                        replaces: candidate.replaces,
                        preflight: candidate.is_new,
                    };
                    effects.push(self.propose(now, subject, begin));
                    n_live += 1;
                }
            }
        }
        effects
    }

    fn n_beginning(&self) -> usize {
        let begins = |change| matches!(change, Some(&AcmeChange::Begin { .. }));
        self.lanes.values().filter(|lane| begins(lane.change())).count()
    }

    /// The order that a domain needs now, if any.
    fn candidate(&mut self, now: Now, domain: &str, wish: &AcmeWish) -> Option<Candidate> {
        let wall = self.wall(now);
        let known = self.state.certificates.get(domain).cloned();
        let known = known.as_deref();
        let contact = match wish.contact.is_empty() {
            true => self.settings.contact.clone(),
            false => wish.contact.clone(),
        };
        let has_one = known.is_some_and(|known| known.issued.is_some());
        let is_staged = known.is_some_and(|known| known.staged_at.is_some());
        let (directory, kind) = self.authority(has_one || is_staged);
        if self.is_suspect(&directory) || self.is_being_held(&directory, &contact) {
            return None;
        }
        let replaces = known.and_then(|known| replaced(known, &directory));
        let account = (directory.clone(), contact.clone());
        let held = self.state.acme_accounts.get(&account).and_then(|account| account.held_until);
        let retry = known.and_then(|known| known.failure.as_ref()).map(|f| f.retry_at);
        let due = match known {
            Some(known) if has_one => Some(self.due(now, known)?),
            _ => None,
        };
        let allowed =
            replaces.is_none().then(|| order_allowed_at(&self.state, &account, domain, kind, wall));
        let at = [due, retry, held, allowed].into_iter().flatten().max();
        if let Some(at) = at.filter(|at| *at > wall) {
            self.look_at_wall(now, at);
            return None;
        }
        Some(Candidate { contact, directory, kind, replaces, is_new: !has_one })
    }

    /// When a certificate is renewed; `None` before the authority was asked for its advice.
    fn due(&mut self, now: Now, known: &Certificate) -> Option<WallMs> {
        let issued = known.issued.as_ref()?;
        let last = times::last_renewal(issued);
        let Some(advice) = advice_of(known) else {
            if last > self.wall(now) {
                self.look_at_wall(now, last);
                return None;
            }
            return Some(last);
        };
        let draw = times::hash(&known.domain, self.settings.seed) >> 8;
        let own = || times::renew_at(issued, draw);
        let first = times::first_renewal(issued);
        let advised = |at: WallMs| at.max(first).min(last);
        Some(advice.window.as_ref().map_or_else(own, |window| advised(window.chosen_at)))
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

/// The certificate that the next order at an authority replaces. After an order was lost there is
/// nothing to rely on.
fn replaced(known: &Certificate, directory: &str) -> Option<String> {
    let issued = known.issued.as_ref()?;
    let is_lost = known.failure.as_ref().is_some_and(|failure| failure.class == "order_lost");
    let id = &advice_of(known)?.id;
    let is_replaced = issued.directory == directory && !is_lost && !id.is_empty();
    is_replaced.then(|| id.clone())
}
