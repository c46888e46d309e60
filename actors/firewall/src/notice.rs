//! Notices when somebody else changes our table.
//!
//! The kernel tells every transaction to all who listen: first its parts, each with the socket
//! that asked for it, then the new generation with the name of the program.

use crate::error::Error;
use crate::numbers::{ANY_TABLE, GROUP_NFTABLES, family, generation, operation, subsystem};
use crate::socket::Socket;
use crate::wire::{Frame, find, frames, text};
use jaco_firewall_core::{Input, TABLE};
use rustix::event::{PollFd, PollFlags, poll};
use std::io;
use std::os::fd::OwnedFd;

/// The system's word for notifications that were lost: there was no room for them.
const ENOBUFS: i32 = 105;

/// Listens for changes that others make.
pub(crate) struct Watch {
    socket: Socket,
    own_port: u32,
    /// Our table was part of the transaction that is being told.
    is_ours: bool,
}

impl Watch {
    /// Subscribes; `own_port` is the socket whose changes are our own.
    pub(crate) fn open(own_port: u32) -> Result<Watch, Error> {
        let socket = Socket::open()?;
        socket.join(GROUP_NFTABLES)?;
        Ok(Watch { socket, own_port, is_ours: false })
    }

    /// Tells of changes until `stop` is readable.
    pub(crate) fn run(mut self, stop: &OwnedFd, deliver: &dyn Fn(Input)) {
        loop {
            let mut ready =
                [PollFd::new(&self.socket, PollFlags::IN), PollFd::new(stop, PollFlags::IN)];
            let polled = rustix::io::retry_on_intr(|| poll(&mut ready, None));
            let [_, stopped] = &ready;
            if polled.is_err() || !stopped.revents().is_empty() {
                return;
            }
            match self.socket.receive() {
                Ok(Some(received)) => self.hear(&received, deliver),
                Ok(None) => {}
                Err(error) => {
                    if !is_overflow(&error) {
                        tracing::warn!(%error, "cannot hear of nftables changes");
                        return;
                    }
                    // What was lost may have been about us.
                    deliver(Input::Drifted { by: None });
                }
            }
        }
    }

    fn hear(&mut self, received: &[u8], deliver: &dyn Fn(Input)) {
        let own = self.own_port;
        for frame in frames(received).filter(|frame| frame.port != own) {
            match frame.kind.checked_sub(subsystem::NFTABLES << 8) {
                Some(operation::NEW_GENERATION) => self.end(&frame, deliver),
                Some(operation) if operation < 1 << 8 => self.is_ours |= is_about_us(&frame),
                _ => {}
            }
        }
    }

    /// A transaction of somebody else has been told.
    fn end(&mut self, frame: &Frame<'_>, deliver: &dyn Fn(Input)) {
        if std::mem::take(&mut self.is_ours) {
            let by = find(frame.body(), generation::PROCESS_NAME).map(text);
            deliver(Input::Drifted { by });
        }
    }
}

fn is_about_us(frame: &Frame<'_>) -> bool {
    frame.family() == Some(family::INET)
        && find(frame.body(), ANY_TABLE).map(text).as_deref() == Some(TABLE)
}

fn is_overflow(error: &Error) -> bool {
    let Error::Socket { source, .. } = error else { return false };
    source.raw_os_error() == Some(ENOBUFS) || source.kind() == io::ErrorKind::OutOfMemory
}
