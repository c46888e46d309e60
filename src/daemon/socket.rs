//! The unix socket of the API: taken over from systemd, or bound here.

use crate::daemon::config::Config;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

/// The socket cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Another daemon answers on it.
    #[error("another daemon answers on {0}")]
    Taken(String),
    /// Something that is not a socket is in its place.
    #[error("{0} exists and is not a socket")]
    NotASocket(String),
    /// The operating system refuses.
    #[error("cannot listen on {path}")]
    Bind {
        /// The socket.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// The listener of the API: the one that was passed, or one of its own.
pub(crate) fn listen(config: &Config, passed: Option<UnixListener>) -> Result<UnixListener, Error> {
    let path = &config.unix_socket;
    let shown = || path.display().to_string();
    let failed = |source| Error::Bind { path: shown(), source };
    let listener = match passed {
        Some(listener) => listener,
        None => {
            clear(path)?;
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent).map_err(failed)?;
            }
            let listener = UnixListener::bind(path).map_err(failed)?;
            restrict(path, &config.socket_group).map_err(failed)?;
            listener
        }
    };
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

/// Removes a socket that nobody answers on; refuses anything else that is in its place.
fn clear(path: &Path) -> Result<(), Error> {
    let shown = path.display().to_string();
    let meta = match std::fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(Error::Bind { path: shown, source }),
    };
    if !meta.file_type().is_socket() {
        return Err(Error::NotASocket(shown));
    }
    if UnixStream::connect(path).is_ok() {
        return Err(Error::Taken(shown));
    }
    std::fs::remove_file(path).map_err(|source| Error::Bind { path: shown, source })
}

/// Mode 0660; the group is set when it exists and the process may.
fn restrict(path: &Path, group: &str) -> io::Result<()> {
    std::fs::set_permissions(path, Permissions::from_mode(0o660))?;
    if group.is_empty() {
        return Ok(());
    }
    let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
    let Some(gid) = group_id(&groups, group) else {
        tracing::warn!(group, "the socket's group does not exist; only its owner may use it");
        return Ok(());
    };
    if let Err(error) = std::os::unix::fs::chown(path, None, Some(gid)) {
        tracing::warn!(group, %error, "cannot give the socket to its group");
    }
    Ok(())
}

/// The id of a group in the text of a group file.
fn group_id(file: &str, group: &str) -> Option<u32> {
    file.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == group).then(|| fields.nth(1)?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_finds_its_id() {
        let file = "root:x:0:\ndocker:x:998:anna\n";
        assert_eq!(group_id(file, "docker"), Some(998));
        assert_eq!(group_id(file, "jaco"), None);
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jaco.sock");
        drop(UnixListener::bind(&path).unwrap());
        clear(&path).unwrap();
        let _live = UnixListener::bind(&path).unwrap();
        assert!(matches!(clear(&path), Err(Error::Taken(_))));
    }

    #[test]
    fn another_kind_of_file_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jaco.sock");
        std::fs::write(&path, "precious").unwrap();
        assert!(matches!(clear(&path), Err(Error::NotASocket(_))));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    }
}
