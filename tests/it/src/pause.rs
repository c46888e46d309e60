//! Letting time pass where nothing can be waited for.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Waits for all of `time`. A park would not do: it ends early when a scope's thread has ended.
#[expect(clippy::disallowed_methods, reason = "a test watches real processes in real time")]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Milliseconds since 1970, as watchers count them.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "a test watches real processes in real time")]
pub fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
