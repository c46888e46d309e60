//! The node's private key, on the node and nowhere else.

use crate::Error;
use gotatun::x25519::{PublicKey as Point, StaticSecret};
use jaco_netmesh_core::PublicKey;
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The key file below a data directory.
pub(crate) fn key_path(data_dir: &Path) -> PathBuf {
    data_dir.join("keys/wg.key")
}

/// The secret of a node and the public key that goes with it.
pub(crate) struct KeyPair {
    pub(crate) secret: StaticSecret,
    pub(crate) public: PublicKey,
}

impl KeyPair {
    fn new(secret: StaticSecret) -> KeyPair {
        let public = PublicKey(Point::from(&secret).to_bytes());
        KeyPair { secret, public }
    }

    /// Reads the key of a data directory.
    pub(crate) fn read(data_dir: &Path) -> Result<KeyPair, Error> {
        let path = key_path(data_dir);
        let mut text = String::new();
        let file = File::open(&path).map_err(Error::io("open the mesh key"))?;
        // A longer file is no key, and is not read to its end.
        file.take(256).read_to_string(&mut text).map_err(Error::io("read the mesh key"))?;
        let key: PublicKey =
            text.trim_end().parse().map_err(|_| Error::NotAKey(path.display().to_string()))?;
        Ok(KeyPair::new(StaticSecret::from(key.0)))
    }

    /// Reads the key, or makes it when there is none.
    pub(crate) fn read_or_make(data_dir: &Path) -> Result<KeyPair, Error> {
        match KeyPair::read(data_dir) {
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
            other => return other,
        }
        KeyPair::make(data_dir)
    }

    /// Makes a key in place of the one that may be there.
    ///
    /// It is written beside and renamed, so a crash leaves no half of one.
    pub(crate) fn make(data_dir: &Path) -> Result<KeyPair, Error> {
        let path = key_path(data_dir);
        let directory = path.parent().unwrap_or(data_dir);
        private_directory(directory)?;
        let bytes = jaco_kit::Seeds.bytes().map_err(Error::io("draw a mesh key"))?;
        let pair = KeyPair::new(StaticSecret::from(bytes));
        let next = path.with_extension("key.new");
        write_private(&next, &pair.secret.to_bytes()).map_err(Error::io("write the mesh key"))?;
        std::fs::rename(&next, &path).map_err(Error::io("keep the mesh key"))?;
        let kept = File::open(directory).and_then(|directory| directory.sync_all());
        kept.map_err(Error::io("keep the mesh key"))?;
        Ok(pair)
    }
}

/// Makes a directory for its owner alone, unless it is there.
pub(crate) fn private_directory(path: &Path) -> Result<(), Error> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(Error::io("make a private directory"))
}

/// Writes 32 bytes as base64, readable by the owner alone from the first moment.
fn write_private(path: &Path, bytes: &[u8; 32]) -> std::io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?);
    rustix::fs::fchmod(&file, Mode::RUSR | Mode::WUSR)?;
    // The text form of keys is the same for secrets.
    writeln!(file, "{}", PublicKey(*bytes))?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_key_is_made_once_and_for_its_owner_alone() {
        let home = tempfile::tempdir().unwrap();
        let first = KeyPair::read_or_make(home.path()).unwrap();
        let again = KeyPair::read_or_make(home.path()).unwrap();
        assert_eq!(first.public, again.public);
        let mode = key_path(home.path()).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let other = tempfile::tempdir().unwrap();
        assert_ne!(KeyPair::read_or_make(other.path()).unwrap().public, first.public);
        let next = KeyPair::make(home.path()).unwrap();
        assert_ne!(next.public, first.public);
        assert_eq!(KeyPair::read(home.path()).unwrap().public, next.public);
    }

    #[test]
    fn a_file_that_is_no_key_is_kept_and_refused() {
        let home = tempfile::tempdir().unwrap();
        let path = key_path(home.path());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "something else").unwrap();
        assert!(matches!(KeyPair::read_or_make(home.path()), Err(Error::NotAKey(_))));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "something else");
    }
}
