//! What a client's connection is doing, as its parts tell each other.

use super::crowd::{Place, Seat, Young};
use jaco_ingress_core::request::framing::Wrong;
use jaco_kit_core::Mono;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use tokio::sync::Notify;

/// What a connection is doing.
#[derive(Debug)]
pub(super) struct Pulse {
    /// Given back with the last that is left of the connection, which may be a tunnel.
    _held: (Place, Option<Seat>),
    /// Until the first request.
    young: Mutex<Option<Young>>,
    running: AtomicU32,
    begun: AtomicU64,
    is_tunnel: AtomicBool,
    wrong: AtomicU8,
    /// Waits for the answers before the one to what was wrong.
    waiter: Mutex<Option<Waker>>,
    /// When the last request ended, in milliseconds on the monotonic clock.
    last: AtomicU64,
    rests: AtomicBool,
    ended: Notify,
}

/// A running request; it counts until it is dropped.
#[derive(Debug)]
pub(super) struct Beat(Arc<Pulse>);

impl Pulse {
    pub(super) fn new(place: Place, seat: Option<Seat>, young: Option<Young>) -> Pulse {
        Pulse {
            _held: (place, seat),
            young: Mutex::new(young),
            running: AtomicU32::default(),
            begun: AtomicU64::default(),
            is_tunnel: AtomicBool::default(),
            wrong: AtomicU8::default(),
            waiter: Mutex::default(),
            last: AtomicU64::default(),
            rests: AtomicBool::default(),
            ended: Notify::new(),
        }
    }

    pub(super) fn begin(self: &Arc<Self>) -> Beat {
        self.running.fetch_add(1, Ordering::Relaxed);
        if self.begun.fetch_add(1, Ordering::Relaxed) == 0 {
            self.young.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
        Beat(self.clone())
    }

    /// A request is over.
    pub(super) fn is_over(&self, now: Mono) {
        self.last.store(now.0, Ordering::Relaxed);
    }

    /// When the last request ended.
    pub(super) fn last(&self) -> Mono {
        Mono(self.last.load(Ordering::Relaxed))
    }

    pub(super) fn running(&self) -> u32 {
        self.running.load(Ordering::Relaxed)
    }

    /// What comes from now on is no HTTP.
    pub(super) fn becomes_tunnel(&self) {
        self.is_tunnel.store(true, Ordering::Relaxed);
    }

    /// Why the client was stopped.
    pub(super) fn wrong(&self) -> Option<Wrong> {
        match self.wrong.load(Ordering::Relaxed) {
            0 => None,
            1 => Some(Wrong::Malformed),
            2 => Some(Wrong::LongTarget),
            _ => Some(Wrong::LongHeader),
        }
    }

    pub(super) fn stop(&self, wrong: Wrong) {
        let code = match wrong {
            Wrong::Malformed => 1,
            Wrong::LongTarget => 2,
            Wrong::LongHeader => 3,
        };
        self.wrong.store(code, Ordering::Relaxed);
    }

    /// Whether it speaks no HTTP any more.
    pub(super) fn is_tunnel(&self) -> bool {
        self.is_tunnel.load(Ordering::Relaxed)
    }

    /// Wakes this one when a request ends, as long as something is wrong.
    pub(super) fn wait(&self, waiter: &Waker) {
        *self.waiter.lock().unwrap_or_else(PoisonError::into_inner) = Some(waiter.clone());
    }

    /// The parser is to go.
    pub(super) fn may_rest(&self) {
        self.rests.store(true, Ordering::Relaxed);
    }

    /// Whether the client has been silent for so long that the parser is to go; told once.
    pub(super) fn takes_rest(&self) -> bool {
        self.rests.swap(false, Ordering::Relaxed)
    }

    /// The connection takes no more requests.
    pub(super) fn end(&self) {
        self.ended.notify_one();
    }

    /// Returns when the connection is to take no more requests.
    pub(super) async fn ended(&self) {
        self.ended.notified().await;
    }

    /// Requests so far.
    pub(super) fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }
}

impl Drop for Beat {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
        if self.0.wrong.load(Ordering::Relaxed) > 0 {
            let waiter = self.0.waiter.lock().unwrap_or_else(PoisonError::into_inner).take();
            waiter.into_iter().for_each(Waker::wake);
        }
    }
}
