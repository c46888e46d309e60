//! HTTP/1.1 as it is spoken to replicas (RFC 9112): one request at a time on a connection, by the
//! task that wants the answer. Only a request's body has a task of its own, since a replica may
//! answer while it still reads. Why: docs/adr/0023.

mod answer;
mod head;
mod upload;
mod wire;

pub(super) use answer::Answer;
pub(super) use wire::{Scratch, Wire};

use super::body::{Body, Upload};
use super::headers::Said;
use super::pool::Home;
use bytes::Bytes;
use head::{Coding, Head};
use hyper::body::Body as _;
use hyper::http::{request, response};
use hyper::{Method, StatusCode};
use jaco_ingress_core::request::response::Length;
use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Instant;
use upload::Uploading;

/// Most bytes of an answer's header.
const LONGEST: usize = 64 * 1024;

/// A replica breaks the rules.
#[derive(Clone, Copy, Debug)]
struct Invalid;

/// One request for one replica.
pub(super) struct Ask<'a> {
    pub(super) parts: &'a request::Parts,
    /// What stands beside the headers.
    pub(super) said: Option<&'a Said>,
    /// Taken when it begins to be sent.
    pub(super) body: &'a mut Option<Body>,
    pub(super) upload: &'a Upload,
    /// Longest wait for the answer since the last of the body moved; zero is for ever.
    pub(super) within: Duration,
    /// The client waits to be asked for the body, and the replica may think about that for so long:
    /// many do not know the question (RFC 9110, 10.1.1).
    pub(super) thinks: Option<Duration>,
    /// Where the connection goes afterwards.
    pub(super) home: Home,
}

/// A replica's answer.
pub(super) struct Reply {
    pub(super) parts: response::Parts,
    pub(super) body: Body,
    /// The connection, when it speaks something else from here.
    pub(super) switched: Option<Wire>,
}

/// There is no answer.
pub(super) enum Failed {
    /// No byte reached an application.
    Unsent,
    /// The replica took nothing of it: it says so, or did not ask for the body.
    Refused,
    /// Nobody knows what became of the request.
    Lost(&'static str),
    Late,
}

const RESET_REASON: &str = "upstream_reset";
const RESET: Failed = Failed::Lost(RESET_REASON);
const INVALID: Failed = Failed::Lost("upstream_invalid");

/// Sends a request and waits for the header of its answer.
pub(super) async fn exchange(mut wire: Wire, ask: Ask<'_>) -> Result<Reply, Failed> {
    let length = match &*ask.body {
        Some(body) if !body.is_end_stream() => body.size_hint().exact(),
        _ => Some(0),
    };
    let coding = Coding::of(&ask.parts.method, length);
    send_head(&wire, &ask, coding).await?;
    let (to_head, mut uploading) = (ask.parts.method == Method::HEAD, None);
    let Ask { body, upload, within, thinks, home, .. } = ask;
    let has_body = length != Some(0);
    let thinks = thinks.filter(|_| has_body);
    let mut patient = Patient { began: Instant::now(), upload, within, thinks };
    loop {
        if has_body && patient.thinks.is_none() && uploading.is_none() {
            uploading = body.take().map(|body| upload::begin(&wire, body, coding));
        }
        let read = poll_fn(|cx| {
            if uploading.as_mut().is_some_and(|uploading| uploading.is_broken(cx)) {
                return Poll::Ready(Err(RESET));
            }
            patient.poll(&mut wire, to_head, home.scratch(), cx)
        });
        match read.await {
            Ok(Event::Head(head, rest)) if is_final(&head) => {
                let is_unsent = patient.thinks.is_some();
                return Ok(reply(wire, *head, rest, uploading, is_unsent, home));
            }
            Ok(Event::Head(head, rest)) => {
                wire.unread(&rest);
                patient.thinks =
                    patient.thinks.filter(|_| head.parts.status != StatusCode::CONTINUE);
            }
            Ok(Event::Thought) => patient.thinks = None,
            // It did not ask for the body, and has done nothing without it.
            Err(Failed::Lost(RESET_REASON)) if patient.thinks.is_some() => {
                return Err(Failed::Refused);
            }
            Err(failed) => return Err(failed),
        }
    }
}

fn is_final(head: &Head) -> bool {
    let status = head.parts.status;
    !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS
}

/// Sends the header, which is the beginning of it all.
async fn send_head(wire: &Wire, ask: &Ask<'_>, coding: Coding) -> Result<(), Failed> {
    let scratch = ask.home.scratch();
    let mut out = scratch.out.take();
    head::write(&mut out, ask.parts, ask.said, coding);
    let mut sent = 0;
    let outcome = poll_fn(|cx| {
        while sent < out.len() {
            sent += ready!(wire.poll_write(cx, &out[sent..]))?;
        }
        wire.poll_flush(cx)
    });
    let outcome = outcome.await;
    out.clear();
    scratch.out.set(out);
    outcome.map_err(|_| if sent == 0 { Failed::Unsent } else { RESET })
}

/// What is waited for comes, or does not.
enum Event {
    Head(Box<Head>, Bytes),
    /// The replica has thought about it for long enough.
    Thought,
}

/// How long an answer is waited for.
struct Patient<'a> {
    began: Instant,
    upload: &'a Upload,
    within: Duration,
    /// While the replica is still asked if it wants the body.
    thinks: Option<Duration>,
}

impl Patient<'_> {
    fn poll(
        &self,
        wire: &mut Wire,
        to_head: bool,
        scratch: &Scratch,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Event, Failed>> {
        if let Poll::Ready(read) = wire.poll_head(cx, to_head, scratch) {
            return Poll::Ready(read.map(|(head, rest)| Event::Head(Box::new(head), rest)));
        }
        if let Some(thinks) = self.thinks {
            ready!(wire.patience.poll(cx, self.began + thinks));
            return Poll::Ready(Ok(Event::Thought));
        }
        if self.within.is_zero() {
            return Poll::Pending;
        }
        loop {
            let since = self.upload.moved().unwrap_or(self.began).max(self.began);
            ready!(wire.patience.poll(cx, since + self.within));
            if self.upload.moved().is_none_or(|moved| moved <= since) {
                return Poll::Ready(Err(Failed::Late));
            }
        }
    }
}

/// Makes an answer of its header. `is_unsent` when its replica did not want the request's body.
fn reply(
    mut wire: Wire,
    head: Head,
    rest: Bytes,
    uploading: Option<Uploading>,
    is_unsent: bool,
    home: Home,
) -> Reply {
    let Head { parts, length, stays } = head;
    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        wire.unread(&rest);
        return Reply { parts, body: Body::own(""), switched: Some(wire) };
    }
    let stays = stays && !is_unsent;
    let is_whole = matches!(length, Length::Known(length) if rest.len() as u64 >= length);
    let is_sent = uploading.as_ref().is_none_or(Uploading::is_whole);
    if let Length::Known(length) = length
        && is_whole
        && is_sent
    {
        // What nobody asked for has come after it.
        if stays && rest.len() as u64 == length {
            home.take_back(wire);
        }
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        return Reply { parts, body: Body::own(rest.slice(..length)), switched: None };
    }
    wire.unread(&rest);
    let answer = Answer::new(wire, length, uploading, stays.then_some(home));
    Reply { parts, body: Body::of_replica(answer), switched: None }
}
