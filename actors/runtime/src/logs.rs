//! Container logs as whole lines.
//!
//! The engine cuts lines at 16 KiB and sends each piece on its own; they are put together here.
//! Every piece begins with a time, which is always asked for: lines of several replicas can only be
//! merged by it.

use crate::engine::Engine;
use crate::error::{is_missing, words};
use crate::facts::parse_rfc3339_ms;
use bollard::container::LogOutput;
use bollard::errors::Error as ClientError;
use bollard::query_parameters::LogsOptionsBuilder;
use futures_util::{Stream, StreamExt as _};
use jaco_model::WallMs;
use std::collections::VecDeque;
use std::pin::Pin;
use std::time::Duration;

/// A longer line is handed out in pieces of this size.
const LONGEST: usize = 1024 * 1024;
/// Where the engine cuts lines.
const PIECE: usize = 16 * 1024;

/// Lines of one container in the order of the engine.
pub type LogStream = Pin<Box<dyn Stream<Item = Result<LogLine, LogError>> + Send>>;

/// Which lines to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// Go on with new lines until the container ends.
    pub follow: bool,
    /// Only lines from this moment on.
    pub since: Option<WallMs>,
    /// Only lines up to this moment.
    pub until: Option<WallMs>,
    /// Only so many of the last lines.
    pub tail: Option<u64>,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// When it was written, nanoseconds since the Unix epoch.
    pub ts_ns: u64,
    /// Where it was written.
    pub stream: LogSource,
    /// The text without its end of line; bytes that are no UTF-8 are replaced.
    pub line: String,
}

/// Where a line was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogSource {
    /// Standard output; with a terminal, everything.
    Stdout,
    /// Standard error.
    Stderr,
}

impl LogSource {
    /// The name in output.
    pub const fn as_str(self) -> &'static str {
        match self {
            LogSource::Stdout => "stdout",
            LogSource::Stderr => "stderr",
        }
    }
}

/// Logs cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// There is no such container.
    #[error("container {0} does not exist on this node")]
    Missing(String),
    /// The log driver only writes.
    #[error(
        "logs of {container} go to log driver {driver:?}, which cannot be read back; read them \
         where that driver sends them, or use logging driver json-file, local or journald"
    )]
    Unreadable {
        /// The container.
        container: String,
        /// Its log driver.
        driver: String,
    },
    /// The engine does not answer or the stream broke.
    #[error("logs of {container}: {reason}")]
    Engine {
        /// The container.
        container: String,
        /// The engine's words.
        reason: String,
    },
}

impl Engine {
    /// Lines of a container, running or ended, by the engine's id or by the instance's name.
    ///
    /// # Errors
    /// When the container does not exist, its log driver cannot be read, or the engine is silent.
    pub async fn logs(&self, container: &str, query: LogQuery) -> Result<LogStream, LogError> {
        let broken = |error: &ClientError| LogError::Engine {
            container: container.to_owned(),
            reason: words(error),
        };
        let found = self.asking().inspect_container(container, None).await;
        let found = found.map_err(|error| match is_missing(&error) {
            true => LogError::Missing(container.to_owned()),
            false => broken(&error),
        })?;
        let config = found.host_config.and_then(|host| host.log_config);
        let driver = config.and_then(|config| config.typ).unwrap_or_default();
        let mut options = LogsOptionsBuilder::new()
            .follow(query.follow)
            .stdout(true)
            .stderr(true)
            .timestamps(true)
            .tail(&query.tail.map_or_else(|| "all".to_owned(), |lines| lines.to_string()));
        // The engine takes whole seconds here; the rest is left to the assembler.
        if let Some(since) = query.since {
            options = options.since(i32::try_from(since.0 / 1_000).unwrap_or(i32::MAX));
        }
        if let Some(until) = query.until {
            options = options.until(i32::try_from(until.0.div_ceil(1_000)).unwrap_or(i32::MAX));
        }
        // A log that is followed may stay silent for as long as it likes.
        let docker = self.waiting(Duration::from_secs(u64::from(u32::MAX)));
        let mut frames = Box::pin(docker.logs(container, Some(options.build()))).peekable();
        if let Some(Err(error)) = Pin::new(&mut frames).peek().await {
            let unreadable = words(error).contains("does not support reading");
            return Err(match unreadable {
                true => LogError::Unreadable { container: container.to_owned(), driver },
                false => broken(error),
            });
        }
        let state = (frames, Assembler::new(&query), container.to_owned());
        Ok(Box::pin(futures_util::stream::unfold(state, next_line)))
    }
}

type Frames<S> = futures_util::stream::Peekable<S>;

async fn next_line<S>(
    (mut frames, mut lines, container): (Frames<S>, Assembler, String),
) -> Option<(Result<LogLine, LogError>, (Frames<S>, Assembler, String))>
where
    S: Stream<Item = Result<LogOutput, ClientError>> + Unpin,
{
    loop {
        if let Some(line) = lines.ready.pop_front() {
            return Some((Ok(line), (frames, lines, container)));
        }
        if lines.ended {
            return None;
        }
        match frames.next().await {
            Some(Ok(frame)) => lines.take(&frame),
            Some(Err(error)) => {
                lines.ended = true;
                let reason = words(&error);
                let error = LogError::Engine { container: container.clone(), reason };
                return Some((Err(error), (frames, lines, container)));
            }
            None => lines.end(),
        }
    }
}

/// Puts pieces together.
struct Assembler {
    since_ns: u64,
    until_ns: u64,
    /// The unfinished line of standard output and of standard error.
    open: [Option<(u64, Vec<u8>)>; 2],
    ready: VecDeque<LogLine>,
    ended: bool,
}

impl Assembler {
    fn new(query: &LogQuery) -> Assembler {
        let ns = |at: WallMs| at.0.saturating_mul(1_000_000);
        Assembler {
            since_ns: query.since.map_or(0, ns),
            until_ns: query.until.map_or(u64::MAX, ns),
            open: [None, None],
            ready: VecDeque::new(),
            ended: false,
        }
    }

    fn take(&mut self, frame: &LogOutput) {
        match frame {
            LogOutput::StdErr { message } => self.piece(LogSource::Stderr, message),
            LogOutput::StdOut { message } | LogOutput::StdIn { message } => {
                self.piece(LogSource::Stdout, message);
            }
            LogOutput::Console { message } => self.console(message),
        }
    }

    /// One piece: a time, a blank, and text that ends the line if it ends with a newline.
    fn piece(&mut self, source: LogSource, piece: &[u8]) {
        let Some((ts_ns, text)) = split_time(piece) else { return };
        let slot = &mut self.open[source as usize];
        // All pieces of a line carry its time. Another time means that the process ended in the
        // middle of the line.
        if let Some((open_ns, open)) = slot.take_if(|(open_ns, _)| *open_ns != ts_ns) {
            self.ready.extend(line(open_ns, source, &open));
        }
        let (_, open) = slot.get_or_insert((ts_ns, Vec::new()));
        open.extend_from_slice(text);
        if (open.ends_with(b"\n") || open.len() >= LONGEST)
            && let Some((_, open)) = slot.take()
            && (self.since_ns..=self.until_ns).contains(&ts_ns)
        {
            self.ready.extend(line(ts_ns, source, &open));
        }
    }

    /// A terminal's output has no frames: the pieces of a long line follow each other directly,
    /// each with the same time in front.
    fn console(&mut self, text: &[u8]) {
        let Some((_, rest)) = split_time(text) else { return };
        let time = &text[..text.len() - rest.len()];
        let mut begin = 0;
        while text.len() - begin > time.len() + PIECE {
            let next = begin + time.len() + PIECE;
            if !text[next..].starts_with(time) {
                break;
            }
            self.piece(LogSource::Stdout, &text[begin..next]);
            begin = next;
        }
        self.piece(LogSource::Stdout, &text[begin..]);
    }

    fn end(&mut self) {
        self.ended = true;
        for source in [LogSource::Stdout, LogSource::Stderr] {
            if let Some((ts_ns, open)) = self.open[source as usize].take()
                && (self.since_ns..=self.until_ns).contains(&ts_ns)
            {
                self.ready.extend(line(ts_ns, source, &open));
            }
        }
    }
}

fn line(ts_ns: u64, stream: LogSource, text: &[u8]) -> Option<LogLine> {
    let text = String::from_utf8_lossy(text);
    let line = text.trim_end_matches(['\n', '\r']).to_owned();
    Some(LogLine { ts_ns, stream, line })
}

/// Takes `2026-11-23T09:09:19.123456789Z ` off the front.
fn split_time(piece: &[u8]) -> Option<(u64, &[u8])> {
    let blank = piece.iter().take(40).position(|b| *b == b' ')?;
    let time = std::str::from_utf8(&piece[..blank]).ok()?;
    let ms = parse_rfc3339_ms(time)?;
    // The milliseconds are in `ms`; the six digits after them are left.
    let fraction = time.split_once('.').map_or("", |(_, fraction)| fraction);
    let digits = fraction.bytes().take_while(u8::is_ascii_digit).skip(3).take(6);
    let weights = [100_000, 10_000, 1_000, 100, 10, 1];
    let below: u64 = digits.zip(weights).map(|(digit, w)| u64::from(digit - b'0') * w).sum();
    Some((ms.checked_mul(1_000_000)?.checked_add(below)?, &piece[blank + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: &str = "1970-01-01T00:00:01.000000002Z ";
    const T1: &str = "1970-01-01T00:00:02.000000000Z ";

    fn read(frames: &[(LogSource, String)], query: &LogQuery) -> Vec<(u64, LogSource, String)> {
        let mut lines = Assembler::new(query);
        for (source, text) in frames {
            lines.piece(*source, text.as_bytes());
        }
        lines.end();
        lines.ready.into_iter().map(|l| (l.ts_ns, l.stream, l.line)).collect()
    }

    #[test]
    fn pieces_of_one_line_are_joined_across_streams() {
        let frames = [
            (LogSource::Stdout, format!("{T0}first ")),
            (LogSource::Stderr, format!("{T1}oops\n")),
            (LogSource::Stdout, format!("{T0}half\n")),
            (LogSource::Stdout, format!("{T1}no end")),
        ];
        let expected = [
            (2_000_000_000, LogSource::Stderr, "oops".to_owned()),
            (1_000_000_002, LogSource::Stdout, "first half".to_owned()),
            (2_000_000_000, LogSource::Stdout, "no end".to_owned()),
        ];
        assert_eq!(read(&frames, &LogQuery::default()), expected);
    }

    #[test]
    fn a_line_that_its_process_did_not_end_stands_alone() {
        let frames =
            [(LogSource::Stdout, format!("{T0}cut")), (LogSource::Stdout, format!("{T1}next\n"))];
        let texts: Vec<String> =
            read(&frames, &LogQuery::default()).into_iter().map(|l| l.2).collect();
        assert_eq!(texts, ["cut", "next"]);
    }

    #[test]
    fn since_is_exact_to_the_millisecond() {
        let frames =
            [(LogSource::Stdout, format!("{T0}old\n")), (LogSource::Stdout, format!("{T1}new\n"))];
        let query = LogQuery { since: Some(WallMs(1_500)), ..LogQuery::default() };
        let texts: Vec<String> = read(&frames, &query).into_iter().map(|l| l.2).collect();
        assert_eq!(texts, ["new"]);
    }

    #[test]
    fn a_long_line_of_a_terminal_loses_the_times_inside() {
        let long = "a".repeat(PIECE);
        let mut lines = Assembler::new(&LogQuery::default());
        lines.console(format!("{T0}{long}{T0}{long}{T0}end\r\n").as_bytes());
        let line = lines.ready.pop_front().unwrap();
        assert_eq!(line.line, format!("{long}{long}end"));
        assert!(lines.ready.is_empty());
    }
}
