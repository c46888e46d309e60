//! The unsafe calls of the helper: what a TUN interface takes, and when it is gone.

use rustix::fd::BorrowedFd;
use rustix::ioctl::{IntegerSetter, ioctl};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// `TUNSETOFFLOAD` of linux/if_tun.h.
const TUNSETOFFLOAD: rustix::ioctl::Opcode = 0x4004_54d0;
/// `TUN_F_CSUM`: sums may be left to whoever reads.
const SUMS: usize = 0x01;
/// `TUN_F_TSO4`: so may the cutting of TCP over IPv4 into packets.
const TCP4: usize = 0x02;

/// Lets the kernel hand over TCP in large pieces with sums that are not finished.
///
/// # Errors
/// When the kernel knows no such thing.
#[expect(unsafe_code, reason = "there is no safe call for it; see the module doc")]
pub(super) fn take_large_pieces(tun: &impl AsRawFd) -> io::Result<()> {
    // SAFETY: `tun` owns the descriptor and is borrowed for the length of this function.
    let fd = unsafe { BorrowedFd::borrow_raw(tun.as_raw_fd()) };
    // SAFETY: this operation takes its bits by value, and these two are bits of it.
    let order = unsafe { IntegerSetter::<TUNSETOFFLOAD>::new_usize(SUMS | TCP4) };
    // SAFETY: the kernel changes flags of the interface and touches no memory of ours.
    unsafe { ioctl(fd, order) }.map_err(io::Error::from)
}

/// Watches for an error of the open file, by a descriptor of its own.
///
/// # Errors
/// When there are too many descriptors.
#[expect(unsafe_code, reason = "the crate that opens the file lends only its number")]
pub(super) fn watch_errors(tun: &impl AsRawFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: `tun` owns the descriptor and is borrowed for the length of this function.
    let fd = unsafe { BorrowedFd::borrow_raw(tun.as_raw_fd()) };
    let own = fd.try_clone_to_owned()?;
    // SAFETY: what is registered owns its descriptor, always the same one, and closes it last.
    Ok(unsafe { AsyncFd::register_with_interest(own, Interest::ERROR) }?)
}
