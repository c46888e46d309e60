//! Telling systemd how the daemon is (sd_notify(3)), if systemd asked to be told.

use rustix::net::{
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, sendmsg_addr,
};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

/// The daemon serves.
pub(crate) fn ready() {
    send("READY=1");
}

/// The configuration is being read again.
pub(crate) fn reloading() {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
    send(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
}

/// The daemon is on its way out.
pub(crate) fn stopping() {
    send("STOPPING=1");
}

/// Puts a socket into systemd's store, which passes it to the next daemon.
pub(crate) fn keep(name: &str, socket: BorrowedFd<'_>) {
    let message = format!("FDSTORE=1\nFDPOLL=0\nFDNAME={name}");
    let result = service_manager().map_or(Ok(()), |address| send_with(&message, socket, &address));
    if let Err(error) = result {
        tracing::debug!(%error, "cannot give a socket to the service manager");
    }
}

/// Takes a socket out of systemd's store.
pub(crate) fn forget(name: &str) {
    send(&format!("FDSTOREREMOVE=1\nFDNAME={name}"));
}

fn send_with(message: &str, socket: BorrowedFd<'_>, to: &SocketAddrUnix) -> io::Result<()> {
    let from = UnixDatagram::unbound()?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let sockets = [socket];
    control.push(SendAncillaryMessage::ScmRights(&sockets));
    let text = [IoSlice::new(message.as_bytes())];
    sendmsg_addr(&from, to, &text, &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Where systemd listens, if it asked to be told.
fn service_manager() -> Option<SocketAddrUnix> {
    let path = std::env::var("NOTIFY_SOCKET").ok()?;
    let address = match path.strip_prefix('@') {
        Some(name) => SocketAddrUnix::new_abstract_name(name.as_bytes()),
        None => SocketAddrUnix::new(path.as_str()),
    };
    address.ok()
}

/// Says that the main thread is alive, twice per watchdog interval; ends at once without one.
pub(crate) async fn watchdog() {
    let micros = std::env::var("WATCHDOG_USEC").ok().and_then(|text| text.parse::<u64>().ok());
    let Some(micros) = micros.filter(|micros| *micros > 0) else { return };
    let mut every = tokio::time::interval(Duration::from_micros(micros / 2));
    loop {
        every.tick().await;
        send("WATCHDOG=1");
    }
}

/// Sends one message; without systemd, or when it does not listen, nothing happens.
fn send(message: &str) {
    let Some(address) = service_manager() else { return };
    let sent = UnixDatagram::unbound().and_then(|socket| {
        let sent = rustix::net::sendto(&socket, message.as_bytes(), SendFlags::NOSIGNAL, &address);
        sent.map_err(io::Error::from)
    });
    if let Err(error) = sent {
        tracing::debug!(%error, "cannot notify the service manager");
    }
}
