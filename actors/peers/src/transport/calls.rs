//! Calls and streams that this member has open towards one peer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jaco_wire::peer::{FRAME_MAX, Frame, Method, Outcome, Request, STREAM_WINDOW};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use crate::transport::config::Limits;
use crate::transport::outbox::{Outbox, Outgoing};
use crate::transport::peer::Peer;
use crate::transport::shared::lock;

/// The envelope of a payload never has more bytes.
const ENVELOPE: usize = 64;

/// Why a call or a stream has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The node is not a member or cannot be reached. The call was not sent.
    #[error("the node cannot be reached")]
    Unreachable,
    /// No answer in time. Whether the call took effect is not known.
    #[error("the node did not answer in time")]
    Timeout,
    /// The node refused, and said why.
    #[error("the node refused: {0}")]
    Refused(String),
    /// Too many calls are open, here or there.
    #[error("too many calls are open")]
    TooMany,
    /// The connection ended before the answer. Whether the call took effect is not known.
    #[error("the connection ended before the answer")]
    Closed,
}

/// What a caller gets.
pub(super) type Answer = Result<Vec<u8>, CallError>;

/// Who waits for what a peer answers.
#[derive(Debug)]
enum Waiter {
    Call(oneshot::Sender<Answer>),
    Stream(mpsc::Sender<Answer>),
}

#[derive(Debug)]
struct Open {
    waiter: Waiter,
    /// The request was handed to the connection.
    sent: bool,
    _slot: OwnedSemaphorePermit,
}

/// Whether a request has a chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// Connected, connecting, or ready to connect.
    Usable,
    /// The last attempt failed and the next has to wait.
    Resting,
    /// The peer is no longer a member.
    Gone,
}

#[derive(Debug)]
struct State {
    link: Link,
    next_id: u64,
    open: BTreeMap<u64, Open>,
}

/// The open calls and the way to the task that sends them.
#[derive(Debug)]
pub(super) struct Calls {
    state: Mutex<State>,
    slots: Arc<Semaphore>,
    outbox: Outbox,
}

impl Calls {
    pub(super) fn new(limits: &Limits) -> (Calls, mpsc::UnboundedReceiver<Outgoing>) {
        let (outbox, requests) = Outbox::new(limits.call_bytes);
        let state = State { link: Link::Usable, next_id: 1, open: BTreeMap::new() };
        let slots = Arc::new(Semaphore::new(limits.calls));
        (Calls { state: Mutex::new(state), slots, outbox }, requests)
    }

    fn begin(
        &self,
        waiter: Waiter,
        method: Method,
        payload: Vec<u8>,
        timeout_ms: u64,
    ) -> Result<u64, CallError> {
        if payload.len() > FRAME_MAX - ENVELOPE {
            return Err(CallError::Refused("the payload is too large".into()));
        }
        let mut state = lock(&self.state);
        if state.link != Link::Usable {
            return Err(CallError::Unreachable);
        }
        let slot = self.slots.clone().try_acquire_owned().map_err(|_| CallError::TooMany)?;
        let id = state.next_id;
        state.next_id += 1;
        let request = Request { id, method: method.number(), payload, timeout_ms };
        let frame = match &waiter {
            Waiter::Call(_) => Frame::Call(request),
            Waiter::Stream(_) => Frame::OpenStream(request),
        };
        if !self.outbox.try_push(frame) {
            return Err(CallError::TooMany);
        }
        state.open.insert(id, Open { waiter, sent: false, _slot: slot });
        Ok(id)
    }

    /// Whether a request is still wanted; if so, it counts as sent.
    pub(super) fn mark_sent(&self, id: u64) -> bool {
        lock(&self.state).open.get_mut(&id).map(|open| open.sent = true).is_some()
    }

    /// Hands an answer, or the end of a stream, to whoever waits.
    pub(super) fn answered(&self, id: u64, outcome: Outcome) {
        let Some(open) = lock(&self.state).open.remove(&id) else { return };
        let is_stream = matches!(open.waiter, Waiter::Stream(_));
        open.waiter.end(match outcome {
            Outcome::Done(_) if is_stream => return,
            Outcome::Done(payload) => Ok(payload),
            Outcome::Refused(reason) => Err(CallError::Refused(reason)),
            Outcome::TooMany => Err(CallError::TooMany),
            Outcome::UnknownMethod => Err(CallError::Refused("unknown method".into())),
        });
    }

    /// Hands an item to the reader of a stream. `false` if it was sent without credit.
    pub(super) fn item(&self, id: u64, payload: Vec<u8>) -> bool {
        let state = lock(&self.state);
        match state.open.get(&id).map(|open| &open.waiter) {
            Some(Waiter::Stream(items)) => {
                let window_left = items.capacity() > 1;
                // A reader that has gone says so itself, by a cancellation.
                window_left
                    && !matches!(
                        items.try_send(Ok(payload)),
                        Err(mpsc::error::TrySendError::Full(_))
                    )
            }
            Some(Waiter::Call(_)) => false,
            None => true,
        }
    }

    /// Ends everything that is open, since the connection failed, and sets what follows.
    pub(super) fn fail_all(&self, link: Link) {
        let mut state = lock(&self.state);
        if state.link != Link::Gone {
            state.link = link;
        }
        let open = std::mem::take(&mut state.open);
        drop(state);
        for open in open.into_values() {
            let why = if open.sent { CallError::Closed } else { CallError::Unreachable };
            open.waiter.end(Err(why));
        }
    }

    /// Requests have a chance again.
    pub(super) fn set_usable(&self) {
        let mut state = lock(&self.state);
        if state.link == Link::Resting {
            state.link = Link::Usable;
        }
    }

    /// Ends everything for good.
    pub(super) fn close(&self) {
        self.fail_all(Link::Gone);
    }

    /// Forgets a request that nobody waits for any more, and tells the peer.
    fn abandon(&self, id: u64) {
        let open = lock(&self.state).open.remove(&id);
        if open.is_some_and(|open| open.sent) {
            self.outbox.push_small(Frame::Cancel { id });
        }
    }

    pub(super) fn grant(&self, id: u64, items: u32) {
        if lock(&self.state).open.contains_key(&id) {
            self.outbox.push_small(Frame::Credit { id, items });
        }
    }
}

impl Waiter {
    /// Says the last word. A waiter that has gone does not hear it.
    fn end(self, answer: Answer) {
        match self {
            Waiter::Call(answered) => drop(answered.send(answer)),
            Waiter::Stream(items) => drop(items.try_send(answer)),
        }
    }
}

/// A request in progress; ends with it.
#[derive(Debug)]
pub(super) struct InProgress {
    peer: Arc<Peer>,
    id: u64,
}

impl InProgress {
    pub(super) fn grant(&self, items: u32) {
        self.peer.calls.grant(self.id, items);
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        self.peer.calls.abandon(self.id);
    }
}

/// Calls and waits for the answer.
pub(super) async fn call(
    peer: Arc<Peer>,
    method: Method,
    payload: Vec<u8>,
    patience: Duration,
) -> Answer {
    let (answered, answer) = oneshot::channel();
    let ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
    let id = peer.calls.begin(Waiter::Call(answered), method, payload, ms)?;
    let _in_progress = InProgress { peer, id };
    match timeout(patience, answer).await {
        Ok(answer) => answer.unwrap_or(Err(CallError::Closed)),
        Err(_) => Err(CallError::Timeout),
    }
}

/// A stream that was asked for.
#[derive(Debug)]
pub(super) struct Opened {
    /// Its items; an error is the last.
    pub(super) items: mpsc::Receiver<Answer>,
    pub(super) in_progress: InProgress,
}

/// Asks for a stream.
pub(super) fn open_stream(
    peer: Arc<Peer>,
    method: Method,
    payload: Vec<u8>,
) -> Result<Opened, CallError> {
    // One place more than the window, for the last word.
    let window = usize::try_from(STREAM_WINDOW).unwrap_or(1);
    let (sender, items) = mpsc::channel(window + 1);
    let id = peer.calls.begin(Waiter::Stream(sender), method, payload, 0)?;
    Ok(Opened { items, in_progress: InProgress { peer, id } })
}
