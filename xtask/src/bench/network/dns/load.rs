//! Questions from many addresses through one socket, and their answers.
//!
//! `dnsperf` asks from one address only. Here each question says which address it comes from
//! (IP_PKTINFO), and answers are taken in batches, so that asking costs less than answering.

use std::io::{IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::libc::{in_addr, in_pktinfo};
use nix::sys::socket::{
    ControlMessage, MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmsg, setsockopt, sockopt,
};

use super::names::{CONTAINERS, GATEWAY, container};
use crate::bench::measure::stopwatch;

/// A question without an answer after so long is lost.
const LOST_AFTER: Duration = Duration::from_secs(1);
/// Answers taken at once.
const BATCH: usize = 32;
/// Longest answer.
const ANSWER_MAX: usize = 512;
/// Message ids in use, a power of two.
const IDS: usize = 1 << 14;

/// How much is asked.
#[derive(Debug, Clone, Copy)]
pub(super) enum How {
    /// So many questions wait for their answers at any time.
    InFlight(usize),
    /// So many questions per second, whatever is answered.
    PerSecond(u32),
    /// One question.
    Once,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Questions sent.
    pub(super) asked: u64,
    /// How long each answer took.
    pub(super) took: Vec<Duration>,
    /// From the first question to the end of the last wait.
    pub(super) length: Duration,
}

impl Outcome {
    /// Right answers in time.
    pub(super) fn answered(&self) -> u64 {
        self.took.len() as u64
    }

    /// Questions without one.
    pub(super) fn lost(&self) -> u64 {
        self.asked - self.answered()
    }
}

/// Somebody who asks for all names in turn, from all containers in turn.
pub(super) struct Asker {
    socket: UdpSocket,
    questions: Vec<(Vec<u8>, Ipv4Addr)>,
    server: SockaddrIn,
    sources: Vec<in_pktinfo>,
    /// When the question with this id was asked; `None` when it waits no more.
    waiting: Vec<Option<Duration>>,
    next: usize,
    in_flight: usize,
    /// The oldest id that may still wait.
    oldest: usize,
}

impl Asker {
    /// One in the namespace of this thread.
    pub(super) fn new(questions: Vec<(Vec<u8>, Ipv4Addr)>) -> Result<Asker> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        setsockopt(&socket, sockopt::RcvBuf, &(1 << 20))?;
        socket.set_nonblocking(true)?;
        let source = |number| in_pktinfo {
            ipi_ifindex: 0,
            ipi_spec_dst: in_addr { s_addr: container(number).to_bits().to_be() },
            ipi_addr: in_addr { s_addr: 0 },
        };
        Ok(Asker {
            socket,
            questions,
            server: SockaddrIn::from(std::net::SocketAddrV4::new(GATEWAY, 53)),
            sources: (0..CONTAINERS).map(source).collect(),
            waiting: vec![None; IDS],
            next: 0,
            in_flight: 0,
            oldest: 0,
        })
    }

    /// Asks for so long, then waits for what is still to come.
    pub(super) fn ask(&mut self, how: How, length: Duration) -> Result<Outcome> {
        let mut outcome = Outcome::default();
        (self.in_flight, self.oldest) = (0, self.next);
        self.waiting.fill(None);
        let mut buffers = [[0; ANSWER_MAX]; BATCH];
        let clock = stopwatch();
        loop {
            let now = clock();
            let is_over = now >= length || matches!(how, How::Once) && outcome.asked == 1;
            if !is_over && self.is_due(how, outcome.asked, now) {
                self.send(now)?;
                outcome.asked += 1;
                // As many as are due, before the next look at answers.
                if outcome.asked % 16 != 0 && self.is_due(how, outcome.asked, now) {
                    continue;
                }
            }
            self.receive(&mut buffers, &clock, &mut outcome)?;
            self.give_up(clock());
            if is_over && self.in_flight == 0 {
                break;
            }
        }
        outcome.length = length.min(clock());
        Ok(outcome)
    }

    fn is_due(&self, how: How, asked: u64, now: Duration) -> bool {
        match how {
            How::InFlight(limit) => self.in_flight < limit,
            How::PerSecond(rate) => asked as f64 <= now.as_secs_f64() * f64::from(rate),
            How::Once => asked == 0,
        }
    }

    /// Asks the next question, which must not take the id of one that waits.
    fn send(&mut self, now: Duration) -> Result<()> {
        let id = self.next % IDS;
        ensure!(self.waiting[id].is_none(), "more questions wait than there are ids");
        let at = self.next % self.questions.len();
        let question = &mut self.questions[at].0;
        question[..2].copy_from_slice(&(id as u16).to_be_bytes());
        let source = &self.sources[self.next % self.sources.len()];
        let from = [ControlMessage::Ipv4PacketInfo(source)];
        let (slices, server) = ([IoSlice::new(question)], Some(&self.server));
        // A full buffer loses the question, as a network would.
        let sent = sendmsg(self.socket.as_raw_fd(), &slices, &from, MsgFlags::MSG_DONTWAIT, server);
        if let Err(error) = sent
            && error != Errno::EAGAIN
            && error != Errno::ECONNREFUSED
        {
            return Err(error).context("cannot ask");
        }
        self.waiting[id] = Some(now);
        self.in_flight += 1;
        self.next += 1;
        Ok(())
    }

    /// Takes the answers that are there.
    fn receive(
        &mut self,
        buffers: &mut [[u8; ANSWER_MAX]; BATCH],
        clock: &impl Fn() -> Duration,
        outcome: &mut Outcome,
    ) -> Result<()> {
        let mut slices = buffers.each_mut().map(|buffer| [IoSliceMut::new(buffer)]);
        let mut headers = MultiHeaders::<SockaddrIn>::preallocate(BATCH, None);
        let (socket, flags) = (self.socket.as_raw_fd(), MsgFlags::MSG_DONTWAIT);
        let received = match recvmmsg(socket, &mut headers, slices.iter_mut(), flags, None) {
            Ok(received) => received,
            Err(Errno::EAGAIN | Errno::EINTR | Errno::ECONNREFUSED) => return Ok(()),
            Err(error) => return Err(error).context("cannot take answers"),
        };
        let now = clock();
        for message in received {
            let Some(answer) = message.iovs().next() else { continue };
            let id = match answer {
                [high, low, ..] => usize::from(u16::from_be_bytes([*high, *low])),
                _ => continue,
            };
            let Some(asked) = self.waiting.get_mut(id).and_then(Option::take) else { continue };
            self.in_flight -= 1;
            let number = self.id_to_number(id);
            let (_, right) = &self.questions[number % self.questions.len()];
            ensure!(is_right(answer, *right), "a wrong answer: {answer:?}");
            outcome.took.push(now.saturating_sub(asked));
        }
        Ok(())
    }

    /// Which question had this id last.
    fn id_to_number(&self, id: usize) -> usize {
        let latest = self.next.saturating_sub(1);
        let back = (latest % IDS + IDS - id) % IDS;
        latest - back
    }

    /// Forgets questions that waited too long.
    fn give_up(&mut self, now: Duration) {
        while self.oldest < self.next {
            let waiting = &mut self.waiting[self.oldest % IDS];
            match waiting {
                Some(asked) if now.saturating_sub(*asked) < LOST_AFTER => return,
                Some(_) => {
                    *waiting = None;
                    self.in_flight -= 1;
                }
                None => {}
            }
            self.oldest += 1;
        }
    }
}

/// Whether an answer says NOERROR and has the one address.
fn is_right(answer: &[u8], address: Ipv4Addr) -> bool {
    let is_answer = answer.get(2).is_some_and(|flags| flags & 0x80 != 0);
    let is_fine = answer.get(3).is_some_and(|flags| flags & 0x0f == 0);
    let has_one = answer.get(6..8) == Some(&[0, 1]);
    is_answer && is_fine && has_one && answer.windows(4).any(|part| part == address.octets())
}
