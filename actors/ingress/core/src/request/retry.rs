//! Whether a request is sent once more (RFC 9110, 9.2.1 and 9.2.2).

use super::budget::Budget;
use jaco_kit_core::Mono;
use jaco_model::spec::LoadBalancing;

/// How a try ended without an answer for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tried {
    /// No byte reached an application.
    Unsent,
    /// Nobody knows what became of it.
    Lost,
    /// It was answered with this status.
    Answered(u16),
}

/// The tries of one request.
#[derive(Clone, Copy, Debug)]
pub struct Retries {
    began: Mono,
    is_safe: bool,
    tries: u32,
}

impl Retries {
    /// A request that begins now. `is_safe` when a second one does no harm and costs nothing: a
    /// safe method without a body.
    pub fn new(is_safe: bool, now: Mono) -> Retries {
        Retries { began: now, is_safe, tries: 0 }
    }

    /// Whether an answer with this status may be given up for another try.
    pub fn wants(&self, lb: &LoadBalancing, status: u16) -> bool {
        self.is_safe && lb.retry_on.contains(&status)
    }

    /// Whether there is another try after one that ended so. A try is counted, and taken from the
    /// route's budget when the one before may have reached an application.
    pub fn again(&mut self, lb: &LoadBalancing, tried: Tried, budget: &Budget, now: Mono) -> bool {
        let may = match tried {
            Tried::Unsent => true,
            Tried::Lost => self.is_safe,
            Tried::Answered(status) => self.wants(lb, status),
        };
        let is_early = now.since(self.began) < lb.retry_for.std();
        if !may || !is_early || self.tries >= u32::from(lb.retries) {
            return false;
        }
        self.tries += 1;
        // What reached nobody is no load for anybody, and a dead replica would use a budget up.
        tried == Tried::Unsent || budget.retry(now)
    }
}
