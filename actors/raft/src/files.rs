//! Whole files that appear at once: write aside, sync, rename, sync the directory.

use std::path::{Path, PathBuf};

use jaco_raft_core::Position;

use crate::disk::Disk;
use crate::error::Error;

/// Puts `data` at `path`, durable as a whole or not there at all.
pub(crate) fn write_atomic(disk: &dyn Disk, path: &Path, data: &[u8]) -> Result<(), Error> {
    let aside = path.with_extension("tmp");
    disk.write(&aside, data).map_err(Error::io("write", &aside))?;
    disk.sync_file(&aside).map_err(Error::io("sync", &aside))?;
    disk.rename(&aside, path).map_err(Error::io("rename to", path))?;
    sync_parent(disk, path)
}

/// Makes the name of `path` durable.
pub(crate) fn sync_parent(disk: &dyn Disk, path: &Path) -> Result<(), Error> {
    let dir = path.parent().unwrap_or(path);
    disk.sync_dir(dir).map_err(Error::io("sync", dir))
}

/// Where the snapshot at `at` is kept in the raft directory `dir`.
pub(crate) fn snapshot_path(dir: &Path, at: Position) -> PathBuf {
    dir.join(format!("snap-{}-{}.snap", at.index, at.term))
}

/// The position in a name that [`snapshot_path`] made.
pub(crate) fn snapshot_position(name: &str) -> Option<Position> {
    let (index, term) = name.strip_prefix("snap-")?.strip_suffix(".snap")?.split_once('-')?;
    Some(Position { index: index.parse().ok()?, term: term.parse().ok()? })
}
