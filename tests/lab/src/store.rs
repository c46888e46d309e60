//! The part of systemd that keeps sockets of a daemon while it is away (sd_notify(3), `FDSTORE`).

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

/// What daemons tell, and the sockets that they give away.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    socket: UnixDatagram,
}

impl Store {
    /// Listens at a path, which is what `NOTIFY_SOCKET` must say.
    ///
    /// # Errors
    /// When it cannot.
    pub fn open(path: &Path) -> Result<Self> {
        let socket = UnixDatagram::bind(path).with_context(|| path.display().to_string())?;
        socket.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(Self { path: path.to_owned(), socket })
    }

    /// Where it listens.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The next socket that is given away under this name. What else is told is passed over.
    ///
    /// # Errors
    /// When nothing more is told for half a minute.
    pub fn take(&self, name: &str) -> Result<OwnedFd> {
        loop {
            let (message, socket) = self.next()?;
            let is_it = message.lines().any(|line| line.strip_prefix("FDNAME=") == Some(name));
            if let Some(socket) = socket.filter(|_| is_it) {
                return Ok(socket);
            }
        }
    }

    fn next(&self) -> Result<(String, Option<OwnedFd>)> {
        let mut bytes = [0; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let got = recvmsg(&self.socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)
            .context("no word of the daemon")?;
        let sockets = control.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut sockets) => sockets.next(),
            _ => None,
        });
        let socket = sockets.last();
        Ok((String::from_utf8_lossy(&bytes[..got.bytes]).into_owned(), socket))
    }
}
