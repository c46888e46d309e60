//! Addresses that nobody has used for a while, and when to give them back.
//!
//! The state judges again by the stamp of the command. A timer is set for the block that was left
//! first; without such a block there is none.

use jaco_kit_core::{Mono, Now};
use jaco_model::WallMs;
use jaco_model::command::Step;
use jaco_state::State;
use std::time::Duration;

/// Pause after a proposal that may not have been due by the state's clock.
const PAUSE: Duration = Duration::from_secs(1);

/// The timer of idle blocks.
#[derive(Debug, Default)]
pub(crate) struct Releases {
    next: Option<Mono>,
    proposed: Option<Mono>,
}

impl Releases {
    /// When to look again.
    pub(crate) fn next(&self) -> Option<Mono> {
        self.next
    }

    /// Sets the timer for the first idle block of a state.
    pub(crate) fn look(&mut self, state: &State, now: Now) {
        let first = state.idle_blocks().next().map(|(due, ..)| {
            let wait = Duration::from_millis(due.0.saturating_sub(stamp(state, now).0));
            now.mono.plus(wait)
        });
        let earliest = self.proposed.map_or(Mono(0), |proposed| proposed.plus(PAUSE));
        self.next = first.map(|first| first.max(earliest));
    }

    /// The steps for blocks that are due, at most `room`.
    pub(crate) fn due(&mut self, state: &State, now: Now, room: usize) -> Vec<Step> {
        let is_early = self.next.is_none_or(|next| next > now.mono);
        if is_early {
            return Vec::new();
        }
        let at = stamp(state, now);
        let due = state.idle_blocks().take_while(|(due, ..)| *due <= at).take(room);
        let steps: Vec<Step> = due
            .map(|(_, scope, node)| Step::ReleaseBlock { scope: scope.clone(), node: node.clone() })
            .collect();
        if !steps.is_empty() {
            self.proposed = Some(now.mono);
        }
        self.look(state, now);
        steps
    }
}

/// The stamp that a command sent now would have.
pub(crate) fn stamp(state: &State, now: Now) -> WallMs {
    state.cluster_time().max(WallMs(now.wall.0))
}
