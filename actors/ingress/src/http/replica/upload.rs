//! A request's body on its way to a replica.

use super::head::{Coding, write_trailers};
use super::wire::Wire;
use crate::http::body::Body;
use crate::http::secure::Line;
use bytes::{Buf, Bytes};
use http_body_util::BodyExt;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::task::{JoinHandle, spawn_local};

/// The task that sends a body. Dropped it stops, and with it the connection is over.
pub(super) struct Uploading {
    task: JoinHandle<Result<(), Broken>>,
    is_whole: Rc<Cell<bool>>,
    is_told: bool,
}

/// Why a body was not sent.
enum Broken {
    /// The one who sends it is to blame, and has said so.
    Client,
    /// The replica takes no more. It may have answered.
    Replica,
}

/// Begins to send a body.
pub(super) fn begin(wire: &Wire, body: Body, coding: Coding) -> Uploading {
    let is_whole = Rc::new(Cell::new(false));
    let (line, told) = (wire.line(), is_whole.clone());
    let task = spawn_local(async move {
        send(&line, body, coding).await?;
        told.set(true);
        Ok(())
    });
    Uploading { task, is_whole, is_told: false }
}

impl Uploading {
    /// Whether the replica has been sent all of it.
    pub(super) fn is_whole(&self) -> bool {
        self.is_whole.get()
    }

    /// Whether the client broke it off.
    pub(super) fn is_broken(&mut self, cx: &mut Context<'_>) -> bool {
        if self.is_told || self.is_whole.get() {
            return false;
        }
        match Pin::new(&mut self.task).poll(cx) {
            Poll::Pending => false,
            Poll::Ready(ended) => {
                self.is_told = true;
                matches!(ended, Ok(Err(Broken::Client)) | Err(_))
            }
        }
    }
}

impl Drop for Uploading {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl From<io::Error> for Broken {
    fn from(_: io::Error) -> Broken {
        Broken::Replica
    }
}

async fn send(line: &RefCell<Line>, mut body: Body, coding: Coding) -> Result<(), Broken> {
    let mut left = match coding {
        Coding::Known(length) => Some(length),
        _ => None,
    };
    let is_chunked = coding == Coding::Chunked;
    while let Some(frame) = body.frame().await {
        match frame.map_err(|_| Broken::Client)?.into_data() {
            Ok(data) if data.is_empty() => {}
            Ok(data) if is_chunked => {
                let size = Bytes::from(format!("{:x}\r\n", data.len()));
                write(line, size.chain(data).chain(&b"\r\n"[..])).await?;
            }
            Ok(data) => {
                let length = data.len() as u64;
                // More than was said would be the next request.
                left = Some(left.and_then(|left| left.checked_sub(length)).ok_or(Broken::Replica)?);
                write(line, data).await?;
            }
            Err(frame) if is_chunked => {
                let mut last = b"0\r\n".to_vec();
                write_trailers(&mut last, &frame.into_trailers().unwrap_or_default());
                return write(line, Bytes::from(last)).await;
            }
            Err(_) => {}
        }
    }
    if is_chunked {
        return write(line, &b"0\r\n\r\n"[..]).await;
    }
    if left == Some(0) { Ok(()) } else { Err(Broken::Client) }
}

/// Writes all of it. The line is held only while it is asked, as the answer is read from it too.
async fn write(line: &RefCell<Line>, mut bytes: impl Buf) -> Result<(), Broken> {
    poll_fn(|cx| {
        let mut line = line.borrow_mut();
        while bytes.has_remaining() {
            match std::task::ready!(pin!(line.write_buf(&mut bytes)).poll(cx))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                _ => continue,
            }
        }
        Pin::new(&mut *line).poll_flush(cx)
    })
    .await
    .map_err(Broken::from)
}
