//! The birth of a member: all of it or nothing, wherever the power fails.
//!
//! The raft files are made complete and durable in `raft.new`. Writing the marker is the one act
//! that decides; after it the directory only gets its name, here or at the next start.

use std::path::{Path, PathBuf};

use jaco_raft_core::eraftpb::HardState;
use jaco_raft_core::{Batch, SnapshotFile, Trim};

use crate::disk::Disk;
use crate::error::Error;
use crate::files::{sync_parent, write_atomic};
use crate::marker::Marker;
use crate::store::check_snapshot;
use crate::tables::Tables;

/// The raft directory in use.
pub(crate) fn raft_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("raft")
}

/// The raft directory before it is in use.
fn new_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("raft.new")
}

/// Creates the marker and the first durable batch: a snapshot whose member list is `file`'s, or an
/// empty log for a member that gets everything from its peers.
pub(crate) fn create(
    disk: &dyn Disk,
    data_dir: &Path,
    marker: &Marker,
    file: Option<SnapshotFile>,
) -> Result<(), Error> {
    for path in [Marker::path(data_dir), raft_dir(data_dir)] {
        if is_there(disk, &path)? {
            return Err(Error::AlreadyInitialized { path });
        }
    }
    prepare(disk, data_dir, marker, file)?;
    marker.store(disk, data_dir)?;
    adopt(disk, data_dir)
}

/// Puts an empty log under a new raft id in the place of what is there, which is kept beside it.
///
/// Writing the marker decides again: before it the old log stands, after it the new one. A crash in
/// between leaves a marker without its log, which asks for the same once more.
pub(crate) fn replace(disk: &dyn Disk, data_dir: &Path, marker: &Marker) -> Result<(), Error> {
    prepare(disk, data_dir, marker, None)?;
    marker.store(disk, data_dir)?;
    let (raft, kept) =
        (raft_dir(data_dir), data_dir.join(format!("raft.before-{}", marker.raft_id)));
    if is_there(disk, &raft)? {
        disk.rename(&raft, &kept).map_err(Error::io("rename to", &kept))?;
        sync_parent(disk, &kept)?;
    }
    adopt(disk, data_dir)
}

/// Makes the raft files of a new member complete and durable, under their preliminary name.
fn prepare(
    disk: &dyn Disk,
    data_dir: &Path,
    marker: &Marker,
    file: Option<SnapshotFile>,
) -> Result<(), Error> {
    if let Some(file) = &file {
        check_snapshot(marker, &file.meta, &file.data)?;
    }
    let dir = new_dir(data_dir);
    discard(disk, &dir)?;
    let node = data_dir.join("node");
    for path in [&dir, &node] {
        disk.create_dir(path).map_err(Error::io("create", path))?;
    }
    disk.sync_dir(data_dir).map_err(Error::io("sync", data_dir))?;

    let batch = match file {
        None => Batch::default(),
        Some(file) => {
            let at = file.meta.at;
            write_atomic(disk, &crate::files::snapshot_path(&dir, at), &file.data)?;
            Batch {
                hard_state: HardState { term: at.term, vote: 0, commit: at.index },
                trim: Trim::Whole(at),
                members: Some((at.index, file.meta.members.clone())),
                snapshot: Some(file),
                ..Batch::default()
            }
        }
    };
    Tables::open(disk, &dir)?.create(marker, &batch)?;
    sync_parent(disk, &Tables::path(&dir))
}

/// Gives a decided bootstrap its name, if that has not happened yet.
pub(crate) fn adopt(disk: &dyn Disk, data_dir: &Path) -> Result<(), Error> {
    let (from, to) = (new_dir(data_dir), raft_dir(data_dir));
    if is_there(disk, &to)? || !is_there(disk, &from)? {
        return Ok(());
    }
    disk.rename(&from, &to).map_err(Error::io("rename to", &to))?;
    sync_parent(disk, &to)
}

/// Whether there is a file, or a directory with something in it.
pub(crate) fn is_there(disk: &dyn Disk, path: &Path) -> Result<bool, Error> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else { return Ok(false) };
    let names = disk.list(dir).map_err(Error::io("list", dir))?;
    Ok(names.iter().any(|found| name == found.as_str()))
}

/// Removes what an undecided bootstrap left.
fn discard(disk: &dyn Disk, dir: &Path) -> Result<(), Error> {
    for name in disk.list(dir).map_err(Error::io("list", dir))? {
        let path = dir.join(name);
        disk.remove(&path).map_err(Error::io("remove", &path))?;
    }
    Ok(())
}
