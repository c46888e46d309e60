//! Clocks that disagree: an authority that lives in another time is not asked for anything, since
//! certificates would be judged wrongly and asked for over and over.

use super::core::AcmeCore;
use super::effect::{Call, Effect};
use super::lanes::Subject;
use super::times;
use jaco_kit_core::Now;
use jaco_model::WallMs;
use jaco_model::command::AcmeChange;
use std::time::Duration;

/// Largest difference that is taken for slow answers and small drift.
const MOST: u64 = 600_000;
/// Between two looks at a clock that was wrong.
const LOOK_AGAIN: Duration = Duration::from_secs(600);

/// Whether an authority's clock differs too much from cluster time.
pub fn is_skewed(cluster: WallMs, authority: WallMs) -> bool {
    cluster.0.abs_diff(authority.0) > MOST
}

impl AcmeCore {
    /// Whether nothing may be asked of an authority because of its clock, or ours.
    pub(super) fn is_suspect(&self, directory: &str) -> bool {
        let mut standings = self.state.acme_standings.values();
        let mut lanes = self.lanes.iter();
        standings.any(|standing| standing.directory == directory && standing.clock.is_some())
            || lanes.any(|(subject, lane)| {
                let change = lane.change();
                matches!(subject, Subject::Clock(at, _) if at == directory)
                    && matches!(change, Some(AcmeChange::Clock { suspicion: Some(_), .. }))
            })
    }

    /// Looks again at the clocks that were wrong.
    pub(super) fn look_at_clocks(&mut self, now: Now) -> Vec<Effect> {
        let known: Vec<_> = self.state.acme_standings.values().cloned().collect();
        let mut effects = Vec::new();
        for standing in known {
            let Some(suspicion) = standing.clock else { continue };
            let at = times::after(suspicion.cluster, LOOK_AGAIN);
            if at > self.wall(now) {
                self.look_at_wall(now, at);
                continue;
            }
            let directory = standing.directory.clone();
            let subject = Subject::Clock(directory.clone(), standing.contact.clone());
            if self.is_free(now, &subject) {
                effects.push(self.ask(now, subject, Call::Clock { directory }));
            }
        }
        effects
    }
}
