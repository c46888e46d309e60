//! Open-loop load: requests are sent when they are due, however slow the answers are.
//!
//! Each connection keeps alive and has its own schedule. An answer is late from the moment its
//! request was due, so a stall counts for all requests that waited for it.

use std::io::{self, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::client::connect;
use crate::clock::{Since, sleep_ms};
use crate::http::body::{Body, Framing};
use crate::http::head::{Head, bad};
use crate::http::url::Url;
use crate::ws;

/// Failures that are printed in full.
const FAILURES_SHOWN: usize = 100;

/// Bytes of an uploaded body.
const UPLOAD: usize = 16 * 1024;

/// What is sent, where, and how often.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    url: Url,
    host: String,
    kind: Kind,
    connections: u32,
    per_second: u32,
    seconds: u32,
}

/// What a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Get,
    Post,
    /// A message over a WebSocket.
    Message,
}

/// What came of it.
#[derive(Debug, Default)]
struct Tally {
    good: u64,
    failures: Vec<String>,
    failed: u64,
    /// Idle connections that the server had closed before the next request.
    reopened: u64,
    /// Microseconds from due to answered.
    late: Vec<u32>,
}

impl Plan {
    /// Reads `get|post|ws <connections> <per second> <seconds> <url> [<host>]`.
    pub(crate) fn from_args(args: &[&str]) -> Result<Plan, String> {
        let [method, connections, per_second, seconds, url, host @ ..] = args else {
            return Err("load takes get|post|ws, connections, per second, seconds, url".to_owned());
        };
        let number = |text: &str| text.parse().ok().filter(|n: &u32| *n > 0);
        let numbers = (number(connections), number(per_second), number(seconds));
        let (Some(connections), Some(per_second), Some(seconds)) = numbers else {
            return Err("load takes whole numbers above 0".to_owned());
        };
        let url = Url::parse(url)?;
        let host = host.first().map_or_else(|| url.authority.clone(), |host| (*host).to_owned());
        let kind = match *method {
            "get" => Kind::Get,
            "post" => Kind::Post,
            "ws" => Kind::Message,
            other => return Err(format!("{other:?} is none of get, post and ws")),
        };
        Ok(Plan { url, host, kind, connections, per_second, seconds })
    }

    /// Sends everything and prints what came of it; an error when a request failed.
    pub(crate) fn run(&self, timeout: Duration) -> Result<(), String> {
        let tally: Arc<Mutex<Tally>> = Arc::default();
        let begin = Since::now();
        let period = Duration::from_secs(1) * self.connections / self.per_second;
        let each = u64::from(self.per_second) * u64::from(self.seconds);
        let each = each.div_ceil(u64::from(self.connections));
        thread::scope(|scope| {
            for one in 0..self.connections {
                let (tally, first) = (tally.clone(), period * one / self.connections);
                scope.spawn(move || {
                    let mut line = Line { plan: self, open: None, timeout };
                    for turn in 0..each {
                        let due = first + period * u32::try_from(turn).unwrap_or(u32::MAX);
                        let early = due.saturating_sub(begin.elapsed());
                        sleep_ms(u64::try_from(early.as_millis()).unwrap_or(u64::MAX));
                        line.turn(due, begin, &tally);
                    }
                });
            }
        });
        let mut tally = tally.lock().map_err(|_| "a sender panicked".to_owned())?;
        tally.late.sort_unstable();
        let at = |share: usize| tally.late.get(tally.late.len() * share / 1000).unwrap_or(&0);
        println!(
            "good {} failed {} reopened {} p50 {} p99 {} p999 {} us",
            tally.good,
            tally.failed,
            tally.reopened,
            at(500),
            at(990),
            at(999)
        );
        tally.failures.iter().for_each(|failure| println!("failed {failure}"));
        if tally.failed == 0 { Ok(()) } else { Err(format!("{} requests failed", tally.failed)) }
    }
}

/// One connection, or the next one in its place.
struct Line<'a> {
    plan: &'a Plan,
    open: Option<BufReader<TcpStream>>,
    timeout: Duration,
}

impl Line<'_> {
    fn turn(&mut self, due: Duration, begin: Since, tally: &Mutex<Tally>) {
        let sent = begin.elapsed();
        let (outcome, reopened) = self.ask();
        let late = begin.elapsed().saturating_sub(due);
        let late = u32::try_from(late.as_micros()).unwrap_or(u32::MAX);
        let Ok(mut tally) = tally.lock() else { return };
        tally.reopened += u64::from(reopened);
        tally.late.push(late);
        match outcome {
            Ok(()) => tally.good += 1,
            Err(why) => {
                tally.failed += 1;
                if tally.failures.len() < FAILURES_SHOWN {
                    let at = sent.as_secs_f64();
                    tally.failures.push(format!("sent at {at:.3} s: {why}"));
                }
            }
        }
    }

    /// One request, and whether an idle connection had been closed, which is the server's right.
    fn ask(&mut self) -> (Result<(), String>, bool) {
        if let Some(open) = self.open.take() {
            match self.turn_on(open) {
                Err(Fault::Unanswered(_)) => return (self.ask_anew(), true),
                other => return (other.map_err(Fault::into_text), false),
            }
        }
        (self.ask_anew(), false)
    }

    fn ask_anew(&mut self) -> Result<(), String> {
        let stream = connect(&self.plan.url.authority, self.timeout)?;
        let mut open = BufReader::new(stream);
        if self.plan.kind == Kind::Message {
            let write =
                |open: &mut BufReader<TcpStream>, request: &[u8]| open.get_mut().write_all(request);
            let opened = ws::client::open(&mut open, write, &self.plan.host, &self.plan.url.target);
            opened.map_err(|error| format!("no upgrade: {error}"))?;
        }
        self.turn_on(open).map_err(Fault::into_text)
    }

    fn turn_on(&mut self, open: BufReader<TcpStream>) -> Result<(), Fault> {
        match self.plan.kind {
            Kind::Message => self.talk(open),
            Kind::Get => self.exchange(open, "GET", 0),
            Kind::Post => self.exchange(open, "POST", UPLOAD),
        }
    }

    /// One message. A connection that ends instead of the echo is opened again: who ends it cannot
    /// know of the message.
    fn talk(&mut self, mut open: BufReader<TcpStream>) -> Result<(), Fault> {
        let talked = ws::client::send(open.get_mut()).and_then(|()| ws::client::receive(&mut open));
        match talked {
            Ok(()) => {
                self.open = Some(open);
                Ok(())
            }
            Err(error) => Err(match error.kind() {
                io::ErrorKind::UnexpectedEof
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::BrokenPipe => Fault::Unanswered(error.to_string()),
                _ => Fault::Broken(format!("no echo: {error}")),
            }),
        }
    }

    fn exchange(
        &mut self,
        mut open: BufReader<TcpStream>,
        method: &str,
        length: usize,
    ) -> Result<(), Fault> {
        let Plan { url, host, .. } = self.plan;
        let head = format!(
            "{method} {} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n",
            url.target
        );
        let mut request = head.into_bytes();
        request.resize(request.len() + length, b'x');
        open.get_mut().write_all(&request).map_err(|error| Fault::Unanswered(error.to_string()))?;
        let head = match Head::read(&mut open) {
            Ok(Some(head)) => head,
            Ok(None) => return Err(Fault::Unanswered("closed without an answer".to_owned())),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                return Err(Fault::Unanswered(error.to_string()));
            }
            Err(error) => return Err(Fault::Broken(format!("no answer: {error}"))),
        };
        let mut read = || -> io::Result<()> {
            let framing = Framing::of(&head)?.ok_or_else(|| bad("an answer without length"))?;
            Body::new(&mut open, Some(framing)).read_to_end(&mut Vec::new()).map(|_| ())
        };
        read().map_err(|error| Fault::Broken(format!("{}: {error}", head.first_line)))?;
        if !head.first_line.contains(" 200 ") {
            return Err(Fault::Broken(head.first_line));
        }
        if !head.lists("connection", "close") {
            self.open = Some(open);
        }
        Ok(())
    }
}

enum Fault {
    /// Closed before the first byte of an answer.
    Unanswered(String),
    Broken(String),
}

impl Fault {
    fn into_text(self) -> String {
        match self {
            Fault::Unanswered(text) | Fault::Broken(text) => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_are_read() {
        let plan = Plan::from_args(&["get", "4", "100", "2", "http://a:81/x", "shop.test"]);
        let plan = plan.unwrap();
        assert_eq!((plan.host.as_str(), plan.url.authority.as_str()), ("shop.test", "a:81"));
        for bad in [
            &["get", "0", "1", "1", "http://a"][..],
            &["put", "1", "1", "1", "http://a"],
            &["get", "1", "1", "http://a"],
        ] {
            assert!(Plan::from_args(bad).is_err(), "{bad:?}");
        }
    }
}
