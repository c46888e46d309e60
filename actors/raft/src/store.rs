//! The durable state of one member: opened once, written by batches, stopped by the first failure.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jaco_raft_core::{Batch, DurableLog, Position, SnapshotFile, SnapshotMeta};
use jaco_wire::verify_snapshot;

use crate::bootstrap::{self, is_there, raft_dir};
use crate::disk::{Disk, Lock, Space};
use crate::error::Error;
use crate::files::{snapshot_path, snapshot_position, write_atomic};
use crate::marker::Marker;
use crate::tables::Tables;

/// The newest snapshot and the one before it.
const SNAPSHOTS_KEPT: usize = 2;

/// The open store. One per data directory, in one process.
#[derive(Debug)]
pub struct Store {
    disk: Arc<dyn Disk>,
    data_dir: PathBuf,
    raft_dir: PathBuf,
    marker: Marker,
    tables: Tables,
    has_failed: bool,
    _lock: Box<dyn Lock>,
}

/// What a start finds.
#[derive(Debug)]
pub struct Loaded {
    /// Who this node is.
    pub marker: Marker,
    /// What the core goes on from; already validated.
    pub durable: DurableLog,
    /// The file of the newest snapshot: the state before the first entry to be applied. Empty while
    /// there is none, for a member that still waits for its first.
    pub snapshot: Arc<Vec<u8>>,
}

impl Store {
    /// Opens what `data_dir` holds, or returns `None` if no cluster was ever begun there.
    ///
    /// # Errors
    /// [`Error::StorageCorrupt`] and [`Error::StorageIncomplete`] name what does not fit;
    /// [`Error::Locked`] if another process is at work; otherwise what the disk refused.
    pub fn open(disk: Arc<dyn Disk>, data_dir: &Path) -> Result<Option<(Store, Loaded)>, Error> {
        let lock = hold(&*disk, data_dir)?;
        Store::open_locked(disk, data_dir, lock)
    }

    /// Makes a new member: marker, and as first durable batch the snapshot `file`.
    ///
    /// A crash leaves either nothing, so that it may be repeated, or a complete member.
    ///
    /// # Errors
    /// [`Error::AlreadyInitialized`] if there is one, [`Error::SnapshotMismatch`] if `file` is not
    /// of this cluster; otherwise as [`Store::open`].
    pub fn bootstrap(
        disk: Arc<dyn Disk>,
        data_dir: &Path,
        marker: &Marker,
        file: SnapshotFile,
    ) -> Result<(Store, Loaded), Error> {
        disk.create_dir(data_dir).map_err(Error::io("create", data_dir))?;
        let lock = hold(&*disk, data_dir)?;
        bootstrap::create(&*disk, data_dir, marker, Some(file))?;
        Store::reopen(disk, data_dir, lock)
    }

    /// Makes a member of a cluster that exists: marker and an empty log. Its peers send the rest.
    ///
    /// # Errors
    /// As [`Store::bootstrap`].
    pub fn bootstrap_empty(
        disk: Arc<dyn Disk>,
        data_dir: &Path,
        marker: &Marker,
    ) -> Result<(Store, Loaded), Error> {
        disk.create_dir(data_dir).map_err(Error::io("create", data_dir))?;
        let lock = hold(&*disk, data_dir)?;
        bootstrap::create(&*disk, data_dir, marker, None)?;
        Store::reopen(disk, data_dir, lock)
    }

    /// Begins again under the raft id of `marker` with an empty log. What was there is kept beside
    /// it, as `raft.before-<new raft id>`, and never read again.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn replace(
        disk: Arc<dyn Disk>,
        data_dir: &Path,
        marker: &Marker,
    ) -> Result<(Store, Loaded), Error> {
        let lock = hold(&*disk, data_dir)?;
        bootstrap::replace(&*disk, data_dir, marker)?;
        Store::reopen(disk, data_dir, lock)
    }

    fn reopen(
        disk: Arc<dyn Disk>,
        data_dir: &Path,
        lock: Box<dyn Lock>,
    ) -> Result<(Store, Loaded), Error> {
        let missing = Marker::path(data_dir);
        Store::open_locked(disk, data_dir, lock)?
            .ok_or(Error::StorageIncomplete { missing, present: "a raft directory" })
    }

    /// Makes `batch` durable. Only after `Ok` may anything that depends on it leave the node.
    ///
    /// # Errors
    /// After any error the store is stopped: what the disk holds is known only after a restart.
    pub fn persist(&mut self, batch: &Batch) -> Result<(), Error> {
        if self.has_failed {
            return Err(Error::Stopped);
        }
        // Set before, so that a panic in between counts as a failure too.
        self.has_failed = true;
        self.write(batch)?;
        self.has_failed = false;
        Ok(())
    }

    /// The file of the snapshot at `at`, checked.
    ///
    /// # Errors
    /// [`Error::StorageCorrupt`] or [`Error::StorageIncomplete`] if it is not intact.
    pub fn load_snapshot(&self, at: Position) -> Result<Vec<u8>, Error> {
        let (path, bytes) = self.read_snapshot(at)?;
        let header = verify_snapshot(&bytes);
        match header {
            Ok(header) if (header.index, header.term) == (at.index, at.term) => Ok(bytes),
            Ok(header) => Err(Error::StorageCorrupt {
                path,
                what: format!("snapshot at {} of term {}", header.index, header.term),
                expected: format!("{} of term {}", at.index, at.term),
            }),
            Err(error) => Err(Error::StorageCorrupt {
                path,
                what: error.to_string(),
                expected: "an intact snapshot".into(),
            }),
        }
    }

    /// Room on the file system of the data directory.
    ///
    /// # Errors
    /// What the disk refused.
    pub fn space(&self) -> Result<Space, Error> {
        self.disk.space(&self.data_dir).map_err(Error::io("measure", &self.data_dir))
    }

    fn open_locked(
        disk: Arc<dyn Disk>,
        data_dir: &Path,
        lock: Box<dyn Lock>,
    ) -> Result<Option<(Store, Loaded)>, Error> {
        let raft_dir = raft_dir(data_dir);
        let Some(marker) = Marker::load(&*disk, data_dir)? else {
            if is_there(&*disk, &raft_dir)? {
                let missing = Marker::path(data_dir);
                return Err(Error::StorageIncomplete { missing, present: "a raft directory" });
            }
            return Ok(None);
        };
        bootstrap::adopt(&*disk, data_dir)?;
        if !is_there(&*disk, &Tables::path(&raft_dir))? {
            // Opening would create an empty one, and the member would forget its votes.
            let missing = Tables::path(&raft_dir);
            return Err(Error::StorageIncomplete { missing, present: "the node marker" });
        }
        let tables = Tables::open(&*disk, &raft_dir)?;
        let data_dir = data_dir.to_owned();
        let store =
            Store { disk, data_dir, raft_dir, marker, tables, has_failed: false, _lock: lock };
        let loaded = store.load()?;
        store.sweep(loaded.durable.snapshot.at);
        Ok(Some((store, loaded)))
    }

    fn load(&self) -> Result<Loaded, Error> {
        let durable = self.tables.load(&self.marker)?;
        durable.validate().map_err(|error| Error::StorageCorrupt {
            path: Tables::path(&self.raft_dir),
            what: error.to_string(),
            expected: "a consistent log".into(),
        })?;
        if durable.snapshot.at.index == 0 {
            return Ok(Loaded { marker: self.marker.clone(), durable, snapshot: Arc::default() });
        }
        let snapshot = self.load_snapshot(durable.snapshot.at)?;
        check_snapshot(&self.marker, &durable.snapshot, &snapshot).map_err(|error| {
            Error::StorageCorrupt {
                path: snapshot_path(&self.raft_dir, durable.snapshot.at),
                what: error.to_string(),
                expected: "the snapshot that the log and the marker name".into(),
            }
        })?;
        Ok(Loaded { marker: self.marker.clone(), durable, snapshot: Arc::new(snapshot) })
    }

    fn write(&self, batch: &Batch) -> Result<(), Error> {
        if let Some(file) = &batch.snapshot {
            check_snapshot(&self.marker, &file.meta, &file.data)?;
            // The file first: the pointer in the batch must never name what may be lost.
            write_atomic(&*self.disk, &snapshot_path(&self.raft_dir, file.meta.at), &file.data)?;
        }
        self.tables.persist(batch)?;
        if let Some(file) = &batch.snapshot {
            self.sweep(file.meta.at);
        }
        Ok(())
    }

    fn read_snapshot(&self, at: Position) -> Result<(PathBuf, Vec<u8>), Error> {
        let path = snapshot_path(&self.raft_dir, at);
        match self.disk.read(&path).map_err(Error::io("read", &path))? {
            Some(bytes) => Ok((path, bytes)),
            None => {
                Err(Error::StorageIncomplete { missing: path, present: "its entry in the log" })
            }
        }
    }

    /// Removes what no start will ever read: old snapshots, and files that never got their name.
    ///
    /// A failure leaves a file too many, which the next sweep takes.
    fn sweep(&self, newest: Position) {
        let names = self.disk.list(&self.raft_dir).unwrap_or_default();
        let mut snapshots: Vec<Position> =
            names.iter().filter_map(|name| snapshot_position(name)).collect();
        snapshots.sort_unstable();
        // Newer than the pointer: written, but its batch never became durable.
        let is_future = |at: &Position| *at > newest;
        let known: Vec<Position> = snapshots.iter().copied().filter(|at| !is_future(at)).collect();
        let n_old = known.len().saturating_sub(SNAPSHOTS_KEPT);
        let stale = known.iter().take(n_old).chain(snapshots.iter().filter(|at| is_future(at)));
        let mut paths: Vec<PathBuf> = stale.map(|at| snapshot_path(&self.raft_dir, *at)).collect();
        let unnamed = names.iter().filter(|name| name.ends_with(".tmp"));
        paths.extend(unnamed.map(|name| self.raft_dir.join(name)));
        for path in paths {
            if let Err(error) = self.disk.remove(&path) {
                tracing::warn!(path = %path.display(), %error, "cannot remove an old file");
            }
        }
    }
}

fn hold(disk: &dyn Disk, data_dir: &Path) -> Result<Box<dyn Lock>, Error> {
    disk.lock(data_dir).map_err(|source| match source.kind() {
        std::io::ErrorKind::WouldBlock => Error::Locked { path: data_dir.to_owned() },
        _ => Error::Io { action: "lock", path: data_dir.to_owned(), source },
    })
}

/// Whether the bytes are the snapshot that `meta` and `marker` speak of.
pub(crate) fn check_snapshot(
    marker: &Marker,
    meta: &SnapshotMeta,
    bytes: &[u8],
) -> Result<(), Error> {
    let mismatch = |reason: String| Err(Error::SnapshotMismatch { reason });
    let header = match verify_snapshot(bytes) {
        Ok(header) => header,
        Err(error) => return mismatch(error.to_string()),
    };
    if (header.index, header.term) != (meta.at.index, meta.at.term) {
        return mismatch(format!("its header says {} of term {}", header.index, header.term));
    }
    if (&header.voters, &header.learners) != (&meta.members.voters, &meta.members.learners) {
        return mismatch("its header names other members".into());
    }
    if (header.cluster_id, header.epoch) != (marker.cluster_id, marker.epoch) {
        return mismatch("it belongs to another cluster or epoch".into());
    }
    Ok(())
}
