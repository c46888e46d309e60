//! Bodies on their way through: bounded in size and in silence, and watched for their end.

use super::gzip::Gzip;
use super::lent::Lent;
use super::replica::Answer;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use std::cell::Cell;
use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// Why a body broke off, as far as the one who sends it is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    TooLarge,
    Silent,
    Gone,
    /// The whole request took too long.
    Late,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::TooLarge => "the body is too large",
            Fault::Silent => "no more of the body came in time",
            Fault::Gone => "the body broke off",
            Fault::Late => "the request took too long",
        })
    }
}

impl Error for Fault {}

/// Bytes per second that are not slow.
const PACE: u64 = 240;

/// What the one who waits for an answer sees of the request's body.
#[derive(Debug, Default)]
pub(super) struct Upload {
    fault: Cell<Option<Fault>>,
    moved: Cell<Option<Instant>>,
    passed: Cell<u64>,
    is_asked: Cell<bool>,
}

impl Upload {
    /// Whether somebody wants it, which the client may be told.
    pub(super) fn is_asked(&self) -> bool {
        self.is_asked.get()
    }

    /// Bytes of it so far.
    pub(super) fn passed(&self) -> u64 {
        self.passed.get()
    }

    /// Why it broke off.
    pub(super) fn fault(&self) -> Option<Fault> {
        self.fault.get()
    }

    /// When some of it moved last.
    pub(super) fn moved(&self) -> Option<Instant> {
        self.moved.get()
    }

    /// Ends when nothing of it has moved for so long.
    pub(super) async fn rest(&self, longest: Duration) {
        let mut until = Instant::now() + longest;
        loop {
            tokio::time::sleep_until(until).await;
            match self.moved.get().map(|moved| moved + longest) {
                Some(later) if later > until => until = later,
                _ => return,
            }
        }
    }
}

/// Is told whether the body ended well, and its bytes.
type OnEnd = Box<dyn FnOnce(bool, u64)>;

/// A body of either direction.
pub(super) struct Body {
    source: Source,
    passed: u64,
    limit: Option<u64>,
    silence: Option<Silence>,
    over: Option<Pin<Box<dyn Future<Output = ()>>>>,
    deadline: Option<Pin<Box<Sleep>>>,
    upload: Option<Rc<Upload>>,
    on_end: Option<OnEnd>,
}

enum Source {
    Own(Option<Bytes>),
    Stream(Incoming),
    Replica(Box<Answer>),
    Gzip(Box<Gzip>),
    Lent(Box<Lent>),
}

struct Silence {
    longest: Duration,
    /// `None` until something is waited for.
    timer: Option<Pin<Box<Sleep>>>,
    /// Since when nothing has come.
    since: Option<Instant>,
    /// All the waiting before.
    waited: Duration,
    /// Time for which any pace is good enough; `None` is for ever.
    slow: Option<Duration>,
}

impl Silence {
    /// How long the next bytes may take after so many.
    fn patience(&self, passed: u64) -> Duration {
        let Some(slow) = self.slow else { return self.longest };
        let in_all = slow.max(Duration::from_millis(passed.saturating_mul(1_000) / PACE));
        self.longest.min(in_all.saturating_sub(self.waited))
    }

    fn heard(&mut self) {
        if let Some(since) = self.since.take().filter(|_| self.slow.is_some()) {
            self.waited += since.elapsed();
        }
    }
}

impl Body {
    pub(super) fn own(bytes: impl Into<Bytes>) -> Body {
        let bytes = bytes.into();
        Body::new(Source::Own((!bytes.is_empty()).then_some(bytes)))
    }

    pub(super) fn stream(incoming: Incoming) -> Body {
        Body::new(Source::Stream(incoming))
    }

    pub(super) fn of_replica(answer: Answer) -> Body {
        Body::new(Source::Replica(Box::new(answer)))
    }

    pub(super) fn compressed(body: Body) -> Body {
        Body::new(Source::Gzip(Box::new(Gzip::new(body))))
    }

    pub(super) fn lent(lent: Lent) -> Body {
        Body::new(Source::Lent(Box::new(lent)))
    }

    fn new(source: Source) -> Body {
        Body {
            source,
            passed: 0,
            limit: None,
            silence: None,
            over: None,
            deadline: None,
            upload: None,
            on_end: None,
        }
    }

    /// Breaks off after so many bytes.
    pub(super) fn at_most(mut self, limit: Option<u64>) -> Body {
        self.limit = limit;
        self
    }

    /// Breaks off when nothing comes for so long; zero is for ever.
    pub(super) fn silent_at_most(mut self, longest: Duration) -> Body {
        self.silence = (!longest.is_zero()).then(|| Silence {
            longest,
            timer: None,
            since: None,
            waited: Duration::ZERO,
            slow: None,
        });
        self
    }

    /// Breaks off what may not be silent for ever when it is slower than 240 bytes a second: all
    /// the waiting for it counts, after the first `slow`.
    pub(super) fn paced(mut self, slow: Duration) -> Body {
        if let Some(silence) = &mut self.silence {
            silence.slow = Some(slow);
        }
        self
    }

    /// Ends between two pieces as soon as this does.
    pub(super) fn ends_with(mut self, over: Option<impl Future<Output = ()> + 'static>) -> Body {
        self.over = over.map(|over| Box::pin(over) as Pin<Box<dyn Future<Output = ()>>>);
        self
    }

    /// Breaks off at that time.
    pub(super) fn until(mut self, deadline: Option<Instant>) -> Body {
        self.deadline = deadline.map(|deadline| Box::pin(tokio::time::sleep_until(deadline)));
        self
    }

    pub(super) fn reports_to(mut self, upload: Rc<Upload>) -> Body {
        self.upload = Some(upload);
        self
    }

    /// Runs at the end, also when the body is given up.
    pub(super) fn at_end(mut self, on_end: impl FnOnce(bool, u64) + 'static) -> Body {
        let before = self.on_end.take();
        self.on_end = Some(Box::new(move |is_whole, bytes| {
            if let Some(before) = before {
                before(is_whole, bytes);
            }
            on_end(is_whole, bytes);
        }));
        self
    }

    fn break_off(&mut self, fault: Fault) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        if let Some(upload) = &self.upload {
            upload.fault.set(Some(fault));
        }
        self.end(false);
        Poll::Ready(Some(Err(fault)))
    }

    fn end(&mut self, is_whole: bool) {
        if let Some(on_end) = self.on_end.take() {
            on_end(is_whole, self.passed);
        }
    }

    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        match &mut self.source {
            Source::Own(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Source::Gzip(gzip) => gzip.poll_frame(cx),
            Source::Replica(answer) => answer.poll_frame(cx),
            Source::Lent(lent) => lent.poll_frame(cx),
            Source::Stream(incoming) => {
                let frame = ready!(Pin::new(incoming).poll_frame(cx));
                Poll::Ready(frame.map(|frame| frame.map_err(|_| Fault::Gone)))
            }
        }
    }

    fn is_silent(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(silence) = &mut self.silence else { return false };
        if silence.since.is_none() {
            let now = Instant::now();
            silence.since = Some(now);
            let until = now + silence.patience(self.passed);
            match &mut silence.timer {
                Some(timer) => timer.as_mut().reset(until),
                None => silence.timer = Some(Box::pin(tokio::time::sleep_until(until))),
            }
        }
        silence.timer.as_mut().is_some_and(|timer| timer.as_mut().poll(cx).is_ready())
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let over = |over: &mut Pin<Box<dyn Future<Output = ()>>>| over.as_mut().poll(cx).is_ready();
        if self.over.as_mut().is_some_and(over) {
            self.end(false);
            return Poll::Ready(None);
        }
        if let Some(deadline) = &mut self.deadline
            && deadline.as_mut().poll(cx).is_ready()
        {
            return self.break_off(Fault::Late);
        }
        if let Some(upload) = &self.upload {
            upload.is_asked.set(true);
        }
        match self.poll_source(cx) {
            Poll::Pending if self.is_silent(cx) => self.break_off(Fault::Silent),
            Poll::Pending => Poll::Pending,
            Poll::Ready(None) => {
                self.end(true);
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(fault))) => self.break_off(fault),
            Poll::Ready(Some(Ok(frame))) => {
                self.passed += frame.data_ref().map_or(0, |data| data.len() as u64);
                if let Some(silence) = &mut self.silence {
                    silence.heard();
                }
                if let Some(upload) = &self.upload {
                    upload.moved.set(Some(Instant::now()));
                    upload.passed.set(self.passed);
                }
                if self.limit.is_some_and(|limit| self.passed > limit) {
                    return self.break_off(Fault::TooLarge);
                }
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Own(bytes) => bytes.is_none(),
            Source::Stream(incoming) => incoming.is_end_stream(),
            Source::Replica(answer) => answer.is_over(),
            Source::Gzip(gzip) => gzip.is_over(),
            Source::Lent(lent) => lent.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Own(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Source::Stream(incoming) => incoming.size_hint(),
            Source::Replica(answer) => answer.size_hint(),
            Source::Gzip(_) => SizeHint::new(),
            Source::Lent(lent) => lent.size_hint(),
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        // The receiver need not ask for more when the length says that this was all.
        let is_whole = self.is_end_stream();
        self.end(is_whole);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_grows_with_what_came_and_shrinks_with_the_waiting() {
        let secs = Duration::from_secs;
        let mut silence = Silence {
            longest: secs(60),
            timer: None,
            since: None,
            waited: Duration::ZERO,
            slow: None,
        };
        assert_eq!(silence.patience(0), secs(60), "without a pace only silence counts");
        silence.slow = Some(secs(10));
        assert_eq!(silence.patience(0), secs(10));
        assert_eq!(silence.patience(240 * 20), secs(20));
        assert_eq!(silence.patience(u64::MAX), secs(60));
        silence.waited = secs(15);
        assert_eq!(silence.patience(240 * 20), secs(5));
        assert_eq!(silence.patience(240 * 12), Duration::ZERO);
    }
}
