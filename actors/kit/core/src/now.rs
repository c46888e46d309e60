//! The two clocks of a core, as plain integers.

use std::time::Duration;

/// Monotonic time in milliseconds since an arbitrary start; never goes back within one process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(pub u64);

impl Mono {
    /// The time `after` from here; saturates at the end of time.
    pub fn plus(self, after: Duration) -> Mono {
        Mono(self.0.saturating_add(u64::try_from(after.as_millis()).unwrap_or(u64::MAX)))
    }

    /// How long ago `earlier` was; zero when it lies in the future.
    pub fn since(self, earlier: Mono) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// Wall-clock time in milliseconds since the Unix epoch, UTC.
///
/// Only for certificates, schedules and display: it can jump in both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wall(pub u64);

/// Both clocks, read once by the shell before each step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// For every delay, deadline and back-off.
    pub mono: Mono,
    /// For stamps that people or certificates read.
    pub wall: Wall,
}
