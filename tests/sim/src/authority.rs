//! A certificate authority (RFC 8555): what it keeps of accounts and orders, whatever happens to
//! those who ask. Its ways are the world's; here is what it does with a request that arrives.

use jaco_ingress_core::acme::{Answer, Call, CallFailure};
use jaco_model::WallMs;
use jaco_model::spec::SecretText;

/// Its directory.
pub(crate) const DIRECTORY: &str = "https://ca.sim/directory";
/// Names that are ordered.
pub(crate) const DOMAINS: [&str; 3] = ["door.sim", "gate.sim", "hatch.sim"];
/// How long certificates live.
const LIFE: u64 = 90 * 86_400_000;

/// The authority.
#[derive(Debug, Default)]
pub(crate) struct Authority {
    n_accounts: u64,
    orders: Vec<Order>,
}

#[derive(Debug)]
struct Order {
    domain: String,
    /// The raft term of who asked for it.
    term: u64,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// Not proven yet.
    Pending,
    Ready,
    /// With the key that was certified.
    Valid(SecretText),
    Invalid,
}

/// A request that has arrived.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrived<'a> {
    pub(crate) call: &'a Call,
    /// The raft term in which it was sent.
    pub(crate) term: u64,
    /// Whether the node that the authority would look at answers the challenge.
    pub(crate) is_answered: bool,
    pub(crate) now: WallMs,
}

impl Authority {
    /// Carries out a request.
    ///
    /// # Errors
    /// A promise that is broken by it.
    pub(crate) fn serve(
        &mut self,
        arrived: Arrived<'_>,
    ) -> Result<Result<Answer, CallFailure>, String> {
        let Arrived { call, term, is_answered, now } = arrived;
        let found = match call {
            Call::Challenge { order, .. }
            | Call::Tell { order, .. }
            | Call::Poll { order, .. }
            | Call::Finalize { order, .. } => number(order).filter(|at| *at < self.orders.len()),
            _ => None,
        };
        let at = found.unwrap_or(usize::MAX);
        Ok(Ok(match call {
            Call::NewAccount { .. } => {
                self.n_accounts += 1;
                let url = format!("account/{}", self.n_accounts);
                Answer::Account { credentials: SecretText::new(url.clone()), url }
            }
            Call::NewOrder { domain, look, .. } => self.order(domain, term, *look)?,
            Call::NewKey => Answer::Key(SecretText::new(format!("key of {}", now.0))),
            Call::RenewalInfo { .. } => {
                Answer::Advice { id: None, window: None, explanation: None, retry_after: None }
            }
            Call::Preflight { .. } | Call::Propagated(_) => Answer::Proven,
            Call::Clock { .. } | Call::Publish(_) | Call::Unpublish(_) => Answer::Told,
            _ if found.is_none() => return Ok(Err(no_order())),
            Call::Challenge { order, .. } => self.challenge(at, order),
            Call::Tell { .. } => {
                if let Stage::Pending = self.orders[at].stage {
                    let stage = if is_answered { Stage::Ready } else { Stage::Invalid };
                    self.orders[at].stage = stage;
                }
                Answer::Told
            }
            Call::Poll { .. } => match self.orders[at].stage {
                Stage::Pending => waiting(),
                Stage::Ready | Stage::Valid(_) => Answer::Proven,
                Stage::Invalid => unproven(),
            },
            Call::Finalize { order, key, .. } => self.finalize(at, order, key, now)?,
        }))
    }

    /// The domain and the token that it would look for.
    pub(crate) fn token_of(&self, call: &Call) -> Option<(String, String)> {
        let Call::Tell { order, .. } = call else { return None };
        let known = self.orders.get(number(order)?)?;
        Some((known.domain.clone(), token(order)))
    }

    fn order(&mut self, domain: &str, term: u64, look: bool) -> Result<Answer, String> {
        let is_open = |order: &Order| {
            order.domain == domain && matches!(order.stage, Stage::Pending | Stage::Ready)
        };
        let open = self.orders.iter().position(is_open);
        if let Some(at) = open.filter(|_| look) {
            return Ok(Answer::Order { url: url(at) });
        }
        if self.orders.iter().any(|order| is_open(order) && order.term == term) {
            return Err(format!("the leader of term {term} makes a second order of {domain}"));
        }
        let order = Order { domain: domain.to_owned(), term, stage: Stage::Pending };
        self.orders.push(order);
        Ok(Answer::Order { url: url(self.orders.len() - 1) })
    }

    fn challenge(&self, at: usize, order: &str) -> Answer {
        match self.orders[at].stage {
            Stage::Pending => Answer::Challenge {
                url: format!("{order}/challenge"),
                token: token(order),
                key_authorisation: format!("{}.thumbprint", token(order)),
                record: None,
            },
            Stage::Ready | Stage::Valid(_) => Answer::Proven,
            Stage::Invalid => unproven(),
        }
    }

    fn finalize(
        &mut self,
        at: usize,
        order: &str,
        key: &SecretText,
        now: WallMs,
    ) -> Result<Answer, String> {
        let domain = self.orders[at].domain.clone();
        match &self.orders[at].stage {
            Stage::Pending => return Ok(waiting()),
            Stage::Invalid => return Ok(unproven()),
            Stage::Valid(first) if first != key => {
                return Err(format!("{order} of {domain} is finalized with a second key"));
            }
            Stage::Valid(_) => {}
            Stage::Ready => {
                let is_valid = |order: &Order| {
                    order.domain == domain && matches!(order.stage, Stage::Valid(_))
                };
                if self.orders.iter().any(is_valid) {
                    return Err(format!("{domain} gets a second certificate by {order}"));
                }
                self.orders[at].stage = Stage::Valid(key.clone());
            }
        }
        let chain = format!("chain of {order}");
        Ok(Answer::Certificate { chain, not_before: now, not_after: WallMs(now.0 + LIFE) })
    }
}

fn url(at: usize) -> String {
    format!("order/{at}")
}

fn number(order: &str) -> Option<usize> {
    order.strip_prefix("order/")?.parse().ok()
}

fn token(order: &str) -> String {
    format!("token-of-{}", order.replace('/', "-"))
}

fn waiting() -> Answer {
    Answer::Waiting { retry_after: None, detail: String::new() }
}

fn unproven() -> Answer {
    let detail = "the node that was looked at did not answer".to_owned();
    Answer::Invalid { kind: "unauthorized".to_owned(), detail }
}

fn no_order() -> CallFailure {
    let (kind, detail) = ("malformed".to_owned(), "there is no such order".to_owned());
    CallFailure::Problem { kind, detail, status: 404, retry_after: None }
}
