//! How often a node went down, and how long its return is held back for it.

use crate::Settings;
use jaco_kit_core::Mono;
use std::collections::VecDeque;

/// The recent downs of one node.
///
/// Every member notes them from the replicated state, so the next leader knows them too; a member
/// that starts has seen none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flaps {
    downs: VecDeque<Mono>,
    /// Times in a row that it was held back.
    level: u32,
    returned: Option<Mono>,
    held_until: Option<Mono>,
}

impl Flaps {
    /// Notes that the node was declared down.
    pub(crate) fn went_down(&mut self, now: Mono, settings: &Settings) {
        let recent = |at: Mono| now.since(at) <= settings.flap_window;
        self.downs.retain(|at| recent(*at));
        // More than these are not needed to know that there are too many.
        self.downs.truncate(settings.flaps_max);
        self.downs.push_front(now);
        // While a node is held back it cannot fall, so its downs become rare by that alone.
        let again = self.level > 0 && self.returned.is_some_and(recent);
        self.level = match again || self.downs.len() > settings.flaps_max {
            true => self.level.saturating_add(1),
            false => 0,
        };
        self.held_until = self.level.checked_sub(1).map(|doublings| {
            let factor = 2_u32.saturating_pow(doublings.min(31));
            now.plus(settings.hold_first.saturating_mul(factor).min(settings.hold_limit))
        });
    }

    /// Notes that the node was declared up.
    pub(crate) fn came_back(&mut self, now: Mono) {
        self.returned = Some(now);
    }

    /// Whether the node may not return yet.
    pub(crate) fn is_held(&self, now: Mono) -> bool {
        self.held_until.is_some_and(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goes down and returns as soon as it may, `times` times; how long each hold was, in seconds.
    fn holds(times: usize, gap: u64) -> Vec<u64> {
        let settings = Settings::default();
        let mut flaps = Flaps::default();
        let mut now = 0;
        let mut holds = Vec::new();
        for _ in 0..times {
            flaps.went_down(Mono(now), &settings);
            let down = now;
            while flaps.is_held(Mono(now)) {
                now += 1_000;
            }
            holds.push((now - down) / 1_000);
            flaps.came_back(Mono(now + 15_000));
            now += 15_000 + gap;
        }
        holds
    }

    #[test]
    fn from_the_fourth_down_on_holds_double_up_to_the_limit() {
        assert_eq!(holds(10, 10_000), [0, 0, 0, 60, 120, 240, 480, 960, 1_800, 1_800]);
    }

    #[test]
    fn rare_downs_are_not_held_against_a_node() {
        assert_eq!(holds(8, 300_000), [0; 8]);
    }

    #[test]
    fn ten_good_minutes_forgive() {
        let settings = Settings::default();
        let mut flaps = Flaps::default();
        for at in 0..4 {
            flaps.went_down(Mono(at * 1_000), &settings);
        }
        flaps.came_back(Mono(70_000));
        assert!(!flaps.is_held(Mono(70_000)));
        flaps.went_down(Mono(671_000), &settings);
        assert!(!flaps.is_held(Mono(671_000)));
    }
}
