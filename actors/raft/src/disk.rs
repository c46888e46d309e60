//! The port to the disk: few operations, each a point where power can fail.
//!
//! Tests and the simulator put a disk in its place that loses or tears unsynced data. redb reaches
//! the disk through its own port, [`StorageBackend`].

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use redb::StorageBackend;
use redb::backends::FileBackend;
use rustix::fs::{FlockOperation, flock, statvfs};

/// Files and directories below `data_dir`. Nothing is durable before the matching sync.
pub trait Disk: fmt::Debug + Send + Sync {
    /// Holds `dir` for this process until the lock is dropped.
    ///
    /// # Errors
    /// `WouldBlock` if another process holds it.
    fn lock(&self, dir: &Path) -> io::Result<Box<dyn Lock>>;
    /// Creates a directory and its parents; an existing one is fine.
    ///
    /// # Errors
    /// Of the file system.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// The names in a directory in order, or none if it does not exist.
    ///
    /// # Errors
    /// Of the file system.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;
    /// The content of a file, or `None` if it does not exist.
    ///
    /// # Errors
    /// Of the file system.
    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>>;
    /// Writes a file from the start, in place of an old one.
    ///
    /// # Errors
    /// Of the file system, a full disk among them.
    fn write(&self, path: &Path, data: &[u8]) -> io::Result<()>;
    /// Makes the content of a file durable.
    ///
    /// # Errors
    /// Of the file system; the content is unknown afterwards.
    fn sync_file(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// Of the file system; the names are unknown afterwards.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Renames a file or directory within its directory, over an old file.
    ///
    /// # Errors
    /// Of the file system.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    ///
    /// # Errors
    /// Of the file system.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Opens or creates the file of a database.
    ///
    /// # Errors
    /// Of the file system.
    fn database(&self, path: &Path) -> io::Result<Box<dyn StorageBackend>>;
    /// How much room the file system of `path` has.
    ///
    /// # Errors
    /// Of the file system.
    fn space(&self, path: &Path) -> io::Result<Space>;
}

/// Held as long as it lives.
pub trait Lock: fmt::Debug + Send + Sync {}

impl Lock for File {}

/// Room on a file system in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// What an unprivileged process may still use.
    pub available: u64,
    /// The size of the file system.
    pub total: u64,
}

impl Space {
    /// Below 256 MiB or 2 %: the node should hand off leadership and refuse new work.
    pub fn is_low(self) -> bool {
        self.available < 256 << 20 || self.available < self.total / 50
    }
}

/// The disk of this host. Files and directories are closed to others.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostDisk;

impl Disk for HostDisk {
    fn lock(&self, dir: &Path) -> io::Result<Box<dyn Lock>> {
        let held = File::open(dir)?;
        flock(&held, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Box::new(held))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut names = Vec::new();
        for entry in entries {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort_unstable();
        Ok(names)
    }

    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        match fs::read(path) {
            Ok(data) => Ok(Some(data)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn write(&self, path: &Path, data: &[u8]) -> io::Result<()> {
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)?
            .write_all(data)
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn database(&self, path: &Path) -> io::Result<Box<dyn StorageBackend>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        let backend = FileBackend::new(file).map_err(io::Error::other)?;
        Ok(Box::new(backend))
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        let found = statvfs(path)?;
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        Ok(Space { available: bytes(found.f_bavail), total: bytes(found.f_blocks) })
    }
}
