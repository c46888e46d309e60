//! Whether this process runs when it should. One that is woken late must not judge others: it was
//! stopped or starved itself, and answers to it may have been in time.

use crate::Settings;
use jaco_kit_core::Mono;
use std::time::Duration;

/// The recent lateness of the own timer.
#[derive(Debug, Default)]
pub(crate) struct Stall {
    worst: Option<(Duration, Mono)>,
    late: Option<Mono>,
}

impl Stall {
    /// Notes by how much a deadline was missed; `true` when that is too much.
    pub(crate) fn note(&mut self, now: Mono, deadline: Option<Mono>, settings: &Settings) -> bool {
        let late = deadline.map_or(Duration::ZERO, |deadline| now.since(deadline));
        if late > Duration::ZERO && late >= self.worst(now, settings) {
            self.worst = Some((late, now));
        }
        let too_late = late > settings.late_after;
        if too_late {
            self.late = Some(now);
        }
        too_late
    }

    /// Whether a deadline was missed recently.
    pub(crate) fn is_recent(&self, now: Mono, settings: &Settings) -> bool {
        self.late.is_some_and(|at| now.since(at) <= settings.impaired_for)
    }

    /// The largest recent lateness.
    pub(crate) fn worst(&self, now: Mono, settings: &Settings) -> Duration {
        let recent = self.worst.filter(|(_, at)| now.since(*at) <= settings.impaired_for);
        recent.map_or(Duration::ZERO, |(worst, _)| worst)
    }
}
