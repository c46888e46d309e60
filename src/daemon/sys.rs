//! The one unsafe call of the daemon: taking over a file descriptor by its number.

use std::os::fd::{FromRawFd, OwnedFd};

/// The first descriptor that systemd passes (`SD_LISTEN_FDS_START`).
const FIRST: i32 = 3;

/// Takes over the first passed descriptor; `None` when it is not open. Call once.
#[expect(unsafe_code, reason = "descriptors come by number; see the module doc")]
pub(crate) fn listen_fd() -> Option<OwnedFd> {
    // SAFETY: `fcntl` reads the state of the descriptor and nothing else.
    let is_open = unsafe { rustix::fd::BorrowedFd::borrow_raw(FIRST) };
    rustix::io::fcntl_getfd(is_open).ok()?;
    // SAFETY: systemd passes the descriptor to this process alone (LISTEN_PID was compared), and
    // this function is called once, so nothing else owns it.
    Some(unsafe { OwnedFd::from_raw_fd(FIRST) })
}
