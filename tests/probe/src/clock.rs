//! The probe's only reads of the clock.
//!
//! The product's cores are handed their time; a workload has no such contract, but keeping the
//! calls here shows at a glance where it waits.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A point in the past to measure from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Since(Instant);

impl Since {
    #[expect(clippy::disallowed_methods, reason = "a workload measures real time")]
    pub(crate) fn now() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// Milliseconds since 1970: what several processes of one machine share.
#[expect(clippy::disallowed_methods, reason = "a workload measures real time")]
pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Blocks the calling thread; every connection has a thread of its own.
#[expect(
    clippy::disallowed_methods,
    reason = "each connection owns its thread, nothing else waits"
)]
pub(crate) fn sleep_ms(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}
