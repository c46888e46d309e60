//! The identity of this node on disk: `node/{ca.crt,node.crt,node.key}` in the data directory.
//!
//! Each file appears whole or not at all. Certificate and key change together although they are two
//! files: the new key waits beside the old one until the new certificate is in place, and whoever
//! reads takes the key that fits.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::tls::Identity;

const DIRECTORY: &str = "node";
const ROOTS: &str = "ca.crt";
const CERTIFICATE: &str = "node.crt";
const KEY: &str = "node.key";
/// The key of a certificate that is about to be put in place.
const NEXT_KEY: &str = "node.key.next";

/// The three files of a node's identity, in PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct NodeFiles {
    /// The cluster's roots.
    pub roots: String,
    /// The node's certificate.
    pub certificate: String,
    /// The node's private key.
    pub key: String,
}

impl std::fmt::Debug for NodeFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeFiles").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

impl NodeFiles {
    /// Loads what the files say.
    ///
    /// # Errors
    /// As [`Identity::from_pem`].
    pub fn identity(&self) -> Result<Identity, Error> {
        Identity::from_pem(&self.roots, &self.certificate, &self.key)
    }

    /// Writes all three durably, in place of those of another certificate if there are any. A crash
    /// at any moment leaves either the old identity or the new one.
    ///
    /// # Errors
    /// If they do not belong together, or the disk refuses.
    pub fn write(&self, data_dir: &Path) -> Result<(), Error> {
        self.identity()?;
        let directory = data_dir.join(DIRECTORY);
        let created = DirBuilder::new().recursive(true).mode(0o700).create(&directory);
        created.map_err(file("create", &directory))?;
        sync_directory(data_dir)?;
        for step in Self::steps() {
            step(self, &directory)?;
        }
        Ok(())
    }

    /// What [`NodeFiles::write`] does, as steps between which a crash may happen.
    fn steps() -> [Step; 4] {
        [
            |files, directory| put(directory, ROOTS, &files.roots),
            |files, directory| put(directory, NEXT_KEY, &files.key),
            |files, directory| put(directory, CERTIFICATE, &files.certificate),
            |_, directory| promote_key(directory),
        ]
    }

    /// Reads the three files, or `None` if this node has no certificate.
    ///
    /// # Errors
    /// If one of them is missing although the certificate is there, or cannot be read.
    pub fn read(data_dir: &Path) -> Result<Option<NodeFiles>, Error> {
        let directory = data_dir.join(DIRECTORY);
        let Some(certificate) = get(&directory, CERTIFICATE)? else { return Ok(None) };
        let roots = get(&directory, ROOTS)?.ok_or_else(|| missing(&directory, ROOTS))?;
        let mut files = NodeFiles { roots, certificate, key: String::new() };
        if let Some(next) = get(&directory, NEXT_KEY)? {
            files.key = next;
            if files.identity().is_ok() {
                promote_key(&directory)?;
                return Ok(Some(files));
            }
        }
        files.key = get(&directory, KEY)?.ok_or_else(|| missing(&directory, KEY))?;
        Ok(Some(files))
    }
}

/// A part of a change that is whole in itself.
type Step = fn(&NodeFiles, &Path) -> Result<(), Error>;

/// Makes a text the durable content of a file that only its owner may read.
fn put(directory: &Path, name: &str, text: &str) -> Result<(), Error> {
    let aside = directory.join(format!("{name}.tmp"));
    remove(&aside)?;
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside);
    let mut written = opened.map_err(file("create", &aside))?;
    written.write_all(text.as_bytes()).map_err(file("write", &aside))?;
    written.sync_all().map_err(file("sync", &aside))?;
    rename(&aside, &directory.join(name))?;
    sync_directory(directory)
}

/// The certificate of the waiting key is in place.
fn promote_key(directory: &Path) -> Result<(), Error> {
    rename(&directory.join(NEXT_KEY), &directory.join(KEY))?;
    sync_directory(directory)
}

fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    fs::rename(from, to).map_err(file("rename to", to))
}

fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(file("remove", path)(error)),
        _ => Ok(()),
    }
}

fn get(directory: &Path, name: &str) -> Result<Option<String>, Error> {
    let path = directory.join(name);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(file("read", &path)(error)),
    }
}

fn sync_directory(directory: &Path) -> Result<(), Error> {
    File::open(directory).and_then(|opened| opened.sync_all()).map_err(file("sync", directory))
}

fn missing(directory: &Path, name: &str) -> Error {
    file("read", &directory.join(name))(io::ErrorKind::NotFound.into())
}

fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path: PathBuf = path.to_owned();
    move |source| Error::File { action, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    use jaco_model::{ClusterId, NodeId, WallMs};

    use crate::pki::{Authority, NODE_LIFETIME, NodeKey};

    fn issue(authority: &Authority) -> NodeFiles {
        let (cluster, node) = (ClusterId::from("c"), NodeId::from("n"));
        let key = NodeKey::create().unwrap();
        let now = WallMs(1_790_000_000_000);
        let signed = authority.sign_node(&key.csr_der, &cluster, &node, now, NODE_LIFETIME);
        let certificate = signed.unwrap().cert_pem;
        NodeFiles { roots: authority.cert_pem.clone(), certificate, key: key.key_pem }
    }

    fn authority() -> Authority {
        Authority::create(&ClusterId::from("c"), WallMs(1_790_000_000_000)).unwrap()
    }

    #[test]
    fn files_come_back_and_are_closed_to_others() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(NodeFiles::read(dir.path()).unwrap(), None);
        let files = issue(&authority());
        files.write(dir.path()).unwrap();
        assert_eq!(NodeFiles::read(dir.path()).unwrap(), Some(files));
        let node = dir.path().join(DIRECTORY);
        assert_eq!(node.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        let mut names = Vec::new();
        for entry in fs::read_dir(node).unwrap() {
            let entry = entry.unwrap();
            assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600);
            names.push(entry.file_name().into_string().unwrap());
        }
        names.sort();
        assert_eq!(names, [ROOTS, CERTIFICATE, KEY]);
    }

    #[test]
    fn a_crash_between_any_two_steps_leaves_one_whole_identity() {
        let authority = authority();
        let (old, new) = (issue(&authority), issue(&authority));
        for crash in 0..=NodeFiles::steps().len() {
            let dir = tempfile::tempdir().unwrap();
            old.write(dir.path()).unwrap();
            for step in &NodeFiles::steps()[..crash] {
                step(&new, &dir.path().join(DIRECTORY)).unwrap();
            }
            let expected = if crash < 3 { &old } else { &new };
            for _ in 0..2 {
                assert_eq!(
                    NodeFiles::read(dir.path()).unwrap().as_ref(),
                    Some(expected),
                    "{crash}"
                );
            }
            new.write(dir.path()).unwrap();
            assert_eq!(NodeFiles::read(dir.path()).unwrap().as_ref(), Some(&new), "{crash}");
        }
    }

    #[test]
    fn what_does_not_belong_together_is_not_written() {
        let authority = authority();
        let (one, other) = (issue(&authority), issue(&authority));
        let dir = tempfile::tempdir().unwrap();
        let mixed = NodeFiles { key: other.key, ..one };
        assert!(matches!(mixed.write(dir.path()), Err(Error::Key { .. })));
        assert_eq!(NodeFiles::read(dir.path()).unwrap(), None);
    }

    #[test]
    fn a_missing_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        issue(&authority()).write(dir.path()).unwrap();
        fs::remove_file(dir.path().join(DIRECTORY).join(KEY)).unwrap();
        let error = NodeFiles::read(dir.path()).unwrap_err();
        assert!(error.to_string().ends_with("node/node.key"), "{error}");
    }
}
