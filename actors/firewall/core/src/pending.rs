//! Changes that wait for more of their kind.

use jaco_kit_core::Mono;
use std::time::Duration;

/// Since when something has changed and was not looked at.
#[derive(Debug, Default)]
pub(crate) struct Pending(Option<Waiting>);

#[derive(Debug)]
struct Waiting {
    first: Mono,
    last: Mono,
}

impl Pending {
    /// Something has changed.
    pub(crate) fn note(&mut self, now: Mono) {
        match &mut self.0 {
            Some(waiting) => waiting.last = now,
            None => self.0 = Some(Waiting { first: now, last: now }),
        }
    }

    /// When it is looked at: a while after the last change, and not too long after the first.
    pub(crate) fn due(&self, after: Duration, limit: Duration) -> Option<Mono> {
        let waiting = self.0.as_ref()?;
        Some(waiting.last.plus(after).min(waiting.first.plus(limit)))
    }

    /// It is being looked at.
    pub(crate) fn clear(&mut self) {
        self.0 = None;
    }
}
