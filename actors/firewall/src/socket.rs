//! One netlink socket to netfilter: transactions, questions, and who we are.

use crate::error::Error;
use crate::numbers::{ack, batch, control, family, flag, generation, operation, subsystem};
use crate::wire::{Body, Frame, Message, find, frames, number, text};
use netlink_sys::SocketAddr;
use netlink_sys::protocols::NETLINK_NETFILTER;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, SendFlags, recv, send, sockopt};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// Room for what one receive returns; the kernel puts at most 32 KiB into one.
const RECEIVE_BYTES: usize = 128 << 10;

/// Room in the kernel for answers to a transaction.
const QUEUE_BYTES: usize = 8 << 20;

/// From here on the kernel wants more room to be reserved for one send.
const LARGE_SEND: usize = 64 << 10;

/// How long an answer may take that the kernel gives at once.
const ANSWER: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

/// Linux's number for a transaction that was made for another generation.
const ERESTART: i32 = 85;
const ENOENT: i32 = 2;

/// A socket to netfilter.
pub(crate) struct Socket {
    socket: netlink_sys::Socket,
    port: u32,
    sequence: u32,
    buffer: Vec<u8>,
}

/// Parts of one transaction, each with a name for errors.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    parts: Vec<(String, Message)>,
}

impl Batch {
    /// Adds a part; `name` says in errors what it was about.
    pub(crate) fn add(
        &mut self,
        operation: u16,
        flags: u16,
        name: impl Into<String>,
        fill: impl FnOnce(&mut Body),
    ) {
        let kind = subsystem::NFTABLES << 8 | operation;
        let mut body = Body::default();
        fill(&mut body);
        let flags = flags | flag::REQUEST;
        let message = Message { kind, flags, family: family::INET, resource: 0, body };
        self.parts.push((name.into(), message));
    }
}

impl Socket {
    /// Opens a socket in this thread's network namespace.
    pub(crate) fn open() -> Result<Socket, Error> {
        let failed = |what| move |source| Error::Socket { what, source };
        let mut socket = netlink_sys::Socket::new(NETLINK_NETFILTER)
            .map_err(failed("open a socket to netfilter"))?;
        let address = socket.bind_auto().map_err(failed("bind"))?;
        socket.connect(&SocketAddr::new(0, 0)).map_err(failed("connect"))?;
        socket.set_non_blocking(true).map_err(failed("stop blocking"))?;
        // Both only make errors better.
        let _explained = socket.set_ext_ack(true);
        let _short = socket.set_cap_ack(true);
        sockopt::set_socket_recv_buffer_size_force(&socket, QUEUE_BYTES)
            .map_err(|error| failed("reserve room for answers")(error.into()))?;
        let port = address.port_number();
        Ok(Socket { socket, port, sequence: 0, buffer: vec![0; RECEIVE_BYTES] })
    }

    /// Also receives what is told to a group.
    pub(crate) fn join(&self, group: u32) -> Result<(), Error> {
        self.socket
            .add_membership(group)
            .map_err(|source| Error::Socket { what: "subscribe to changes", source })
    }

    /// The number under which the kernel knows this socket.
    pub(crate) fn port(&self) -> u32 {
        self.port
    }

    /// Writes all parts or none. With a generation, only if the kernel is still at it.
    pub(crate) fn transact(&mut self, generation: Option<u32>, batch: Batch) -> Result<(), Error> {
        let mut bytes = Vec::new();
        let first = self.reserve(batch.parts.len() + 2);
        let mut begin = limit(control::BATCH_BEGIN);
        if let Some(generation) = generation {
            begin.body.number(batch::GENERATION, generation);
        }
        begin.write(first, &mut bytes);
        let (mut names, mut sequence) = (Vec::new(), first);
        let last = batch.parts.len();
        for (place, (name, mut message)) in (1..).zip(batch.parts) {
            sequence = sequence.wrapping_add(1);
            // One acknowledgement means that all was taken.
            message.flags |= if place == last { flag::ACK } else { 0 };
            message.write(sequence, &mut bytes);
            names.push(name);
        }
        limit(control::BATCH_END).write(sequence.wrapping_add(1), &mut bytes);
        self.send(&bytes)?;
        self.outcome(first, sequence, &names)
    }

    /// The kernel has dealt with a transaction before the send returns, so all answers are here.
    fn outcome(&mut self, first: u32, last: u32, names: &[String]) -> Result<(), Error> {
        let mut refused: Option<Error> = None;
        let mut is_taken = false;
        while let Some(received) = self.receive()? {
            for frame in frames(&received) {
                let place = frame.sequence.wrapping_sub(first);
                if frame.kind != control::ERROR || place > last.wrapping_sub(first) {
                    continue;
                }
                match error_code(&frame)? {
                    0 => is_taken |= frame.sequence == last,
                    ERESTART => return self.drained(Error::Overtaken),
                    code => {
                        let index = usize::try_from(place).unwrap_or(0).checked_sub(1);
                        let part = index.and_then(|index| names.get(index)).cloned();
                        let part = part.unwrap_or_else(|| "transaction".to_owned());
                        let source = io::Error::from_raw_os_error(code);
                        let detail = explanation(&frame);
                        refused.get_or_insert(Error::Refused { part, detail, source });
                    }
                }
            }
        }
        match refused {
            Some(error) => Err(error),
            None if is_taken => Ok(()),
            None => Err(Error::Malformed("a transaction was not acknowledged")),
        }
    }

    fn drained(&mut self, error: Error) -> Result<(), Error> {
        while self.receive()?.is_some() {}
        Err(error)
    }

    /// Asks for a list; the bodies of its items.
    pub(crate) fn list(
        &mut self,
        subsystem: u16,
        operation: u16,
        family: u8,
        fill: impl FnOnce(&mut Body),
    ) -> Result<Vec<Vec<u8>>, Error> {
        self.ask(subsystem, operation, family, flag::DUMP, fill)
    }

    /// Asks for one thing of nftables; `None` when it is not there.
    pub(crate) fn one(
        &mut self,
        operation: u16,
        fill: impl FnOnce(&mut Body),
    ) -> Result<Option<Vec<u8>>, Error> {
        let answer = self.ask(subsystem::NFTABLES, operation, family::INET, 0, fill);
        match answer {
            Ok(bodies) => Ok(bodies.into_iter().next()),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Does one thing that is not part of a transaction; false when there is nothing to do it to.
    pub(crate) fn order(
        &mut self,
        subsystem: u16,
        operation: u16,
        family: u8,
        fill: impl FnOnce(&mut Body),
    ) -> Result<bool, Error> {
        match self.ask(subsystem, operation, family, flag::ACK, fill) {
            Ok(_) => Ok(true),
            Err(error) if is_absent(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The number that changes with every transaction in this namespace.
    pub(crate) fn generation(&mut self) -> Result<u32, Error> {
        let answer = self.one(operation::GET_GENERATION, |_| {})?;
        let id = answer.as_deref().and_then(|body| find(body, generation::ID)).and_then(number);
        id.ok_or(Error::Malformed("no generation"))
    }

    fn ask(
        &mut self,
        subsystem: u16,
        operation: u16,
        family: u8,
        flags: u16,
        fill: impl FnOnce(&mut Body),
    ) -> Result<Vec<Vec<u8>>, Error> {
        let mut body = Body::default();
        fill(&mut body);
        let (kind, flags) = (subsystem << 8 | operation, flags | flag::REQUEST);
        let mut bytes = Vec::new();
        let sequence = self.reserve(1);
        Message { kind, flags, family, resource: 0, body }.write(sequence, &mut bytes);
        self.send(&bytes)?;
        let mut bodies = Vec::new();
        let mut is_torn = false;
        loop {
            let Some(received) = self.receive_soon()? else {
                return Err(Error::Malformed("no answer"));
            };
            for frame in frames(&received).filter(|frame| frame.sequence == sequence) {
                is_torn |= frame.flags & flag::DUMP_INTERRUPTED != 0;
                let is_end = match frame.kind {
                    control::DONE => true,
                    control::ERROR => match error_code(&frame)? {
                        0 => true,
                        code => {
                            let source = io::Error::from_raw_os_error(code);
                            let part = "question".to_owned();
                            let detail = explanation(&frame);
                            return Err(Error::Refused { part, detail, source });
                        }
                    },
                    _ => {
                        bodies.push(frame.body().to_vec());
                        frame.flags & flag::MULTI == 0 && flags & flag::ACK == 0
                    }
                };
                if is_end {
                    return if is_torn { Err(Error::Overtaken) } else { Ok(bodies) };
                }
            }
        }
    }

    fn reserve(&mut self, count: usize) -> u32 {
        let first = self.sequence.wrapping_add(1);
        self.sequence = self.sequence.wrapping_add(u32::try_from(count).unwrap_or(u32::MAX));
        first
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let failed =
            |source: rustix::io::Errno| Error::Socket { what: "send", source: source.into() };
        if bytes.len() > LARGE_SEND {
            sockopt::set_socket_send_buffer_size_force(&self.socket, bytes.len() * 2)
                .map_err(failed)?;
        }
        let sent = rustix::io::retry_on_intr(|| send(&self.socket, bytes, SendFlags::empty()));
        match sent.map_err(failed)? {
            len if len == bytes.len() => Ok(()),
            _ => Err(Error::Malformed("a message was sent in part")),
        }
    }

    /// What has arrived; `None` when there is nothing.
    pub(crate) fn receive(&mut self) -> Result<Option<Vec<u8>>, Error> {
        let buffer = self.buffer.as_mut_slice();
        match recv(&self.socket, buffer, RecvFlags::DONTWAIT) {
            Ok((len, _)) => Ok(Some(self.buffer.get(..len).unwrap_or_default().to_vec())),
            Err(rustix::io::Errno::AGAIN) => Ok(None),
            Err(rustix::io::Errno::INTR) => Ok(Some(Vec::new())),
            Err(error) => Err(Error::Socket { what: "receive", source: error.into() }),
        }
    }

    fn receive_soon(&mut self) -> Result<Option<Vec<u8>>, Error> {
        if let Some(received) = self.receive()? {
            return Ok(Some(received));
        }
        let mut ready = [PollFd::new(&self.socket, PollFlags::IN)];
        let polled = rustix::io::retry_on_intr(|| poll(&mut ready, Some(&ANSWER)));
        polled.map_err(|error| Error::Socket { what: "wait", source: error.into() })?;
        self.receive()
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Whether the kernel has nothing of the kind that was asked for.
pub(crate) fn is_absent(error: &Error) -> bool {
    matches!(error, Error::Refused { source, .. } if source.raw_os_error() == Some(ENOENT))
}

/// The begin or end of a batch.
fn limit(kind: u16) -> Message {
    let body = Body::default();
    Message { kind, flags: flag::REQUEST, family: 0, resource: subsystem::NFTABLES, body }
}

/// The error of an acknowledgement; zero for none.
fn error_code(frame: &Frame<'_>) -> Result<i32, Error> {
    let code = frame.payload.get(..4).and_then(|bytes| bytes.try_into().ok());
    let code = code.map(i32::from_ne_bytes).ok_or(Error::Malformed("a short acknowledgement"))?;
    Ok(code.checked_neg().unwrap_or(i32::MAX))
}

/// What the kernel adds to an error.
fn explanation(frame: &Frame<'_>) -> String {
    // The error and the header of the message that caused it.
    const BEFORE: usize = 4 + 16;
    if frame.flags & flag::ACK_ATTRIBUTES == 0 {
        return String::new();
    }
    let attributes = frame.payload.get(BEFORE..).unwrap_or_default();
    let message = find(attributes, ack::MESSAGE).map(text);
    let offset = find(attributes, ack::OFFSET)
        .and_then(|value| value.try_into().ok())
        .map(|bytes| format!("byte {}", u32::from_ne_bytes(bytes)));
    let words: Vec<String> = message.into_iter().chain(offset).collect();
    if words.is_empty() { String::new() } else { format!(" ({})", words.join(", ")) }
}
