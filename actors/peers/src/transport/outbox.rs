//! Frames that wait to be written on a connection for calls, bounded by bytes.

use std::sync::Arc;

use jaco_wire::peer::{Frame, Outcome};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// What a frame takes beside its payload, so that many small ones are bounded too.
const FRAME_WEIGHT: usize = 1_024;

/// A frame, and the room it takes until it is written.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) frame: Frame,
    _room: Option<OwnedSemaphorePermit>,
}

/// The sending side; copies share the room.
#[derive(Clone, Debug)]
pub(super) struct Outbox {
    room: Arc<Semaphore>,
    capacity: u32,
    frames: mpsc::UnboundedSender<Outgoing>,
}

impl Outbox {
    /// An outbox with room for `capacity` bytes, and the frames that come out of it.
    pub(super) fn new(capacity: u32) -> (Outbox, mpsc::UnboundedReceiver<Outgoing>) {
        let (frames, outgoing) = mpsc::unbounded_channel();
        let room = Arc::new(Semaphore::new(capacity.try_into().unwrap_or(usize::MAX)));
        (Outbox { room, capacity, frames }, outgoing)
    }

    /// Adds a frame if there is room.
    pub(super) fn try_push(&self, frame: Frame) -> bool {
        let room = self.room.clone().try_acquire_many_owned(self.weight(&frame));
        room.is_ok_and(|room| self.put(frame, Some(room)))
    }

    /// Adds a frame as soon as there is room. `false` if nobody writes any more.
    pub(super) async fn push(&self, frame: Frame) -> bool {
        match self.room.clone().acquire_many_owned(self.weight(&frame)).await {
            Ok(room) => self.put(frame, Some(room)),
            Err(_) => false,
        }
    }

    /// Adds a frame without payload of which there are few: a cancellation, a credit.
    pub(super) fn push_small(&self, frame: Frame) {
        self.put(frame, None);
    }

    fn put(&self, frame: Frame, room: Option<OwnedSemaphorePermit>) -> bool {
        self.frames.send(Outgoing { frame, _room: room }).is_ok()
    }

    fn weight(&self, frame: &Frame) -> u32 {
        let payload = match frame {
            Frame::Call(request) | Frame::OpenStream(request) => request.payload.len(),
            Frame::Answer { outcome: Outcome::Done(payload), .. } | Frame::Item { payload, .. } => {
                payload.len()
            }
            Frame::Answer { outcome: Outcome::Refused(reason), .. } => reason.len(),
            _ => 0,
        };
        u32::try_from(payload + FRAME_WEIGHT).unwrap_or(u32::MAX).min(self.capacity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(len: usize) -> Frame {
        Frame::Item { id: 1, payload: vec![0; len] }
    }

    #[tokio::test]
    async fn room_is_taken_and_given_back() {
        let (outbox, mut written) = Outbox::new(10_000);
        assert!(outbox.try_push(item(7_000)));
        assert!(!outbox.try_push(item(7_000)));
        drop(written.recv().await);
        assert!(outbox.try_push(item(50_000)), "the largest frame fits into an empty outbox");
        outbox.push_small(Frame::Cancel { id: 1 });
        drop(written);
        assert!(!outbox.try_push(item(1)));
    }
}
