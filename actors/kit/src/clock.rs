//! The only place where the daemon reads a clock.

use jaco_kit_core::{Mono, Now, Wall};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Reads both clocks; copies share one start, so their monotonic times compare.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock whose monotonic time starts at zero now.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    #[expect(clippy::new_without_default, reason = "a default that reads a clock would surprise")]
    pub fn new() -> Clock {
        Clock { start: Instant::now() }
    }

    /// Both clocks, now.
    pub fn now(&self) -> Now {
        Now { mono: self.mono(), wall: self.wall() }
    }

    /// Monotonic milliseconds since this clock was made.
    pub fn mono(&self) -> Mono {
        Mono(millis(self.start.elapsed()))
    }

    /// Wall-clock milliseconds since the Unix epoch; zero for a clock set before 1970.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    pub fn wall(&self) -> Wall {
        Wall(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
