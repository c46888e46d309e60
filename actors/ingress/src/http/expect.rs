//! `Expect: 100-continue` (RFC 9110, 10.1.1): the replica decides whether the body is wanted. Until
//! it has, nothing of it is read, and so the client is told nothing either: the parser says 100 as
//! soon as a body is read. An HTTP/2 client hears of no interim answer; its body stays unread alike.
//! Other interim answers of replicas end here.

use super::answer::Refusal;
use super::body::Fault;
use hyper::header::EXPECT;
use hyper::{Request, StatusCode, Version};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::time::Sleep;

/// The part of its time that a replica has over HTTP/2, where its 100 is not seen. It is enough to
/// say no by the header alone.
const UNSEEN: u32 = 10;

/// Whether the client waits to be asked for its body. What it says of it goes when it means nothing.
///
/// # Errors
/// 417 when it expects what nobody here can give.
pub(super) fn of<B>(request: &mut Request<B>, has_body: bool) -> Result<bool, Refusal> {
    let mut values = request.headers().get_all(EXPECT).iter().peekable();
    if values.peek().is_none() {
        return Ok(false);
    }
    let is_known = values.all(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    let is_old = request.version() < Version::HTTP_11;
    if !is_known && !is_old {
        return Err(Refusal::new(StatusCode::EXPECTATION_FAILED, "expectation"));
    }
    let waits = has_body && !is_old;
    if !waits {
        request.headers_mut().remove(EXPECT);
    }
    Ok(waits)
}

/// How long a replica may say nothing of a body. Many do not know of expectations, and wait for it.
pub(super) fn patience(longest: Duration, is_http2: bool) -> Duration {
    if is_http2 { longest / UNSEEN } else { longest }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// The replica has not said anything.
    #[default]
    Shut,
    /// The body is wanted, or nothing speaks against it.
    Open,
    /// There is an answer without it.
    Refused,
    /// That answer is through.
    Over,
}

/// What stands between a body and the replica that may not want it.
#[derive(Debug, Default)]
pub(super) struct Gate(Mutex<(State, Option<Waker>)>);

impl Gate {
    fn lock(&self) -> MutexGuard<'_, (State, Option<Waker>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turn(&self, from: State, to: State) -> bool {
        let mut inner = self.lock();
        let turns = inner.0 == from;
        if turns {
            inner.0 = to;
            if let Some(waker) = inner.1.take() {
                waker.wake();
            }
        }
        turns
    }

    /// The replica asks for the body.
    pub(super) fn open(&self) {
        self.turn(State::Shut, State::Open);
    }

    /// The replica has answered. When the body was never asked for it never will be; the connection
    /// that waits for it must go, as soon as the answer is through.
    pub(super) fn answered(self: Arc<Self>) -> Option<Unasked> {
        self.turn(State::Shut, State::Refused).then_some(Unasked(self))
    }
}

/// An answer to a request whose body was not asked for. Ends the connection with it.
#[derive(Debug)]
pub(super) struct Unasked(Arc<Gate>);

impl Drop for Unasked {
    fn drop(&mut self) {
        self.0.turn(State::Refused, State::Over);
    }
}

/// A body before the gate.
#[derive(Debug)]
pub(super) struct Hold {
    gate: Arc<Gate>,
    thinks: Duration,
    /// Runs from when the header has gone out.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Hold {
    /// Opens by itself when the replica has thought for so long.
    pub(super) fn new(gate: Arc<Gate>, thinks: Duration) -> Hold {
        Hold { gate, thinks, timer: None }
    }

    /// Ready when the body may go on.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        let state = {
            let mut inner = self.gate.lock();
            inner.1 = Some(cx.waker().clone());
            inner.0
        };
        match state {
            State::Open => return Poll::Ready(Ok(())),
            State::Over => return Poll::Ready(Err(Fault::Gone)),
            State::Refused => return Poll::Pending,
            State::Shut => {}
        }
        let thinks = self.thinks;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(thinks)));
        if timer.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.gate.open();
        Poll::Ready(Ok(()))
    }
}
