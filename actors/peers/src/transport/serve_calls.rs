//! Serves the calls and streams of one member on one connection.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use jaco_model::NodeId;
use jaco_wire::peer::{FRAME_MAX, Frame, Method, Outcome, Request, STREAM_ITEM_MAX, STREAM_WINDOW};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::transport::counters::count;
use crate::transport::dial::Connection;
use crate::transport::frames::{Broken, FrameReader, FrameWriter};
use crate::transport::outbox::{Outbox, Outgoing};
use crate::transport::shared::{Shared, lock};

/// No call takes longer, whatever the caller says.
const LONGEST: Duration = Duration::from_secs(3_600);

/// A caller that gives up says so; only if that does not arrive, the call ends by itself.
const GRACE: Duration = Duration::from_secs(1);

/// Bytes of the longest reason; the rest is cut off.
const REASON_MAX: usize = 64 << 10;

/// Room that an answer needs beside its payload.
const ENVELOPE: usize = 64;

/// What runs for one connection.
struct Serving {
    shared: Arc<Shared>,
    from: NodeId,
    outbox: Outbox,
    /// Payload bytes that may be worked on at a time.
    work: Arc<Semaphore>,
    open: Mutex<BTreeMap<u64, Open>>,
}

/// One request in progress; dropping it ends its task.
struct Open {
    task: AbortHandle,
    /// Items that the reader of a stream has room for.
    credit: Option<Arc<Semaphore>>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Ends all tasks with the connection.
struct EndAll<'s>(&'s Serving);

impl Drop for EndAll<'_> {
    fn drop(&mut self) {
        let open = std::mem::take(&mut *lock(&self.0.open));
        drop(open);
    }
}

/// Serves a connection for calls until it ends.
pub(super) async fn serve(shared: &Arc<Shared>, connection: &mut Connection) -> Result<(), Broken> {
    let limits = &shared.config.limits;
    let (outbox, mut answers) = Outbox::new(limits.call_bytes);
    let serving = Arc::new(Serving {
        shared: shared.clone(),
        from: connection.id.node_id.clone(),
        outbox,
        work: Arc::new(Semaphore::new(limits.call_bytes.try_into().unwrap_or(usize::MAX))),
        open: Mutex::default(),
    });
    let _end = EndAll(&serving);
    tokio::select! {
        ended = take(&serving, &mut connection.reader) => ended,
        ended = send(&mut answers, &mut connection.writer) => ended,
    }
}

async fn send<W: AsyncWrite + Unpin>(
    answers: &mut mpsc::UnboundedReceiver<Outgoing>,
    writer: &mut FrameWriter<W>,
) -> Result<(), Broken> {
    while let Some(outgoing) = answers.recv().await {
        // The room of those that share the write is given back a moment early.
        writer.write_with(outgoing.frame, || Some(answers.try_recv().ok()?.frame)).await?;
    }
    Ok(())
}

async fn take<R: AsyncRead + Unpin>(
    serving: &Arc<Serving>,
    reader: &mut FrameReader<R>,
) -> Result<(), Broken> {
    loop {
        let frame = reader.next().await?;
        serving.shared.heard(&serving.from);
        match frame {
            Frame::Call(request) => begin(serving, request, false).await?,
            Frame::OpenStream(request) => begin(serving, request, true).await?,
            Frame::Credit { id, items } => serving.grant(id, items),
            Frame::Cancel { id } => {
                let cancelled = lock(&serving.open).remove(&id);
                drop(cancelled);
            }
            _ => return Err(Broken::OutOfPlace("no call")),
        }
    }
}

/// Starts a task for a request, or answers why not.
async fn begin(serving: &Arc<Serving>, request: Request, is_stream: bool) -> Result<(), Broken> {
    let id = request.id;
    let running = lock(&serving.open).len();
    if lock(&serving.open).contains_key(&id) {
        return Err(Broken::OutOfPlace("a request with a number in use"));
    }
    let refusal = match Method::from_number(request.method) {
        None => Outcome::UnknownMethod,
        Some(_) if running >= serving.shared.config.limits.calls => Outcome::TooMany,
        Some(method) => {
            count(&serving.shared.tally.calls_served);
            start(serving, method, request, is_stream).await;
            return Ok(());
        }
    };
    serving.outbox.push(Frame::Answer { id, outcome: refusal }).await;
    Ok(())
}

/// Waits for room, which slows the sender down, and starts the task.
async fn start(serving: &Arc<Serving>, method: Method, request: Request, is_stream: bool) {
    let Request { id, payload, timeout_ms, .. } = request;
    let weight = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let weight = weight.min(serving.shared.config.limits.call_bytes);
    let room = serving.work.clone().acquire_many_owned(weight).await;
    let window = usize::try_from(STREAM_WINDOW).unwrap_or(1);
    let credit = is_stream.then(|| Arc::new(Semaphore::new(window)));
    let task_serving = serving.clone();
    let task_credit = credit.clone();
    // Held while the task is started, so that it finds itself in the list when it ends.
    let mut open = lock(&serving.open);
    let task = serving.shared.runtime.spawn(async move {
        let serving = task_serving;
        let outcome = match task_credit {
            Some(credit) => {
                drop(room);
                serving.run_stream(id, method, payload, &credit).await
            }
            None => {
                let outcome = serving.run_call(method, payload, timeout_ms).await;
                drop(room);
                outcome
            }
        };
        serving.outbox.push(Frame::Answer { id, outcome }).await;
        let ended = lock(&serving.open).remove(&id);
        drop(ended);
    });
    open.insert(id, Open { task: task.abort_handle(), credit });
}

/// A refusal whose reason fits into a frame.
fn refused(mut reason: String) -> Outcome {
    let end = (0..=REASON_MAX.min(reason.len())).rev().find(|at| reason.is_char_boundary(*at));
    reason.truncate(end.unwrap_or(0));
    Outcome::Refused(reason)
}

impl Serving {
    fn grant(&self, id: u64, items: u32) {
        let open = lock(&self.open);
        if let Some(credit) = open.get(&id).and_then(|open| open.credit.as_ref()) {
            let window = usize::try_from(STREAM_WINDOW).unwrap_or(1);
            let room = window.saturating_sub(credit.available_permits());
            credit.add_permits(usize::try_from(items).unwrap_or(window).min(room));
        }
    }

    async fn run_call(&self, method: Method, payload: Vec<u8>, timeout_ms: u64) -> Outcome {
        let patience = Duration::from_millis(timeout_ms).min(LONGEST) + GRACE;
        let call = self.shared.handler.call(self.from.clone(), method, payload);
        match timeout(patience, call).await {
            Ok(Ok(answer)) if answer.len() > FRAME_MAX - ENVELOPE => {
                Outcome::Refused("the answer is too large".into())
            }
            Ok(Ok(answer)) => Outcome::Done(answer),
            Ok(Err(reason)) => refused(reason),
            // The caller has given up long ago.
            Err(_) => Outcome::Refused("it took too long".into()),
        }
    }

    async fn run_stream(
        &self,
        id: u64,
        method: Method,
        payload: Vec<u8>,
        credit: &Semaphore,
    ) -> Outcome {
        let mut items = self.shared.handler.stream(self.from.clone(), method, payload);
        loop {
            match credit.acquire().await {
                Ok(permit) => permit.forget(),
                Err(_) => return Outcome::Refused("the stream was closed".into()),
            }
            match items.next().await {
                Some(Ok(payload)) if payload.len() > STREAM_ITEM_MAX => {
                    return Outcome::Refused("an item is too large".into());
                }
                Some(Ok(payload)) => {
                    if !self.outbox.push(Frame::Item { id, payload }).await {
                        return Outcome::Refused("the connection has ended".into());
                    }
                }
                Some(Err(reason)) => return refused(reason),
                None => return Outcome::Done(Vec::new()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_reasons_are_cut_between_characters() {
        assert_eq!(refused("no".into()), Outcome::Refused("no".into()));
        let Outcome::Refused(cut) = refused("€".repeat(REASON_MAX)) else { unreachable!() };
        assert!(cut.len() > REASON_MAX - 3 && cut.len() <= REASON_MAX);
        assert!(cut.chars().all(|character| character == '€'));
    }
}
