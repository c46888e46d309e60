//! Letting time pass where nothing can be waited for.

use std::time::Duration;

/// Waits for all of `time`. A park would not do: it ends early when a scope's thread has ended.
#[expect(clippy::disallowed_methods, reason = "a test watches real processes in real time")]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}
