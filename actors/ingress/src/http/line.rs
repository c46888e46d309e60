//! Requests that wait until one of a service's replicas has room.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::Instant;

/// Requests that wait at once.
const LENGTH: u32 = 100;
/// Longest wait of each.
const PATIENCE: Duration = Duration::from_secs(1);

/// The line before one port of a service, of all threads of this node.
#[derive(Debug, Default)]
pub(super) struct Line {
    waiting: AtomicU32,
    moved: Notify,
}

/// A place in it.
#[derive(Debug)]
pub(super) struct Place {
    line: Arc<Line>,
    pub(super) until: Instant,
}

impl Line {
    /// `None` when it is full.
    pub(super) fn enter(self: &Arc<Self>) -> Option<Place> {
        let entered =
            self.waiting.fetch_update(Relaxed, Relaxed, |n| (n < LENGTH).then_some(n + 1));
        let line = entered.ok().map(|_| self.clone())?;
        Some(Place { line, until: Instant::now() + PATIENCE })
    }

    /// Ends when it is one's turn to look again.
    pub(super) fn room(&self) -> Notified<'_> {
        self.moved.notified()
    }

    /// A request has ended: the first in the line may look.
    pub(super) fn move_up(&self) {
        if self.waiting.load(Relaxed) > 0 {
            self.moved.notify_one();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.line.waiting.fetch_sub(1, Relaxed);
    }
}
