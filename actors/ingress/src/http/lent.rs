//! A client's body that is lent to a connection of HTTP/2, and comes back when the replica took
//! nothing of it: the request may be tried at another one then, whatever its method.

use super::body::{Body, Fault};
use super::expect::{Gate, Hold};
use bytes::Bytes;
use hyper::body::{Body as _, Frame, SizeHint};
use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// The owner's side of a body that is lent.
pub(super) struct Loan {
    body: Rc<RefCell<Option<Body>>>,
    gate: Option<Arc<Gate>>,
}

impl Loan {
    /// `thinks` when the client waits to be asked for the body: for how long the replica may think
    /// about that.
    pub(super) fn new(body: Body, thinks: Option<Duration>) -> (Loan, Lent) {
        let body = Rc::new(RefCell::new(Some(body)));
        let gate = thinks.map(|_| Arc::<Gate>::default());
        let hold = gate.clone().zip(thinks).map(|(gate, thinks)| Hold::new(gate, thinks));
        (Loan { body: body.clone(), gate }, Lent { body, hold })
    }

    /// The body again. The other side has none from here.
    pub(super) fn take_back(&self) -> Option<Body> {
        self.body.borrow_mut().take()
    }

    /// What the body stands before, if the client waits to be asked for it.
    pub(super) fn gate(&self) -> Option<Arc<Gate>> {
        self.gate.clone()
    }
}

/// The side of the one who sends it.
pub(super) struct Lent {
    body: Rc<RefCell<Option<Body>>>,
    hold: Option<Hold>,
}

impl Lent {
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        if let Some(hold) = &mut self.hold {
            match ready!(hold.poll(cx)) {
                Ok(()) => self.hold = None,
                Err(fault) => return Poll::Ready(Some(Err(fault))),
            }
        }
        match self.body.borrow_mut().as_mut() {
            Some(body) => Pin::new(body).poll_frame(cx),
            // Its connection ends without it.
            None => Poll::Pending,
        }
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.body.borrow().as_ref().is_some_and(Body::is_end_stream)
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        self.body.borrow().as_ref().map_or_else(SizeHint::new, Body::size_hint)
    }
}
