//! One other member: what waits for it, and when it was last heard.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use jaco_kit_core::Mono;
use jaco_model::NodeId;
use tokio::sync::{Notify, mpsc};
use tokio::task::AbortHandle;

use crate::tls::RosterEntry;
use crate::transport::calls::Calls;
use crate::transport::config::Limits;
use crate::transport::outbox::Outgoing;
use crate::transport::queue::Queue;
use crate::transport::shared::lock;

/// A member and the outgoing half of what is said with it. Another address or raft id makes
/// another `Peer`.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) node: NodeId,
    pub(super) raft_id: u64,
    pub(super) address: String,
    pub(super) queue: Queue,
    pub(super) calls: Calls,
    /// A snapshot is on its way.
    pub(super) sends_snapshot: AtomicBool,
    /// It was just heard from: no reason to wait before the next attempt to connect.
    pub(super) alive: Notify,
    /// When it was last heard, in milliseconds plus one; 0 for never.
    heard: AtomicU64,
    reported: Mutex<Option<Mono>>,
    tasks: Mutex<Tasks>,
}

#[derive(Debug, Default)]
struct Tasks {
    retired: bool,
    running: Vec<AbortHandle>,
}

impl Peer {
    /// A peer, and the requests that its task for calls has to send.
    pub(super) fn new(
        entry: &RosterEntry,
        limits: &Limits,
    ) -> (Peer, mpsc::UnboundedReceiver<Outgoing>) {
        let (calls, requests) = Calls::new(limits);
        let peer = Peer {
            node: entry.node.clone(),
            raft_id: entry.raft_id,
            address: entry.address.clone(),
            queue: Queue::new(limits.queue_messages, limits.queue_bytes),
            calls,
            sends_snapshot: AtomicBool::new(false),
            alive: Notify::new(),
            heard: AtomicU64::new(0),
            reported: Mutex::default(),
            tasks: Mutex::default(),
        };
        (peer, requests)
    }

    pub(super) fn is_of(&self, entry: &RosterEntry) -> bool {
        self.raft_id == entry.raft_id && self.address == entry.address
    }

    /// Makes a task end when the peer does.
    pub(super) fn own(&self, task: AbortHandle) {
        let mut tasks = lock(&self.tasks);
        if tasks.retired {
            task.abort();
            return;
        }
        tasks.running.retain(|running| !running.is_finished());
        tasks.running.push(task);
    }

    /// Ends all tasks and connections, and all calls.
    pub(super) fn retire(&self) {
        let mut tasks = lock(&self.tasks);
        tasks.retired = true;
        for task in tasks.running.drain(..) {
            task.abort();
        }
        drop(tasks);
        self.calls.close();
    }

    /// Notes a sign of life.
    pub(super) fn heard(&self, now: Mono) {
        self.heard.store(now.0.saturating_add(1), Ordering::Relaxed);
    }

    /// How long ago the last sign of life was.
    pub(super) fn silence(&self, now: Mono) -> Option<Duration> {
        let heard = self.heard.load(Ordering::Relaxed).checked_sub(1)?;
        Some(Duration::from_millis(now.0.saturating_sub(heard)))
    }

    /// Whether the last report that it cannot be reached is `interval` ago; counts as a report.
    pub(super) fn may_report(&self, now: Mono, interval: Duration) -> bool {
        let mut reported = lock(&self.reported);
        let interval = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
        let due = reported.is_none_or(|last| now.0.saturating_sub(last.0) >= interval);
        if due {
            *reported = Some(now);
        }
        due
    }
}
