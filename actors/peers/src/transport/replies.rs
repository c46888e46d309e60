//! The reading end of a stream from another member.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::Stream;
use jaco_wire::peer::STREAM_WINDOW;

use crate::transport::calls::{Answer, CallError, Opened};

/// Items that are read before the sender is told that there is room again.
const GRANT: u32 = STREAM_WINDOW / 2;

/// Items of a stream, in order; an error is the last. Dropping it ends the stream at its sender.
#[derive(Debug)]
pub(super) struct Replies {
    opened: Option<Opened>,
    failed: Option<CallError>,
    read: u32,
}

impl Replies {
    pub(super) fn new(opened: Result<Opened, CallError>) -> Replies {
        match opened {
            Ok(opened) => Replies { opened: Some(opened), failed: None, read: 0 },
            Err(error) => Replies { opened: None, failed: Some(error), read: 0 },
        }
    }

    fn count_item(&mut self) {
        self.read += 1;
        if self.read >= GRANT
            && let Some(opened) = &self.opened
        {
            opened.in_progress.grant(self.read);
            self.read = 0;
        }
    }
}

impl Stream for Replies {
    type Item = Answer;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Some(Err(error)));
        }
        let Some(opened) = &mut self.opened else { return Poll::Ready(None) };
        let item = std::task::ready!(opened.items.poll_recv(context));
        match &item {
            Some(Ok(_)) => self.count_item(),
            Some(Err(_)) | None => self.opened = None,
        }
        Poll::Ready(item)
    }
}
