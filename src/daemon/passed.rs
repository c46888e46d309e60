//! Sockets that were open before this process: those of systemd's units, and those that the daemon
//! before this one put into systemd's store (sd_listen_fds(3)). What comes to them while no daemon
//! runs waits in the kernel.

use crate::daemon::{notify, sys};
use jaco_ingress_core::{ListenKey, ListenKind};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;

/// More than any set of units and addresses.
const MOST: usize = 256;

/// What was passed and is not in use yet.
#[derive(Debug, Default)]
pub(crate) struct Passed {
    /// The API's.
    pub(crate) api: Option<UnixListener>,
    /// The front door's, by what they are for and where.
    pub(crate) doors: Vec<(ListenKey, TcpListener)>,
}

impl Passed {
    /// Takes over what this process was started with. Call once.
    pub(crate) fn take() -> Passed {
        let number = |name| std::env::var(name).ok()?.parse::<usize>().ok();
        let is_ours = number("LISTEN_PID") == usize::try_from(std::process::id()).ok();
        let Some(count) = number("LISTEN_FDS").filter(|_| is_ours) else {
            return Passed::default();
        };
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':').map(str::to_owned);
        let mut passed = Passed::default();
        for fd in sys::listen_fds(count.min(MOST)) {
            let name = names.next().unwrap_or_default();
            if let Some(fd) = fd {
                passed.sort(&name, fd);
            }
        }
        passed
    }

    fn sort(&mut self, name: &str, fd: OwnedFd) {
        let family = rustix::net::getsockname(&fd).map(|address| address.address_family());
        if family == Ok(rustix::net::AddressFamily::UNIX) {
            let listener = UnixListener::from(fd);
            self.api.get_or_insert(listener);
            return;
        }
        let listener = TcpListener::from(fd);
        match (kind(name), listener.local_addr()) {
            (Some(kind), Ok(address)) => self.doors.push((ListenKey { kind, address }, listener)),
            _ => tracing::warn!(name, "a socket that was passed is none of ours"),
        }
    }

    /// Closes the front door's sockets that are not wanted: nobody would ever accept there.
    pub(crate) fn keep_doors(&mut self, wanted: impl Fn(&ListenKey) -> bool) {
        self.doors.retain(|(key, _)| {
            let stays = wanted(key);
            if !stays {
                notify::forget(&name(*key));
            }
            stays
        });
    }
}

/// What a socket is for, by its name: `FileDescriptorName=` of a unit, or what [`name`] made.
fn kind(name: &str) -> Option<ListenKind> {
    match name.split('@').next() {
        Some("http") => Some(ListenKind::Http),
        Some("https") => Some(ListenKind::Https),
        _ => None,
    }
}

/// The name of a socket in the store, in which no colon may be.
pub(crate) fn name(key: ListenKey) -> String {
    let kind = match key.kind {
        ListenKind::Http => "http",
        ListenKind::Https => "https",
        ListenKind::Port(_) => "port",
    };
    format!("{kind}@{}", key.address).replace(':', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(kind: ListenKind, address: &str) -> ListenKey {
        ListenKey { kind, address: address.parse().unwrap() }
    }

    #[test]
    fn a_name_says_what_the_socket_is_for() {
        for (key, wanted) in [
            (key(ListenKind::Http, "0.0.0.0:80"), "http@0.0.0.0_80"),
            (key(ListenKind::Https, "[::]:443"), "https@[__]_443"),
        ] {
            assert_eq!(name(key), wanted);
            assert_eq!(kind(wanted), Some(key.kind));
        }
        assert_eq!(kind("https"), Some(ListenKind::Https));
        assert_eq!(kind("jaco.socket"), None);
        assert_eq!(kind(""), None);
    }

    #[test]
    fn sockets_are_sorted_by_family_and_name() {
        let dir = tempfile::tempdir().unwrap();
        let tcp = || TcpListener::bind("127.0.0.1:0").unwrap();
        let mut passed = Passed::default();
        let (http, https) = (tcp(), tcp());
        let at = http.local_addr().unwrap();
        passed.sort("http@x", http.into());
        passed.sort("jaco.socket", UnixListener::bind(dir.path().join("s")).unwrap().into());
        passed.sort("https", https.into());
        passed.sort("other", tcp().into());
        assert!(passed.api.is_some());
        assert_eq!(passed.doors.len(), 2);
        passed.keep_doors(|key| key.kind == ListenKind::Http);
        assert_eq!(passed.doors[0].0, ListenKey { kind: ListenKind::Http, address: at });
        assert_eq!(passed.doors.len(), 1);
    }
}
