//! The one unsafe call of the daemon: taking over file descriptors by their numbers.

use std::os::fd::{FromRawFd, OwnedFd};

/// The first descriptor that systemd passes (`SD_LISTEN_FDS_START`).
const FIRST: i32 = 3;

/// Takes over so many passed descriptors, in order; `None` for one that is not open. Programs that
/// this process starts do not get them. Call once.
#[expect(unsafe_code, reason = "descriptors come by number; see the module doc")]
pub(crate) fn listen_fds(count: usize) -> Vec<Option<OwnedFd>> {
    let numbers = (FIRST..).take(count);
    let take = |number| {
        // SAFETY: `fcntl` changes a flag of the descriptor and nothing else.
        let passed = unsafe { rustix::fd::BorrowedFd::borrow_raw(number) };
        rustix::io::fcntl_setfd(passed, rustix::io::FdFlags::CLOEXEC).ok()?;
        // SAFETY: systemd passes the descriptors to this process alone (LISTEN_PID was compared),
        // and this function is called once, so nothing else owns them.
        Some(unsafe { OwnedFd::from_raw_fd(number) })
    };
    numbers.map(take).collect()
}
