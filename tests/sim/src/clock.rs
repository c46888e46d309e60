//! The clocks of one host: a monotonic one that runs a little fast or slow and may stand still
//! while the machine sleeps, and a wall clock that jumps.

use crate::queue::Micros;
use jaco_kit_core::{Mono, Now, Wall};

/// 2026-01-01T00:00:00Z in milliseconds, when every run begins.
pub(crate) const START: u64 = 1_767_225_600_000;

/// Drift in millionths that means one second per second.
const MILLION: i128 = 1_000_000;

/// How one host sees the time.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    /// The monotonic clock at the begin, in milliseconds.
    base: u64,
    /// Millionths by which it runs fast; negative: slow.
    drift: i64,
    /// True time during which it stood still.
    slept: Micros,
    /// How far the wall clock is ahead, in milliseconds.
    wall_offset: i64,
}

impl Clock {
    pub(crate) fn new(base: u64, drift: i64, wall_offset: i64) -> Clock {
        Clock { base, drift, slept: 0, wall_offset }
    }

    pub(crate) fn now(&self, at: Micros) -> Now {
        let true_ms = at / 1_000;
        let wall = START.saturating_add(true_ms).saturating_add_signed(self.wall_offset);
        Now { mono: self.mono(at), wall: Wall(wall) }
    }

    fn mono(&self, at: Micros) -> Mono {
        let awake = i128::from(at.saturating_sub(self.slept));
        let ran = awake + awake * i128::from(self.drift) / MILLION;
        Mono(self.base.saturating_add(u64::try_from(ran / 1_000).unwrap_or(0)))
    }

    /// The first moment from `from` on at which the monotonic clock shows `mono`.
    pub(crate) fn when(&self, mono: Mono, from: Micros) -> Micros {
        let missing = i128::from(mono.0.saturating_sub(self.base)) * 1_000;
        let awake = missing * MILLION / (MILLION + i128::from(self.drift));
        let guess = u64::try_from(awake).unwrap_or(u64::MAX).saturating_add(self.slept);
        let mut at = guess.saturating_sub(2).max(from);
        while self.mono(at) < mono {
            at += 1;
        }
        at
    }

    /// The machine was suspended for so long.
    pub(crate) fn sleep(&mut self, time: Micros) {
        self.slept += time;
    }

    /// Somebody set the wall clock.
    pub(crate) fn set_wall(&mut self, offset: i64) {
        self.wall_offset = offset;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_reached_and_not_before() {
        for drift in [-10_000, -17, 0, 3, 10_000] {
            let mut clock = Clock::new(1_000_000, drift, 0);
            clock.sleep(123_457);
            for ms in [1, 99, 100, 1_234, 5_000_001] {
                let target = Mono(1_000_000 + ms);
                let at = clock.when(target, 0);
                assert!(clock.mono(at) >= target, "{drift} {ms}");
                assert!(clock.mono(at - 1) < target, "{drift} {ms}");
            }
        }
    }

    #[test]
    fn the_past_is_now() {
        let clock = Clock::new(1_000_000, 0, -5);
        assert_eq!(clock.when(Mono(0), 77), 77);
        assert_eq!(clock.now(2_000_000).wall, Wall(START + 1_995));
    }
}
