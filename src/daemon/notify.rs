//! Telling systemd how the daemon is (sd_notify(3)), if systemd asked to be told.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
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
    let Ok(path) = std::env::var("NOTIFY_SOCKET") else { return };
    let address = match path.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&path),
    };
    let sent = address
        .and_then(|address| UnixDatagram::unbound()?.send_to_addr(message.as_bytes(), &address));
    if let Err(error) = sent {
        tracing::debug!(%error, "cannot notify the service manager");
    }
}
